//! The last-known-good configuration on disk: what a proxy serves after a restart while no control plane can be reached.
//!
//! | file in `state_dir` | what |
//! |---|---|
//! | `archive/<number>.gen` | generations: a sealed frame for each tenant that was applied or removed, appended ([`generation`]) |
//! | `archive.floor`, `archive.floor.old` | the least that may be served ([`floor`]) |
//! | `archive.key`, or where the configuration says | what both are sealed under ([`key`]); in production mounted from elsewhere |
//!
//! **Three generations.** Every change is appended to the two newest, so that either alone has everything; the third is
//! what the oldest of these was when it was succeeded. A change writes its own tenant and nothing else; when half of the
//! newest is out of date, what still counts is copied into a new one ([`keep`]). Reading ([`load`]) takes for each tenant the
//! newest entry that opens, from whichever generation, and none below the floor.
//!
//! **What an acknowledgement promises.** The revision is enforced, and is handed to the kernel: it survives the death of the
//! process, and within [`keep::GATHER`] and one fsync the death of the machine. No acknowledgement waits for an fsync. An archive
//! that cannot be written is an alarm and no reason to refuse a revision.
//!
//! **Never a crash loop.** Damage is logged, counted, and costs what it damaged: another generation has it, or the control
//! plane sends it again, or the proxy is not ready.

mod floor;
mod generation;
mod keep;
mod key;
mod load;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crypto::{
    Zeroizing,
    archive::{
        ArchiveKey, Kind, Place,
        frame::{FRAME, Frame, Header},
    },
};
use hashbrown::HashMap;
use ids::{ProxyId, TenantId};
use parking_lot::{Condvar, Mutex};
use prost::Message as _;
use seams::{Clock, Entropy, Timestamp};
use smallvec::SmallVec;
use telemetry::metric;
use wire::v1;

use super::base::Bases;
use generation::Generation;
pub(crate) use keep::Keeper;

/// How many generations are kept, and how many of them take each change.
const GENERATIONS: usize = 3;
const WRITTEN: usize = 2;
const DIR: &str = "archive";
/// What an archive becomes that cannot be used: somebody may want to look at it.
const ASIDE: &str = "archive.unusable";
/// The default place of the key.
const KEY_FILE: &str = "archive.key";

type Copies = SmallVec<[(u64, u64); GENERATIONS]>;

/// A tenant's newest entry and where it lies: number of the generation, offset.
#[derive(Debug, Clone)]
struct Entry {
    frame: Frame,
    copies: Copies,
}

/// An archive that is written to.
#[derive(Debug)]
struct Open {
    proxy: ProxyId,
    /// Newest first.
    generations: Vec<Generation>,
    index: HashMap<TenantId, Entry, ahash::RandomState>,
    /// Tenants that should be there and are not, with the revision they had at least.
    missing: HashMap<TenantId, u64, ahash::RandomState>,
    /// Changes the disk did not take: `None` is a removal.
    owed: HashMap<TenantId, Option<v1::Replace>, ahash::RandomState>,
    next_seq: u64,
    complete: bool,
    kill_epoch: u64,
    /// Proxies of the pool that lived when it was last known.
    proxies: u32,
    confirmed: Timestamp,
    /// How long ago that is at least.
    age: Duration,
    live_bytes: u64,
    unsynced: bool,
    floor_due: bool,
    /// Damage was found: copy what is whole into new generations.
    heal: bool,
}

/// The archive of one proxy. Without a usable key, and until it is known which proxy this is, it keeps nothing.
pub(crate) struct Archive {
    state_dir: PathBuf,
    key: Option<ArchiveKey>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    open: Mutex<Option<Open>>,
    work: Condvar,
}

