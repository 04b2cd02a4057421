//! What runs ends when it is no longer allowed: with the end of the key or token, with a drain, when it is killed or its credential revoked,
//! and when a new snapshot would refuse it.
//!
//! Each forwarded call carries one future, [`Cut`], that resolves with the reason. It asks again only when its own
//! tenant's configuration has moved; a stream that is still allowed goes on, so that a reload cuts nothing by itself. One task
//! per worker follows the changes and wakes those concerned, so that a call pays for being watched with nothing but a
//! place in a list.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use errors::ErrorCode;
use ids::{TenantId, UpstreamId};
use seams::Timestamp;
use tokio::time::Sleep;
use wire::v1::ToolState;

use crate::{
    checks::{Grounds, Principal, Still},
    decisions::{self, Wanted, Who},
    drain::Phase,
    kills::Running,
    snapshot::{
        index::{EndpointIndex, Map, TenantIndex, ToolIndex},
        store::Fleet,
    },
    worker::Worker,
};

/// Longest sleep towards a credential's end: the clock may be set meanwhile.
const STEP: Duration = Duration::from_secs(30);

/// One worker's running calls, by tenant.
#[derive(Default)]
pub(crate) struct Watchers(RefCell<Map<TenantId, Rc<Group>>>);

/// The running calls of one tenant.
#[derive(Default)]
struct Group {
    /// Moves whenever the members have to ask again.
    turn: Cell<u64>,
    /// The configuration's digest at the last turn.
    seen: Cell<Option<[u8; 32]>>,
    places: RefCell<Places>,
}

/// Who waits, each in a place of its own.
#[derive(Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Watchers {
    /// The group of a tenant whose configuration has this digest.
    fn group(&self, tenant: TenantId, seen: [u8; 32]) -> Rc<Group> {
        let mut groups = self.0.borrow_mut();
        let new = || Rc::new(Group { seen: Cell::new(Some(seen)), ..Group::default() });
        Rc::clone(groups.entry(tenant).or_insert_with(new))
    }

    /// Who has to ask again: the calls of every tenant whose configuration moved; with `everyone`, all.
    fn advance(&self, fleet: &Fleet, everyone: bool) -> Vec<Waker> {
        let mut woken = Vec::new();
        self.0.borrow_mut().retain(|tenant, group| {
            let now = fleet.tenant(*tenant).map(|tenant| tenant.digest);
            if everyone || now != group.seen.get() {
                group.seen.set(now);
                group.turn.set(group.turn.get() + 1);
                woken.append(&mut group.places.borrow_mut().wakers.iter().flatten().cloned().collect());
            }
            Rc::strong_count(group) > 1
        });
        woken
    }
}

/// Follows snapshots and phases for as long as the worker runs.
pub(crate) async fn follow(worker: Rc<Worker>) {
    let mut changes = worker.shared.snapshots.changed();
    let mut phases = worker.shared.drain.changes();
    let mut asking = worker.shared.ready.asking();
    let kills = &worker.shared.kills;
    let mut kill_turns = kills.turns();
    let seat = kills.seat();
    loop {
        let everyone = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            changed = phases.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            changed = asking.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            changed = kill_turns.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
        };
        // Before anybody is woken: who is, goes by this turn or a later one.
        let kill_turn = kills.turn();
        let woken = worker.with_fleet(|fleet| worker.watchers.advance(fleet, everyone));
        woken.into_iter().for_each(Waker::wake);
        if kill_turn != seat.seen() {
            // Behind all that was woken: it has ended when this worker says that it goes by the change.
            tokio::task::yield_now().await;
            seat.has_seen(kill_turn);
        }
    }
}

/// What a running call depends on.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The tenant as it was when the call was admitted.
    pub(crate) tenant: Arc<TenantIndex>,
    pub(crate) endpoint: Arc<EndpointIndex>,
    pub(crate) upstream: UpstreamId,
    pub(crate) principal: Principal,
    /// Where the caller is.
    pub(crate) address: IpAddr,
    pub(crate) grounds: Grounds,
    /// Whether the caller keeps it open as long as it likes: such a stream ends as soon as a drain begins.
    pub(crate) keeps_open: bool,
}

