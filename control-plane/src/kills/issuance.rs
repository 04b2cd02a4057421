//! Who is stopped is given no tokens either.

use std::collections::HashSet;

use ids::{ClientId, MemberId, TenantId};
use wire::{
    kill::{Kill, Target},
    v1,
};

use super::Kills;

/// What of a set stops clients whatever they call.
pub(super) fn stopped(body: &v1::KillBody) -> HashSet<Target> {
    let kills = body.entries.iter().filter_map(Kill::read).filter(|kill| !kill.drill);
    let whole = |target: &Target| {
        matches!(target, Target::Fleet | Target::Tenant(_) | Target::Client(..) | Target::Principal(..))
    };
    kills.map(|kill| kill.target).filter(whole).collect()
}

impl Kills {
    /// Whether the client, its tenant or everything is stopped. Before the set was read, everything is.
    #[must_use]
    pub fn stop_client(&self, tenant: TenantId, client: ClientId) -> bool {
        let state = self.state.lock();
        let named = Target::Principal(tenant, client.to_string().into());
        let targets = [Target::Fleet, Target::Tenant(tenant), Target::Client(tenant, client), named];
        state.read.is_none() || targets.iter().any(|target| state.stopped.contains(target))
    }

    /// Whether the member is stopped, as a principal. Before the set was read, everybody is.
    #[must_use]
    pub fn stop_member(&self, tenant: TenantId, member: MemberId) -> bool {
        let state = self.state.lock();
        let named = Target::Principal(tenant, member.to_string().into());
        state.read.is_none() || state.stopped.contains(&named)
    }
}
