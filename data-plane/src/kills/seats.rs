//! Which worker has seen which change.

use parking_lot::Mutex;
use tokio::sync::watch;

/// Where workers say what they have seen.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seen: Vec<(u64, u64)>,
}

/// One worker's place; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    seats: &'a Seats,
    number: u64,
}

impl Seats {
    pub(super) fn take(&self, seen: u64) -> Seat<'_> {
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        taken.seen.push((number, seen));
        Seat { seats: self, number }
    }

    /// Resolves when everybody has seen `turn`.
    pub(super) async fn all_have_seen(&self, turn: u64) {
        let mut moved = self.moved.subscribe();
        let everybody = |_: &u64| self.taken.lock().seen.iter().all(|(_, seen)| *seen >= turn);
        // The sender is `self`, so waiting ends only so.
        let _ = moved.wait_for(everybody).await;
    }
}

impl Seat<'_> {
    /// What [`Self::has_seen`] said last.
    pub(crate) fn seen(&self) -> u64 {
        let taken = self.seats.taken.lock();
        taken.seen.iter().find(|(number, _)| *number == self.number).map_or(0, |(_, seen)| *seen)
    }

    /// This worker goes by `turn` from now on, and has woken what runs.
    pub(crate) fn has_seen(&self, turn: u64) {
        let mut taken = self.seats.taken.lock();
        for (number, seen) in &mut taken.seen {
            if *number == self.number {
                *seen = turn;
            }
        }
        drop(taken);
        self.seats.moved.send_modify(|count| *count += 1);
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.taken.lock().seen.retain(|(number, _)| *number != self.number);
        self.seats.moved.send_modify(|count| *count += 1);
    }
}
