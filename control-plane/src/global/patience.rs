//! How long a proxy has been unsettled, as far as this replica has seen it itself: what leases say of the time before it started,
//! or in which the database was away, is of no use, as they ran out for everybody.

use std::{collections::HashMap, time::Duration};

use ids::ProxyId;
use seams::Monotonic;

use super::{Stage, gate::Member};

/// Looks that are further apart begin anew: much longer than a poll takes.
const GAP: Duration = Duration::from_secs(30);

/// Since when each proxy has been unsettled with one revision.
#[derive(Debug, Default)]
pub struct Patience {
    target: u64,
    looked: Monotonic,
    since: HashMap<ProxyId, Monotonic>,
}

impl Patience {
    /// Takes down who is unsettled now.
    pub fn look(&mut self, stage: &Stage, target: u64, fleet: &[Member], now: Monotonic) {
        if target != self.target || now.since(self.looked) > GAP {
            self.since.clear();
        }
        (self.target, self.looked) = (target, now);
        let unsettled = |member: &&Member| member.is_unsettled(stage, target);
        let before = std::mem::take(&mut self.since);
        let of = |member: &Member| (member.proxy, before.get(&member.proxy).copied().unwrap_or(now));
        self.since = fleet.iter().filter(unsettled).map(of).collect();
    }

    /// For how long it has been at the last look.
    #[must_use]
    pub fn waited(&self, proxy: ProxyId) -> Duration {
        self.since.get(&proxy).map_or(Duration::ZERO, |since| self.looked.since(*since))
    }
}
