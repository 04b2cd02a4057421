//! The archive's own thread: fsync, the floor, and copying into a new generation. Nothing that is acknowledged waits for it.

use std::{fs::File, io, sync::Arc, thread::JoinHandle, time::Duration};

use crypto::{
    Zeroizing,
    archive::{
        ArchiveKey, Kind, Place,
        frame::{Frame, Header},
    },
};
use hashbrown::HashMap;
use ids::{ProxyId, TenantId};
use parking_lot::Mutex;
use prost::Message as _;
use seams::Monotonic;

use super::{
    Archive, Entry, GENERATIONS, Open, WRITTEN, damaged, failed,
    floor::{self, Floor},
    generation::Generation,
    load::open_first,
    sealed_frame,
};

/// What comes within this time of the first change shares its fsync.
pub(super) const GATHER: Duration = Duration::from_millis(20);
/// Between two floors. What comes in between is told from what is out of date by the order of entries.
const FLOOR_EVERY: Duration = Duration::from_millis(500);
/// How much earlier than it was the last confirmation is taken for, and how much younger, at most.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(30);
/// After the disk refused, the waits before the next attempts grow by so much, up to so many.
const AGAIN: Duration = Duration::from_secs(1);
const MOST_WAITS: u32 = 60;
/// A generation that is smaller is not worth copying.
const SMALL: u64 = 16 << 20;

/// The thread. Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub(crate) struct Keeper {
    archive: Arc<Archive>,
    state: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(archive: Arc<Archive>) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(false));
        let (kept, stop) = (Arc::clone(&archive), Arc::clone(&state));
        let thread =
            std::thread::Builder::new().name("archive".to_owned()).spawn(move || run(&kept, &stop))?;
        Ok(Self { archive, state, thread: Some(thread) })
    }

    /// Writes what is left, and ends. Blocks for an fsync or two.
    pub(crate) fn shutdown(mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }

    fn stop(&self) {
        *self.state.lock() = true;
        // Under the lock, so that the thread is either before its look at `state` or asleep.
        let _asleep = self.archive.open.lock();
        self.archive.work.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(archive: &Archive, stop: &Mutex<bool>) {
    let Some(key) = &archive.key else { return };
    let mut floor_at = Monotonic::default();
    let mut failures = 0;
    loop {
        let mut guard = archive.open.lock();
        let stopping = *stop.lock();
        if !stopping && !guard.as_ref().is_some_and(Open::has_work) {
            archive.work.wait_for(&mut guard, AGAIN);
        }
        drop(guard);
        if !stopping {
            std::thread::sleep(GATHER);
        }
        let since = archive.clock.monotonic().since(floor_at);
        let done = archive.settle(key, stopping || since >= FLOOR_EVERY);
        match done {
            Ok(floor) => {
                failures = 0;
                floor_at = if floor { archive.clock.monotonic() } else { floor_at };
            }
            Err(error) => {
                failed("configuration cannot be kept on disk; trying again", &error.to_string());
                failures = MOST_WAITS.min(failures + 1);
                for _ in 0..failures {
                    if *stop.lock() {
                        break;
                    }
                    std::thread::sleep(AGAIN);
                }
            }
        }
        if stopping {
            return;
        }
    }
}

impl Archive {
    /// What the keeper's thread would do in time.
    #[cfg(test)]
    pub(crate) fn settle_now(&self) {
        if let Some(key) = &self.key {
            self.settle(key, true).unwrap();
        }
    }

    /// Puts on disk what is not: changes, then the floor that counts on them, if it is time. Says whether a floor was written.
    pub(super) fn settle(&self, key: &ArchiveKey, floor: bool) -> io::Result<bool> {
        let (files, wanted, proxy, copies) = {
            let mut guard = self.open.lock();
            let Some(open) = guard.as_mut() else { return Ok(false) };
            open.write_owed(key, &*self.entropy)?;
            let files: Vec<_> =
                open.generations.iter().take(WRITTEN).map(|each| Arc::clone(&each.file)).collect();
            let unsynced = std::mem::take(&mut open.unsynced);
            let floor = (floor && std::mem::take(&mut open.floor_due)).then(|| open.floor());
            // After damage twice, so that again two generations have everything.
            let copies = if open.heal { 2 } else { usize::from(open.is_loose()) };
            (if unsynced { files } else { Vec::new() }, floor, open.proxy, copies)
        };
        let synced = files.iter().try_for_each(|file| file.sync_data());
        let written = synced.and_then(|()| match &wanted {
            Some(floor) => floor::write(&self.state_dir, key, proxy, floor, &*self.entropy),
            None => Ok(()),
        });
        if let Err(error) = written {
            self.change(|open| (open.unsynced, open.floor_due, open.heal) = (true, true, true));
            return Err(error);
        }
        for _ in 0..copies {
            rewrite(self, key, proxy)?;
        }
        Ok(wanted.is_some())
    }
}

impl Open {
    fn has_work(&self) -> bool {
        self.unsynced || self.floor_due || self.heal || !self.owed.is_empty()
    }

    /// Whether the newest generation is mostly out of date.
    fn is_loose(&self) -> bool {
        self.generations.first().is_some_and(|newest| newest.len > 2 * self.live_bytes + SMALL)
    }

    fn write_owed(&mut self, key: &ArchiveKey, entropy: &dyn seams::Entropy) -> io::Result<()> {
        while let Some((tenant, replace)) = self.owed.iter().next() {
            let (tenant, replace) = (*tenant, replace.clone());
            self.write(key, tenant, replace.as_ref(), entropy)?;
            self.owed.remove(&tenant);
        }
        Ok(())
    }

    /// What may be served at least, once everything written so far is on disk.
    fn floor(&self) -> Floor {
        let mut tenants: HashMap<TenantId, u64, ahash::RandomState> = self.missing.clone();
        tenants.extend(self.index.iter().map(|(tenant, entry)| (*tenant, entry.frame.rev)));
        Floor {
            confirmed: self.confirmed,
            age: self.age,
            seq: self.next_seq - 1,
            kill_epoch: self.kill_epoch,
            proxies: self.proxies,
            complete: self.complete && self.owed.is_empty(),
            tenants,
        }
    }
}

/// Copies what counts into a new generation, sealed for `proxy`, beside the changes that go on.
pub(super) fn rewrite(archive: &Archive, key: &ArchiveKey, proxy: ProxyId) -> io::Result<()> {
    let dir = archive.dir();
    let (former, number, entries) = {
        let guard = archive.open.lock();
        let Some(open) = guard.as_ref() else { return Ok(()) };
        let number = open.generations.iter().map(|each| each.number).max().unwrap_or(0) + 1;
        (open.proxy, number, open.index.clone())
    };
    let header = Header { number, proxy: *proxy.uuid().as_bytes(), key: key.id() };
    let mut copy = Copy {
        archive,
        key,
        former,
        proxy,
        next: Generation::create(&dir, header)?,
        places: Places::default(),
    };
    for (tenant, entry) in &entries {
        let files = match archive.open.lock().as_ref() {
            Some(open) => open.files(&entry.copies),
            None => return Ok(()),
        };
        copy.take(*tenant, entry, &files)?;
    }
    copy.next.publish(&dir)?;
    let mut guard = archive.open.lock();
    let Some(open) = guard.as_mut() else { return Ok(()) };
    // What has changed meanwhile is little.
    for (tenant, entry) in &open.index {
        if !copy.places.contains_key(&(*tenant, entry.frame.seq)) {
            copy.take(*tenant, entry, &open.files(&entry.copies))?;
        }
    }
    copy.install(open)
}

/// Where an entry lies in the generation being made; `None`: it does not open any more.
type Places = HashMap<(TenantId, u64), Option<(Frame, u64)>, ahash::RandomState>;

/// A generation being made.
struct Copy<'a> {
    archive: &'a Archive,
    key: &'a ArchiveKey,
    former: ProxyId,
    proxy: ProxyId,
    next: Generation,
    places: Places,
}

