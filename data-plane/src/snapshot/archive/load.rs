//! Reading the archive when the proxy starts: for each tenant the newest entry that opens, and none below the floor.

use std::{cmp::Reverse, fs::File, io, sync::Arc, thread, time::Duration};

use crypto::archive::{
    ArchiveKey, Kind, Place,
    frame::{Frame, Header},
};
use hashbrown::HashMap;
use ids::{ProxyId, TenantId};
use prost::Message as _;
use seams::Timestamp;
use wire::v1;

use super::{
    Archive, Copies, Entry, GENERATIONS, Open, damaged, failed,
    floor::{self, Floor, Found},
    generation::{self, Generation},
};
use crate::snapshot::decode::DecodeError;

/// Threads that open and index tenants.
const THREADS: usize = 4;

/// What the archive gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Tenants that can be served.
    pub(crate) tenants: usize,
    /// Tenants that should be there and are not.
    pub(crate) missing: usize,
    /// Nothing is missing of what there was to serve.
    pub(crate) complete: bool,
    /// When the control plane last confirmed it.
    pub(crate) confirmed: Timestamp,
    /// How long ago that was when it was written, at least.
    pub(crate) age: Duration,
    /// The kill set that is kept has this epoch at least; `None`: nothing tells, so what is kept may have been put back.
    pub(crate) kill_epoch: Option<u64>,
}

impl Archive {
    /// Reads what is kept for `proxy`, gives each tenant to `prepare`, which several threads call, and goes on from there.
    /// Whatever is wrong with the archive, it is usable afterwards, empty if need be.
    pub(crate) fn load<T: Send>(
        &self,
        proxy: ProxyId,
        prepare: impl Fn(&v1::Replace) -> Result<T, DecodeError> + Sync,
    ) -> (Loaded, Vec<T>) {
        let Some(key) = &self.key else { return (Loaded::default(), Vec::new()) };
        match self.read(key, proxy, prepare) {
            Ok(Some((loaded, prepared, open))) => {
                *self.open.lock() = Some(open);
                return (loaded, prepared);
            }
            Ok(None) => {}
            Err(error) => failed("archive of configuration cannot be read", &error.to_string()),
        }
        self.belong_to(proxy);
        (Loaded::default(), Vec::new())
    }

    /// `None` when there is nothing that can be used.
    fn read<T: Send>(
        &self,
        key: &ArchiveKey,
        proxy: ProxyId,
        prepare: impl Fn(&v1::Replace) -> Result<T, DecodeError> + Sync,
    ) -> io::Result<Option<(Loaded, Vec<T>, Open)>> {
        let numbers = match generation::list(&self.dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            numbers => numbers?,
        };
        let (floor, was_damaged) = floor::read(&self.state_dir, key, proxy)?;
        if was_damaged {
            damaged("the floor is damaged, another proxy's or sealed under another key", 1);
        }
        let Found::Floor(floor) = floor else {
            if !numbers.is_empty() {
                damaged(
                    "there is no usable floor, so nothing can be told from what is out of date; not used",
                    1,
                );
            }
            return Ok(None);
        };
        let mut open = Open::new(proxy);
        open.heal = was_damaged;
        let entries = self.entries(key, &mut open, &numbers)?;
        let reader = Reader { key, proxy, floor: &floor, generations: &open.generations };
        let picked = reader.pick_all(group(entries, &floor), &prepare);
        let mut prepared = Vec::with_capacity(picked.len());
        let mut parts = 0;
        open.next_seq = floor.seq;
        for Picked { tenant, kept, missing, damaged } in picked {
            parts += damaged;
            if let Some(rev) = missing {
                open.missing.insert(tenant, rev);
            }
            let Some((entry, ready)) = kept else { continue };
            open.next_seq = open.next_seq.max(entry.frame.seq);
            open.live_bytes += entry.frame.whole();
            open.index.insert(tenant, entry);
            match ready {
                Ok(ready) => prepared.push(ready),
                // As when it comes from the control plane: refused, and no reason for others to wait.
                Err(error) => tracing::error!(
                    portcullis.tenant.id = %tenant,
                    error.code = error.code().slug(),
                    detail = %error,
                    "archived snapshot refused"
                ),
            }
        }
        open.next_seq += 1;
        if parts > 0 || !open.missing.is_empty() {
            damaged("entries do not open, or are older than the floor", parts + open.missing.len() as u64);
            open.heal = true;
        }
        (open.complete, open.kill_epoch) = (floor.complete, floor.kill_epoch);
        (open.confirmed, open.age, open.proxies) = (floor.confirmed, floor.age, floor.proxies);
        let loaded = Loaded {
            tenants: prepared.len(),
            missing: open.missing.len(),
            complete: open.complete && open.missing.is_empty(),
            confirmed: open.confirmed,
            age: open.age,
            // Before it was ever complete, it began anew beside whatever kill set there was.
            kill_epoch: open.complete.then_some(open.kill_epoch),
        };
        Ok(Some((loaded, prepared, open)))
    }