/// Resolves when a call must end, with the reason.
pub(crate) struct Cut {
    worker: Rc<Worker>,
    standing: Standing,
    group: Rc<Group>,
    place: Option<usize>,
    /// The group's turn at which was asked last; `None` before the first time.
    turn: Option<u64>,
    /// The kill set's turn at which was asked last.
    kill_turn: u64,
    /// Digest of the configuration that was asked last. Its revision would not do: after a restore of the control plane
    /// a number may come again.
    seen: [u8; 32],
    /// The credential's end, by the configuration that was asked last.
    not_after: Option<Timestamp>,
    /// Towards it.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Cut {
    pub(crate) fn new(worker: Rc<Worker>, standing: Standing) -> Self {
        let group = worker.watchers.group(standing.tenant.id, standing.tenant.digest);
        let seen = standing.tenant.digest;
        let not_after = standing.principal.not_after();
        Self { worker, standing, group, place: None, turn: None, kill_turn: 0, seen, not_after, sleep: None }
    }

    /// The reason to end, if the state of now has one.
    fn asked_again(&mut self) -> Option<ErrorCode> {
        if let Some(code) = self.standing.stopped(&self.worker) {
            return Some(code);
        }
        let phase = self.worker.shared.drain.phase();
        if phase == Phase::Ending || (phase == Phase::Draining && self.standing.keeps_open) {
            return Some(ErrorCode::Draining);
        }
        let (standing, ready) = (&self.standing, &self.worker.shared.ready);
        let now = self.worker.shared.clock.now();
        let asked = self.worker.with_fleet(|fleet| {
            let tenant = fleet.tenant(standing.tenant.id).ok_or(ErrorCode::EndpointNotFound)?;
            ready.fresh(tenant.max_stale_secs).map_err(|_| ErrorCode::ConfigStale)?;
            if tenant.digest == self.seen {
                Ok(None)
            } else {
                standing.still(tenant, now).map(|end| Some((tenant.digest, end)))
            }
        });
        match asked {
            Ok(None) => None,
            Ok(Some((seen, not_after))) => {
                (self.seen, self.not_after, self.sleep) = (seen, not_after, None);
                None
            }
            Err(code) => Some(code),
        }
    }

    fn credential_has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(end) = self.not_after else { return false };
        loop {
            let left = end.since(self.worker.shared.clock.now());
            if left.is_zero() {
                return true;
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(left.min(STEP))));
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.sleep = None;
        }
    }

    fn wait(&mut self, waker: &Waker) {
        let mut places = self.group.places.borrow_mut();
        let place = *self.place.get_or_insert_with(|| {
            places.free.pop().unwrap_or_else(|| {
                places.wakers.push(None);
                places.wakers.len() - 1
            })
        });
        if let Some(held) = places.wakers.get_mut(place)
            && !held.as_ref().is_some_and(|held| held.will_wake(waker))
        {
            *held = Some(waker.clone());
        }
    }
}

impl Future for Cut {
    type Output = ErrorCode;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ErrorCode> {
        let this = self.get_mut();
        // The first time as well: configuration and kills may have changed since the call was admitted. Kills each time, and
        // not only when woken: what is polled after this in the same turn sends nothing that was killed before.
        let (turn, kill_turn) = (this.group.turn.get(), this.worker.shared.kills.turn());
        if this.turn != Some(turn) || this.kill_turn != kill_turn {
            (this.turn, this.kill_turn) = (Some(turn), kill_turn);
            if let Some(code) = this.asked_again() {
                return Poll::Ready(code);
            }
        }
        if this.credential_has_ended(cx) {
            return Poll::Ready(ErrorCode::CredentialInvalid);
        }
        this.wait(cx.waker());
        Poll::Pending
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut places = self.group.places.borrow_mut();
        if let Some(held) = places.wakers.get_mut(place) {
            *held = None;
        }
        places.free.push(place);
    }
}

