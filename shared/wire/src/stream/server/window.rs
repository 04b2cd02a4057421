//! Which tenants are to be looked at, which wait for their turn, and what still holds `Synced` back.

use std::collections::BTreeSet;

use ids::TenantId;

use super::WINDOW;

#[derive(Debug)]
pub(super) struct Window {
    /// Something about these changed since they were last looked at.
    pub(super) dirty: BTreeSet<TenantId>,
    /// These wait for `Scope::retry_at`.
    pub(super) retrying: BTreeSet<TenantId>,
    removals: BTreeSet<TenantId>,
    loads: BTreeSet<TenantId>,
    in_flight: usize,
    /// What must have been sent before `Synced`; `None` once that was.
    initial: Option<BTreeSet<TenantId>>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            dirty: BTreeSet::new(),
            retrying: BTreeSet::new(),
            removals: BTreeSet::new(),
            loads: BTreeSet::new(),
            in_flight: 0,
            initial: Some(BTreeSet::new()),
        }
    }

    /// All that is dirty now must be settled before `Synced`.
    pub(super) fn begin_initial(&mut self) {
        if let Some(initial) = &mut self.initial {
            initial.extend(self.dirty.iter().copied());
        }
    }

    pub(super) fn settled(&mut self, tenant: TenantId) {
        if let Some(initial) = &mut self.initial {
            initial.remove(&tenant);
        }
    }

    /// True once: when the last of the initial set has been sent.
    pub(super) fn take_synced(&mut self) -> bool {
        let done = self.initial.as_ref().is_some_and(BTreeSet::is_empty);
        if done {
            self.initial = None;
        }
        done
    }

    pub(super) fn queue_load(&mut self, tenant: TenantId) {
        self.loads.insert(tenant);
    }

    pub(super) fn queue_removal(&mut self, tenant: TenantId) {
        self.removals.insert(tenant);
    }

    /// The next tenant that may start, which then counts as in flight. Removals come first, so that a name they free
    /// can be taken by the tenant that follows; without `loads` there is nothing else.
    pub(super) fn start_next(&mut self, loads: bool) -> Option<TenantId> {
        if self.in_flight >= WINDOW {
            return None;
        }
        let next = match self.removals.pop_first() {
            None if loads => self.loads.pop_first()?,
            removal => removal?,
        };
        self.in_flight += 1;
        Some(next)
    }

    /// A started tenant had nothing to do after all.
    pub(super) fn skipped(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn landed(&mut self, tenant: TenantId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.dirty.insert(tenant);
    }
}