    /// Opens the generations that are ours; gives every frame in them.
    fn entries(
        &self,
        key: &ArchiveKey,
        open: &mut Open,
        numbers: &[u64],
    ) -> io::Result<Vec<(Frame, u64, u64)>> {
        let dir = self.dir();
        let mut entries = Vec::new();
        for number in numbers {
            let (mut generation, header) = Generation::open(&dir, *number)?;
            let ours = Header { number: *number, proxy: *open.proxy.uuid().as_bytes(), key: key.id() };
            if header != Some(ours) {
                damaged("a generation is not this proxy's, or has lost its header; set aside", 1);
                generation.set_aside()?;
                open.heal = true;
                continue;
            }
            if open.generations.len() == GENERATIONS {
                generation.delete()?;
                continue;
            }
            let found = generation.walk()?;
            if found.damaged {
                damaged("a generation is damaged in its middle", 1);
                open.heal = true;
            }
            if found.end < generation.len {
                tracing::warn!(generation = number, "archive of configuration: the end was not written; cut");
                generation.cut(found.end)?;
                open.heal = true;
            }
            entries.extend(found.frames.into_iter().map(|(at, frame)| (frame, *number, at)));
            open.generations.push(generation);
        }
        if open.generations.is_empty() {
            let number = numbers.first().copied().unwrap_or(0) + 1;
            let header = Header { number, proxy: *open.proxy.uuid().as_bytes(), key: key.id() };
            std::fs::create_dir_all(&dir)?;
            let mut generation = Generation::create(&dir, header)?;
            generation.publish(&dir)?;
            open.generations.push(generation);
        }
        open.heal |= open.generations.len() < super::WRITTEN;
        Ok(entries)
    }
}

/// Every tenant with its entries, newest first, each with the places where it lies.
fn group(mut entries: Vec<(Frame, u64, u64)>, floor: &Floor) -> Vec<(TenantId, Vec<Entry>)> {
    entries.sort_unstable_by_key(|(frame, number, at)| {
        (frame.tenant, Reverse((frame.seq, frame.rev, *number, *at)))
    });
    let mut tenants: Vec<(TenantId, Vec<Entry>)> = Vec::with_capacity(floor.tenants.len());
    for (frame, number, at) in entries {
        if tenants.last().is_none_or(|(tenant, _)| *tenant != frame.tenant) {
            tenants.push((frame.tenant, Vec::new()));
        }
        let Some((_, found)) = tenants.last_mut() else { continue };
        match found.last_mut() {
            Some(entry) if entry.frame == frame && entry.copies.len() < GENERATIONS => {
                entry.copies.push((number, at))
            }
            _ => found.push(Entry { frame, copies: Copies::from_iter([(number, at)]) }),
        }
    }
    let there: HashMap<_, (), ahash::RandomState> = tenants.iter().map(|(tenant, _)| (*tenant, ())).collect();
    let lost = floor.tenants.keys().filter(|tenant| !there.contains_key(*tenant));
    tenants.extend(lost.map(|tenant| (*tenant, Vec::new())).collect::<Vec<_>>());
    tenants
}