impl Standing {
    /// Whether it was killed, or its credential revoked.
    fn stopped(&self, worker: &Worker) -> Option<ErrorCode> {
        let index = worker.shared.kills.look()?;
        let (tenant, caller, shown) = (self.tenant.id, self.principal.holder(), self.principal.shown());
        if index.is_revoked(tenant, caller, shown) {
            return Some(ErrorCode::CredentialInvalid);
        }
        let tool = match &self.grounds {
            Grounds::Tool(tool) => Some(tool.id),
            _ => None,
        };
        let call = Running { tenant, upstream: self.upstream, tool, caller, shown };
        (index.stops_endpoint(tenant, self.endpoint.id) || index.stops_call(call))
            .then_some(ErrorCode::Killed)
    }

    /// Whether this revision still allows the call, and until when its credential lasts.
    fn still(&self, tenant: &TenantIndex, now: Timestamp) -> Result<Option<Timestamp>, ErrorCode> {
        let endpoint = tenant.endpoints.get(&self.endpoint.slug).filter(|now| now.id == self.endpoint.id);
        let endpoint =
            endpoint.filter(|now| now.enabled && !tenant.suspended).ok_or(ErrorCode::EndpointNotFound)?;
        if !endpoint.admits(self.address) {
            return Err(ErrorCode::AddressRefused);
        }
        let attached = endpoint.attachments.iter().find(|attachment| attachment.upstream.enabled);
        let upstream = attached.map(|attachment| &attachment.upstream).filter(|now| now.id == self.upstream);
        let upstream = upstream.ok_or(ErrorCode::NoUpstream)?;
        let Still { client, member, not_after } = self
            .principal
            .still(tenant, endpoint, (self.address, now))
            .ok_or(ErrorCode::CredentialInvalid)?;
        if !client.may_use(endpoint.id) {
            return Err(ErrorCode::ClientNotAllowed);
        }
        self.grounds_hold(tenant, endpoint, Who::from((&client, member.as_ref())), |name| {
            upstream.tools.get(name).map(AsRef::as_ref)
        })?;
        Ok(not_after)
    }

    fn grounds_hold<'t>(
        &self,
        tenant: &TenantIndex,
        endpoint: &EndpointIndex,
        who: Who<'_>,
        tool: impl FnOnce(&str) -> Option<&'t ToolIndex>,
    ) -> Result<(), ErrorCode> {
        let held = self.principal.held();
        let permitted = |wanted: Wanted<'_>| {
            let ruling = decisions::decide(tenant, who, self.upstream, &wanted);
            ruling.with(held).code(wanted.action()).map_or(Ok(()), Err)
        };
        match &self.grounds {
            Grounds::Tool(called) => {
                let tool =
                    tool(&called.name).filter(|now| now.id == called.id).ok_or(ErrorCode::ToolNotGranted)?;
                match tool.state {
                    ToolState::Approved => {}
                    ToolState::Quarantined => return Err(ErrorCode::ToolQuarantined),
                    _ => return Err(ErrorCode::ToolNotApproved),
                }
                let ruling = decisions::decide_tool(tenant, who, tool);
                ruling.with(held).code(policy::Action::CallTool).map_or(Ok(()), Err)
            }
            Grounds::Prompt(name) => permitted(Wanted::Prompt(name)),
            Grounds::Resource(uri) => permitted(Wanted::Resource(uri)),
            Grounds::Subscriptions { uris, tasks } => {
                uris.iter().try_for_each(|uri| permitted(Wanted::Subscription(uri)))?;
                if *tasks { permitted(Wanted::Tasks) } else { Ok(()) }
            }
            Grounds::Completion => permitted(Wanted::Completion),
            Grounds::Tasks => permitted(Wanted::Tasks),
            Grounds::MethodSet(method) => {
                let closed = endpoint.closed_methods.iter().any(|closed| **closed == *method.as_str());
                if closed { Err(ErrorCode::MethodClosed) } else { Ok(()) }
            }
            Grounds::Lifecycle => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
