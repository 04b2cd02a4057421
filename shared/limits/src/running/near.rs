//! This proxy's end of a limit of what runs at once.

use std::time::Duration;

use parking_lot::Mutex;

use super::{Ask, LEASE, Reading};

/// A holding counts for a little less here than in the store, whose clock may be faster.
const HELD_FOR: Duration = Duration::from_millis(9_500);
/// After so long it is renewed.
const RENEWED_AFTER: Duration = Duration::from_millis(3_000);
/// A refusal is repeated without asking for this time, so that who does not stop asking does not load the store.
const REFUSED_FOR: Duration = Duration::from_millis(20);
/// Limits under so many permits a proxy get none ahead of need.
const LEAST_PER_PROXY: u32 = 20;

/// What became of a call that wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It runs, on a permit that was held.
    Started,
    /// As many run as may; nothing is asked.
    Refused,
    /// The store has to be asked.
    Ask,
}

/// What is asked, until it is [`Permits::answered`], [`Permits::settled`] or [`Permits::unanswered`].
#[must_use = "the call waits for the answer"]
#[derive(Debug)]
pub struct Asking {
    /// For the store.
    pub ask: Ask,
    at: u64,
}

/// The permits that this proxy holds, and its calls that run on them. Where there is no store, it is the whole limit.
///
/// What the store says a proxy holds is absolute, so an answer that comes late or never does no harm. It is lowered only by
/// [`Self::settle`], which is sent while nobody waits for an answer and after it is lowered here.
#[derive(Debug, Default)]
pub struct Permits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: u32,
    /// Calls that wait for the store's answer.
    claimed: u32,
    /// The limit, as whoever came last said.
    max: u32,
    /// Permits, and until when.
    held: u32,
    until: u64,
    turn: u64,
    /// The most that ran since what is held was last looked at.
    most: u32,
    /// Refused, or told that somebody was: nothing is held ahead of need.
    strict: bool,
    /// What the others hold, and when that was asked; 0: never.
    others: u32,
    told: u64,
    refused: Option<u64>,
    /// Permits ahead of need at present demand, and when the store was last asked.
    size: u32,
    asked: u64,
    /// A settlement is on its way, or is wanted.
    settling: bool,
    due: bool,
    /// Somebody renews what is held.
    kept: bool,
}

impl Permits {
    /// Starts a call as far as that is possible without asking.
    pub fn start(&self, now: u64, max: u32) -> Start {
        let mut state = self.state.lock();
        state.max = max;
        let held = state.held(now).min(max);
        if state.start(held) {
            Start::Started
        } else if state.refused.is_some_and(|at| now.saturating_sub(at) < nanos(REFUSED_FOR)) {
            Start::Refused
        } else {
            Start::Ask
        }
    }

    /// Starts a call without the store: on a permit that is still held, or else while fewer run than this proxy's share.
    pub fn start_alone(&self, now: u64, max: u32, proxies: u32) -> bool {
        let mut state = self.state.lock();
        state.max = max;
        let ceiling = state.held(now).min(max).max(max.div_ceil(proxies.max(1)));
        state.start(ceiling)
    }