/// What became of one tenant.
struct Picked<T> {
    tenant: TenantId,
    kept: Option<(Entry, Result<T, DecodeError>)>,
    /// The revision it should have had at least.
    missing: Option<u64>,
    /// Entries and copies that did not open.
    damaged: u64,
}

struct Reader<'a> {
    key: &'a ArchiveKey,
    proxy: ProxyId,
    floor: &'a Floor,
    generations: &'a [Generation],
}

impl Reader<'_> {
    fn pick_all<T: Send>(
        &self,
        tenants: Vec<(TenantId, Vec<Entry>)>,
        prepare: &(impl Fn(&v1::Replace) -> Result<T, DecodeError> + Sync),
    ) -> Vec<Picked<T>> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS));
        let share = tenants.len().div_ceil(threads).max(1);
        let pick = |part: &[(TenantId, Vec<Entry>)]| -> Vec<Picked<T>> {
            part.iter().map(|(tenant, entries)| self.pick(*tenant, entries, prepare)).collect()
        };
        thread::scope(|scope| {
            let parts = tenants.chunks(share);
            let running: Vec<_> = parts.map(|part| (part, scope.spawn(move || pick(part)))).collect();
            // `prepare` catches its own panics. Should a thread end by one all the same, its tenants are missing.
            let picked = running.into_iter().map(|(part, thread)| {
                thread.join().unwrap_or_else(|_| part.iter().map(|each| self.lost(each.0)).collect())
            });
            picked.flatten().collect()
        })
    }

    fn lost<T>(&self, tenant: TenantId) -> Picked<T> {
        Picked { tenant, kept: None, missing: self.floor.tenants.get(&tenant).copied(), damaged: 0 }
    }

    fn pick<T>(
        &self,
        tenant: TenantId,
        entries: &[Entry],
        prepare: &impl Fn(&v1::Replace) -> Result<T, DecodeError>,
    ) -> Picked<T> {
        let least = self.floor.tenants.get(&tenant).copied();
        let mut picked = Picked { tenant, kept: None, missing: None, damaged: 0 };
        for entry in entries {
            let frame = &entry.frame;
            // What the floor knows is served at the floor's revision or a later one. What it does not know was removed, unless
            // it came after.
            if least
                .map_or(frame.seq <= self.floor.seq, |least| frame.kind == Kind::Tenant && frame.rev < least)
            {
                break;
            }
            if frame.kind == Kind::Removed && frame.seq <= self.floor.seq {
                break;
            }
            let files: Vec<_> = entry.copies.iter().filter_map(|copy| self.file(*copy)).collect();
            let opened = open_first(self.key, self.proxy, frame, &files);
            let Some((replace, tried)) = opened else {
                picked.damaged += files.len() as u64;
                if frame.kind == Kind::Removed {
                    // Somebody says that the tenant is gone. It is not brought back.
                    break;
                }
                continue;
            };
            picked.damaged += tried as u64;
            if frame.kind == Kind::Tenant {
                picked.kept = Some((entry.clone(), prepare(&replace)));
            }
            return picked;
        }
        picked.missing = least;
        picked
    }

    fn file(&self, (number, at): (u64, u64)) -> Option<(Arc<File>, u64)> {
        let generation = self.generations.iter().find(|each| each.number == number)?;
        Some((Arc::clone(&generation.file), at))
    }
}

/// The first copy that opens and is what its frame says, and how many did not.
pub(super) fn open_first(
    key: &ArchiveKey,
    proxy: ProxyId,
    frame: &Frame,
    files: &[(Arc<File>, u64)],
) -> Option<(v1::Replace, usize)> {
    let place = Place { proxy, kind: frame.kind, tenant: frame.tenant, rev: frame.rev, seq: frame.seq };
    files.iter().enumerate().find_map(|(tried, (file, at))| {
        let sealed = generation::sealed(file, *at, frame).ok()??;
        let plain = key.open(&place, &sealed).ok()?;
        let replace = v1::Replace { nonce: 0, ..v1::Replace::decode(plain.as_slice()).ok()? };
        let same = frame.kind == Kind::Removed
            || (replace.tenant_id == frame.tenant.uuid().as_bytes() && replace.rev == frame.rev);
        same.then_some((replace, tried))
    })
}