impl Archive {
    /// Reads the key, or makes it. One that cannot be read is an alarm; the proxy then starts as it would without an archive.
    pub(crate) fn new(
        state_dir: &Path,
        key_file: Option<&Path>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let default = state_dir.join(KEY_FILE);
        let key_file = key_file.unwrap_or(&default);
        let key = key::ensure(key_file, &*entropy).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            failed(&format!("{}: {error}; configuration is not kept on disk", key_file.display()), &cause);
        });
        let state_dir = state_dir.to_owned();
        Arc::new(Self {
            state_dir,
            key: key.ok(),
            clock,
            entropy,
            open: Mutex::new(None),
            work: Condvar::new(),
        })
    }

    fn dir(&self) -> PathBuf {
        self.state_dir.join(DIR)
    }

    /// Keeps `proxy`'s configuration from now on. What was kept for another is sealed anew: it is this process that holds it.
    pub(crate) fn belong_to(&self, proxy: ProxyId) {
        let Some(key) = &self.key else { return };
        let mut open = self.open.lock();
        let same = open.as_ref().map(|open| open.proxy == proxy);
        let done = match same {
            Some(true) => Ok(()),
            Some(false) => {
                drop(open);
                keep::rewrite(self, key, proxy).and_then(|()| keep::rewrite(self, key, proxy))
            }
            None => self.fresh(key, proxy).map(|fresh| *open = Some(fresh)),
        };
        if let Err(error) = done {
            failed("archive cannot be made", &error.to_string());
        }
    }

    /// An archive with nothing in it, in place of whatever there was.
    fn fresh(&self, key: &ArchiveKey, proxy: ProxyId) -> io::Result<Open> {
        let dir = self.dir();
        if generation::list(&dir).is_ok_and(|found| !found.is_empty()) {
            let aside = self.state_dir.join(ASIDE);
            let _absent = fs::remove_dir_all(&aside);
            fs::rename(&dir, &aside)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        File::open(&self.state_dir)?.sync_all()?;
        // Before the first generation: one without a floor is no archive.
        floor::write(&self.state_dir, key, proxy, &floor::Floor::default(), &*self.entropy)?;
        let mut open = Open::new(proxy);
        for number in 1..=WRITTEN as u64 {
            let header = Header { number, proxy: *proxy.uuid().as_bytes(), key: key.id() };
            let mut generation = Generation::create(&dir, header)?;
            generation.publish(&dir)?;
            open.generations.insert(0, generation);
        }
        Ok(open)
    }

    /// Whether anything is ever kept.
    pub(crate) fn is_usable(&self) -> bool {
        self.key.is_some()
    }

    fn write(&self, tenant: TenantId, replace: Option<&v1::Replace>) {
        let Some(key) = &self.key else { return };
        let mut guard = self.open.lock();
        let Some(open) = guard.as_mut() else { return };
        match open.write(key, tenant, replace, &*self.entropy) {
            Ok(()) => {
                open.owed.remove(&tenant);
            }
            Err(error) => {
                failed("configuration cannot be kept on disk; trying again", &error.to_string());
                open.owed.insert(tenant, replace.cloned());
            }
        }
        self.work.notify_one();
    }

    /// Everything there was to serve has been applied: what was missing is not there any more.
    pub(crate) fn complete(&self) {
        self.change(|open| {
            open.missing.clear();
            open.complete = true;
            open.floor_due = true;
        });
    }

    /// The control plane said so late as `at` that what is in force is current, and that is `age` ago.
    pub(crate) fn confirm(&self, at: Timestamp, age: Duration) {
        self.change(|open| {
            // In either direction: the clock may have been set meanwhile.
            let moved = at.since(open.confirmed).max(open.confirmed.since(at));
            if moved.max(age.abs_diff(open.age)) >= keep::CONFIRM_EVERY {
                (open.confirmed, open.age) = (at, age);
                open.floor_due = true;
            }
        });
    }

    /// This epoch of the kill set is kept on disk: an older one is not to be served by after a restart.
    pub(crate) fn note_kills(&self, epoch: u64) {
        self.change(|open| {
            if epoch > open.kill_epoch {
                open.kill_epoch = epoch;
                open.floor_due = true;
            }
        });
    }

    /// So many proxies of the pool live: among so many limits are shared after a restart with nobody to ask.
    pub(crate) fn note_proxies(&self, count: u32) {
        self.change(|open| {
            open.floor_due |= count != open.proxies;
            open.proxies = count;
        });
    }

    /// As last noted; 1 if nothing ever was.
    pub(crate) fn proxies(&self) -> u32 {
        self.open.lock().as_ref().map_or(1, |open| open.proxies.max(1))
    }

    /// Forgets everything: the proxy was put out of the fleet.
    pub(crate) fn wipe(&self) {
        let Some(key) = &self.key else { return };
        let mut guard = self.open.lock();
        let Some(open) = guard.as_mut() else { return };
        let wiped = self.fresh(key, open.proxy).map(|fresh| *open = fresh);
        let gone = wiped.and_then(|()| match fs::remove_dir_all(self.state_dir.join(ASIDE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = gone {
            failed("archive of configuration cannot be deleted", &error.to_string());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.lock().as_mut() {
            change(open);
            self.work.notify_one();
        }
    }
}

/// What is enforced, as it was received: an acknowledgement comes after [`Bases::put`] has returned.
impl Bases for Archive {
    fn get(&self, tenant: TenantId) -> Option<v1::Replace> {
        let key = self.key.as_ref()?;
        let (proxy, frame, files) = {
            let guard = self.open.lock();
            let open = guard.as_ref()?;
            let entry = open.index.get(&tenant)?;
            (open.proxy, entry.frame, open.files(&entry.copies))
        };
        let (replace, _) = load::open_first(key, proxy, &frame, &files)?;
        Some(replace)
    }

    fn put(&self, tenant: TenantId, replace: &v1::Replace) {
        self.write(tenant, Some(replace));
    }

    fn remove(&self, tenant: TenantId) {
        self.write(tenant, None);
    }
}

impl Open {
    fn new(proxy: ProxyId) -> Self {
        Self {
            proxy,
            generations: Vec::with_capacity(GENERATIONS + 1),
            index: HashMap::default(),
            missing: HashMap::default(),
            owed: HashMap::default(),
            next_seq: 1,
            complete: false,
            kill_epoch: 0,
            proxies: 0,
            confirmed: Timestamp::default(),
            age: Duration::ZERO,
            live_bytes: 0,
            unsynced: false,
            floor_due: false,
            heal: false,
        }
    }

    /// Appends one change to the generations that take changes. Good when one of them took it.
    fn write(
        &mut self,
        key: &ArchiveKey,
        tenant: TenantId,
        replace: Option<&v1::Replace>,
        entropy: &dyn Entropy,
    ) -> io::Result<()> {
        let former = self.index.get(&tenant).map(|entry| entry.frame);
        let (kind, rev, plain) = match replace {
            Some(replace) => (Kind::Tenant, replace.rev, Zeroizing::new(replace.encode_to_vec())),
            None => (Kind::Removed, former.map_or(0, |frame| frame.rev), Zeroizing::default()),
        };
        let seq = self.next_seq;
        let place = Place { proxy: self.proxy, kind, tenant, rev, seq };
        let (frame, bytes) = sealed_frame(key, &place, &plain, entropy)?;
        self.next_seq += 1;
        let mut copies = Copies::new();
        let mut refused = None;
        for generation in self.generations.iter_mut().take(WRITTEN) {
            match generation.append(&bytes) {
                Ok(at) => copies.push((generation.number, at)),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            // A copy is missing: once the disk takes it again, both are made whole.
            self.heal = true;
            if copies.is_empty() {
                return Err(error);
            }
        }
        self.live_bytes -= former.map_or(0, |frame| frame.whole());
        self.missing.remove(&tenant);
        if kind == Kind::Tenant {
            self.live_bytes += frame.whole();
            self.index.insert(tenant, Entry { frame, copies });
        } else {
            self.index.remove(&tenant);
        }
        (self.unsynced, self.floor_due) = (true, true);
        Ok(())
    }

    fn files(&self, copies: &Copies) -> SmallVec<[(Arc<File>, u64); GENERATIONS]> {
        let file = |number: u64| self.generations.iter().find(|each| each.number == number);
        copies.iter().filter_map(|(number, at)| Some((Arc::clone(&file(*number)?.file), *at))).collect()
    }
}

/// A frame and all its bytes.
fn sealed_frame(
    key: &ArchiveKey,
    place: &Place,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> io::Result<(Frame, Vec<u8>)> {
    let len = plain.len() + crypto::archive::OVERHEAD;
    let fits = u32::try_from(len).ok().filter(|_| len <= crypto::archive::frame::MAX_SEALED);
    let len = fits.ok_or_else(|| io::Error::other("too long for a frame"))?;
    let frame = Frame { kind: place.kind, len, seq: place.seq, rev: place.rev, tenant: place.tenant };
    let mut bytes = Vec::with_capacity(FRAME + len as usize);
    bytes.extend_from_slice(&frame.encode());
    key.seal(place, plain, &mut bytes, entropy).map_err(io::Error::other)?;
    Ok((frame, bytes))
}

/// The archive could not be written, or not be read.
fn failed(what: &str, cause: &str) {
    metrics::counter!(metric::ARCHIVE_FAILURES).increment(1);
    tracing::error!(error.cause = cause, "{what}");
}

/// A part of the archive is not what was written.
fn damaged(what: &str, parts: u64) {
    metrics::counter!(metric::ARCHIVE_DAMAGED).increment(parts);
    tracing::error!(parts, "archive of configuration: {what}");
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}