    /// A call is over.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        state.refused = None;
    }

    /// Whether permits that nobody needs should go back at once, because others are refused. Says so once.
    #[must_use]
    pub fn settles_soon(&self) -> bool {
        let mut state = self.state.lock();
        let soon = state.strict && state.claimed == 0 && !state.settling && state.running < state.held;
        soon && !std::mem::replace(&mut state.due, true)
    }

    /// What to ask the store for, so that one more call can start.
    pub fn ask(&self, now: u64, max: u32, proxies: u32) -> Asking {
        let mut state = self.state.lock();
        state.held = state.held(now);
        state.claimed = state.claimed.saturating_add(1);
        let proxies = proxies.max(1);
        let most = if max < LEAST_PER_PROXY.saturating_mul(proxies) { 0 } else { max / 10 / proxies };
        let since = (state.asked > 0).then(|| now.saturating_sub(state.asked));
        state.size = if state.strict { 0 } else { crate::near::next_size(state.size, since).min(most) };
        state.asked = now;
        let extra = state.size;
        state.max = max;
        state.asking(now, extra)
    }

    /// The store answered [`Self::ask`]. `admitted`: the call was; `refusing`: this limit is why it was not.
    pub fn answered(&self, asking: &Asking, reading: Reading, admitted: bool, refusing: bool) {
        let mut state = self.state.lock();
        state.told(asking, reading);
        state.claimed = state.claimed.saturating_sub(1);
        if refusing {
            state.refused = Some(asking.at);
        }
        // What is answered to an earlier ask may have been raised since.
        if state.turn == asking.ask.turn {
            state.held = reading.held;
        } else if admitted {
            state.held = state.held.max(reading.held);
        }
        if admitted {
            state.running = state.running.saturating_add(1);
            state.most = state.most.max(state.running);
        }
    }

    /// The store did not answer [`Self::ask`].
    pub fn unanswered(&self) {
        let mut state = self.state.lock();
        state.claimed = state.claimed.saturating_sub(1);
    }

    /// Whether somebody has to begin to [`Self::settle`] from time to time, until [`Self::ends_holding`].
    #[must_use]
    pub fn begins_to_hold(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().kept, true)
    }

    /// What to tell the store: that this proxy still holds what it needs, and what it does not need any more. `None`:
    /// nothing, for now. `now_and_then`: it is not because of [`Self::settles_soon`].
    pub fn settle(&self, now: u64, now_and_then: bool) -> Option<Asking> {
        let mut state = self.state.lock();
        state.due = false;
        if state.claimed > 0 || state.settling {
            return None;
        }
        let held = state.held(now);
        let kept = if state.strict { state.running } else { state.most.max(state.running).min(held) };
        if now_and_then {
            state.most = state.running;
        }
        let fresh = now < state.until.saturating_sub(nanos(HELD_FOR)).saturating_add(nanos(RENEWED_AFTER));
        if held <= kept && fresh && state.running <= held {
            return None;
        }
        state.held = held.min(kept.max(state.running));
        state.settling = true;
        let extra = state.held.saturating_sub(state.running);
        Some(state.asking(now, extra))
    }

    /// The store answered [`Self::settle`].
    pub fn settled(&self, asking: &Asking, reading: Reading) {
        let mut state = self.state.lock();
        let latest = state.turn == asking.ask.turn;
        state.told(asking, reading);
        state.settling = false;
        if latest {
            state.held = reading.held;
        }
    }

    /// Whether nothing is held and nothing runs, so that nobody need come again.
    #[must_use]
    pub fn ends_holding(&self) -> bool {
        let mut state = self.state.lock();
        let over = state.held == 0 && state.running == 0 && state.claimed == 0 && !state.settling;
        state.kept &= !over;
        over
    }

    /// The store did not answer [`Self::settle`].
    pub fn unsettled(&self) {
        self.state.lock().settling = false;
    }

    /// Calls that run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.state.lock().running
    }
}

impl State {
    fn held(&self, now: u64) -> u32 {
        if now < self.until { self.held } else { 0 }
    }

    fn start(&mut self, ceiling: u32) -> bool {
        // Who waits for an answer needs permits too.
        let starts = self.running.saturating_add(self.claimed) < ceiling;
        if starts {
            self.running += 1;
            self.most = self.most.max(self.running);
        }
        starts
    }

    fn asking(&mut self, now: u64, extra: u32) -> Asking {
        self.turn += 1;
        let known = self.told > 0 && now.saturating_sub(self.told) < nanos(LEASE);
        let least = known.then_some(self.others);
        let Self { max, running, claimed, turn, .. } = *self;
        Asking { ask: Ask { max, running, claimed, extra, turn, least }, at: now }
    }

    fn told(&mut self, asking: &Asking, reading: Reading) {
        self.until = self.until.max(asking.at.saturating_add(nanos(HELD_FOR)));
        self.strict = reading.short;
        self.others = reading.others;
        self.told = self.told.max(asking.at);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