impl Copy<'_> {
    fn take(&mut self, tenant: TenantId, entry: &Entry, files: &[(Arc<File>, u64)]) -> io::Result<()> {
        let (rev, seq) = (entry.frame.rev, entry.frame.seq);
        let place = match open_first(self.key, self.former, &entry.frame, files) {
            Some((replace, _)) => {
                let place = Place { proxy: self.proxy, kind: Kind::Tenant, tenant, rev, seq };
                let plain = Zeroizing::new(replace.encode_to_vec());
                let (frame, bytes) = sealed_frame(self.key, &place, &plain, &*self.archive.entropy)?;
                Some((frame, self.next.append(&bytes)?))
            }
            None => None,
        };
        self.places.insert((tenant, seq), place);
        Ok(())
    }

    /// Makes it the newest one.
    fn install(self, open: &mut Open) -> io::Result<()> {
        let moved = self.former != self.proxy;
        let mut lost = Vec::new();
        for (tenant, entry) in &mut open.index {
            match self.places.get(&(*tenant, entry.frame.seq)) {
                Some(Some((frame, at))) => {
                    entry.frame = *frame;
                    entry.copies.insert(0, (self.next.number, *at));
                }
                Some(None) | None => lost.push((*tenant, entry.frame.rev)),
            }
        }
        for (tenant, rev) in &lost {
            open.index.remove(tenant);
            open.missing.insert(*tenant, *rev);
        }
        if !lost.is_empty() {
            damaged("entries do not open any more; they are asked for at the next start", lost.len() as u64);
        }
        open.generations.insert(0, self.next);
        let keep = if moved { 1 } else { GENERATIONS.min(open.generations.len()) };
        for former in open.generations.drain(keep..) {
            former.delete()?;
        }
        let kept: Vec<u64> = open.generations.iter().map(|each| each.number).collect();
        for entry in open.index.values_mut() {
            entry.copies.retain(|(number, _)| kept.contains(number));
        }
        open.live_bytes = open.index.values().map(|entry| entry.frame.whole()).sum();
        open.proxy = self.proxy;
        (open.heal, open.unsynced, open.floor_due) = (false, true, true);
        Ok(())
    }
}
