//! The control plane's end of one proxy's stream.

mod answers;
mod events;
mod known;
mod scope;
mod supply;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use ids::TenantId;
use seams::Monotonic;

pub use events::{CloseReason, Delta, Input, Load, LoadFailure, Output, Snapshot, Turn};
use known::Known;
use scope::{Flight, Scope, Want};
use window::Window;

use super::{
    BEAT, Buckets, CHUNK, Context, KEEPS_DEFINITIONS, LEASE_TTL, SCHEMAS, TAKES_GLOBAL, Version, later,
    tenant_id, version,
};
use crate::{
    global::SCOPE,
    snapshot::MAX_BYTES,
    v1::{self, control_message, proxy_message},
};

/// At most this many snapshots of one stream are being loaded or await their acknowledgement. A proxy that lacks more than
/// so many needs a place for a full synchronisation.
pub const WINDOW: usize = 32;

/// Most messages a machine can have given out that the proxy has not yet read, with room for beats: a driver whose
/// queue of this size is full closes the stream instead of waiting. A snapshot goes in parts of [`CHUNK`], the last of them
/// smaller; of its definitions, no two messages together are.
pub const QUEUE: usize = WINDOW * (4 + 3 * MAX_BYTES.div_ceil(CHUNK));

/// A stream is closed after this long, ±20 %, so that proxies spread over the control planes there are.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// Bytes of the id of a proxy's run.
const BOOT: usize = 16;

/// How long until a snapshot that could not be loaded, or that arrived damaged, is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until `Hello`.
    Greeting,
    /// Until it is known what is stored.
    Greeted,
    /// Until it is known whether there is a place for everything at once.
    Asking,
    Open,
    Closed,
}

type Step = Result<(), CloseReason>;

/// One proxy's stream, seen from the control plane.
#[derive(Debug)]
pub struct Server {
    control_id: String,
    phase: Phase,
    sources_known: bool,
    /// What the proxy lacks has to wait for its turn.
    waits: bool,
    /// Schemas that are stored, and the one of them for this proxy.
    schemas: RangeInclusive<u32>,
    schema: u32,
    /// What the proxy reads.
    protocol: u32,
    scopes: BTreeMap<TenantId, Scope>,
    known: Known,
    /// Of what the proxy is taken to hold.
    held: Buckets,
    /// Answers read on this stream.
    answered: u64,
    live: u32,
    window: Window,
    nonce: u64,
    heard: Monotonic,
    next_beat: Monotonic,
    ends: Monotonic,
}

impl Server {
    /// A stream that has just been opened. `control_id` names this replica.
    #[must_use]
    pub fn new(control_id: String, context: Context<'_>) -> Self {
        Self {
            control_id,
            phase: Phase::Greeting,
            sources_known: false,
            waits: false,
            schemas: SCHEMAS,
            schema: 0,
            protocol: 0,
            scopes: BTreeMap::new(),
            known: Known::default(),
            held: Buckets::default(),
            answered: 0,
            live: 0,
            window: Window::new(),
            nonce: 0,
            heard: context.now,
            next_beat: context.after(context.jittered(BEAT)),
            ends: context.after(context.jittered(MAX_AGE)),
        }
    }

    /// Of a store that holds these schemas.
    #[must_use]
    pub fn with_schemas(mut self, schemas: RangeInclusive<u32>) -> Self {
        self.schemas = schemas;
        self
    }

    /// When [`Input::Tick`] is due, if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Monotonic {
        let silent = later(self.heard, LEASE_TTL);
        let retry = self.window.retrying.iter().filter_map(|tenant| self.scopes.get(tenant)?.retry_at).min();
        let soonest = self.next_beat.min(silent).min(self.ends);
        retry.map_or(soonest, |at| at.min(soonest))
    }

    /// One step.
    pub fn handle(&mut self, context: Context<'_>, input: Input, out: &mut Vec<Output>) {
        if self.phase == Phase::Closed {
            return;
        }
        let step = match input {
            Input::Received(message) => self.received(context, message, out),
            Input::Sources(list) => self.sources(list),
            Input::Changed(tenant, version) => self.aim(tenant, Some(version)),
            Input::Vanished(tenant) => self.aim(tenant, None),
            Input::Loaded(tenant, snapshot) => self.loaded(context, tenant, snapshot, out),
            Input::LoadedDelta(tenant, delta) => self.loaded_delta(context, tenant, delta, out),
            Input::NotLoaded(tenant, failure) => self.not_loaded(context, tenant, failure),
            Input::FullSync(turn) => self.turn(context, turn, out),
            Input::Live(count) => {
                self.live = count;
                Ok(())
            }
            Input::Tick => self.tick(context, out),
        };
        match step {
            Ok(()) => {
                self.consider(context, out);
                self.pump(context, out);
            }
            Err(reason) => {
                self.phase = Phase::Closed;
                out.push(Output::Close(reason));
            }
        }
    }

    fn received(&mut self, context: Context<'_>, message: v1::ProxyMessage, out: &mut Vec<Output>) -> Step {
        use proxy_message::Body;
        self.heard = context.now;
        match (self.phase, message.body.ok_or(CloseReason::ProtocolViolation)?) {
            (Phase::Greeting, Body::Hello(hello)) => self.hello(&hello, out),
            (Phase::Open, Body::Ack(ack)) => self.ack(&ack, out),
            (Phase::Open, Body::Nack(nack)) => self.nack(context, nack, out),
            (Phase::Open, Body::Need(need)) => self.need(need, out),
            (Phase::Open, Body::Holds(holds)) => self.holds(&holds, out),
            (Phase::Open, Body::Beat(beat)) => {
                out.push(Output::Heard);
                // The proxy answers what differs with `Holds`.
                let differs = self.held.differing(&beat.buckets).is_some_and(|places| !places.is_empty());
                if differs {
                    self.beat(context, out);
                }
                Ok(())
            }
            _ => Err(CloseReason::ProtocolViolation),
        }
    }

    fn hello(&mut self, hello: &v1::Hello, out: &mut Vec<Output>) -> Step {
        let newest = hello.schema_max.min(*self.schemas.end());
        if newest < hello.schema_min.max(*self.schemas.start()) {
            return Err(CloseReason::SchemaUnsupported);
        }
        self.schema = newest;
        self.protocol = hello.protocol;
        self.known.said(&hello.definitions);
        if hello.boot.len() != BOOT {
            return Err(CloseReason::ProtocolViolation);
        }
        for have in &hello.have {
            let (tenant, held) = holding(have)?;
            self.hold(tenant, Some(held));
            self.window.dirty.insert(tenant);
            out.push(Output::Claimed(tenant, held));
        }
        self.phase = Phase::Greeted;
        out.push(Output::Heard);
        Ok(())
    }

    /// Once both what is stored and what the proxy holds are known: whether it is to be given more than a few tenants,
    /// for which there must be a place.
    fn consider(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        if self.phase != Phase::Greeted || !self.sources_known {
            return;
        }
        let lacking = self.scopes.values().filter(|scope| scope.want(context.now) == Want::Load);
        if lacking.take(WINDOW + 1).count() > WINDOW {
            self.phase = Phase::Asking;
            out.push(Output::FullSync);
        } else {
            self.welcome(context, out);
        }
    }

    fn turn(&mut self, context: Context<'_>, turn: Turn, out: &mut Vec<Output>) -> Step {
        match (self.phase, turn) {
            (Phase::Asking, Turn::Now | Turn::Later) => {
                self.waits = turn == Turn::Later;
                self.welcome(context, out);
            }
            (Phase::Asking, Turn::Nowhere(retry_after)) => {
                // 0 would say that it may stay.
                let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX).max(1);
                let welcome = v1::Welcome { retry_after_ms, ..self.greeting(context) };
                send(out, control_message::Body::Welcome(welcome));
                return Err(CloseReason::Busy);
            }
            (_, Turn::Now) => self.waits = false,
            _ => {}
        }
        Ok(())
    }

    fn welcome(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        self.phase = Phase::Open;
        send(out, control_message::Body::Welcome(self.greeting(context)));
        self.window.begin_initial();
    }

    fn greeting(&self, context: Context<'_>) -> v1::Welcome {
        v1::Welcome {
            control_id: self.control_id.clone(),
            server_time_micros: context.wall.micros(),
            lease_ttl_ms: LEASE_TTL.as_millis() as u32,
            live_proxies: self.live,
            schema: self.schema,
            retry_after_ms: 0,
        }
    }

    fn beat(&self, context: Context<'_>, out: &mut Vec<Output>) {
        let beat = v1::Beat {
            time_micros: context.wall.micros(),
            buckets: self.held.to_bytes(),
            answered: self.answered,
            live_proxies: self.live,
            ..v1::Beat::default()
        };
        send(out, control_message::Body::Beat(beat));
    }

    /// What the proxy holds of a tenant is now known to be this.
    fn hold(&mut self, tenant: TenantId, held: Option<Version>) {
        let scope = self.scopes.entry(tenant).or_default();
        self.held.change(tenant, scope.held, held);
        scope.held = held;
    }

    fn sources(&mut self, list: Vec<(TenantId, Version)>) -> Step {
        let listed: BTreeMap<_, _> = list.into_iter().collect();
        let gone: Vec<_> =
            self.scopes.keys().filter(|tenant| !listed.contains_key(tenant)).copied().collect();
        for tenant in gone {
            self.aim(tenant, None)?;
        }
        for (tenant, version) in listed {
            self.aim(tenant, Some(version))?;
        }
        self.sources_known = true;
        Ok(())
    }

    fn aim(&mut self, tenant: TenantId, target: Option<Version>) -> Step {
        let scope = self.scopes.entry(tenant).or_default();
        // A lagging read says nothing new.
        let older = matches!((scope.target, target), (Some(newest), Some(read)) if read.rev < newest.rev);
        if scope.target != target && !older {
            scope.target = target;
            scope.retry_at = None;
            self.window.dirty.insert(tenant);
        }
        Ok(())
    }

    fn tick(&mut self, context: Context<'_>, out: &mut Vec<Output>) -> Step {
        if context.now.since(self.heard) >= LEASE_TTL {
            return Err(CloseReason::Silent);
        }
        if context.now >= self.ends {
            return Err(CloseReason::Aged);
        }
        if context.now >= self.next_beat {
            self.next_beat = context.after(context.jittered(BEAT));
            if self.phase == Phase::Open {
                self.beat(context, out);
            }
        }
        let due = |scope: &Scope| scope.retry_at.is_none_or(|at| at <= context.now);
        let (now, still) =
            self.window.retrying.iter().partition(|tenant| self.scopes.get(tenant).is_none_or(due));
        self.window.retrying = still;
        self.window.dirty.extend::<BTreeSet<_>>(now);
        Ok(())
    }

    /// Gives out what the window allows.
    fn pump(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        if self.phase != Phase::Open {
            return;
        }
        for tenant in std::mem::take(&mut self.window.dirty) {
            if tenant == SCOPE && self.protocol < TAKES_GLOBAL {
                self.window.settled(tenant);
                continue;
            }
            let Some(scope) = self.scopes.get(&tenant) else { continue };
            match scope.want(context.now) {
                Want::Busy | Want::Later => {}
                Want::Load => self.window.queue_load(tenant),
                Want::Remove => self.window.queue_removal(tenant),
                Want::Nothing => {
                    self.window.settled(tenant);
                    if scope.target.is_none() {
                        self.scopes.remove(&tenant);
                    }
                }
            }
        }
        while let Some(tenant) = self.window.start_next(!self.waits) {
            // Looked at again: it may have changed while it waited for its turn.
            let want = self.scopes.get(&tenant).map_or(Want::Nothing, |scope| scope.want(context.now));
            match (want, self.scopes.get_mut(&tenant)) {
                (Want::Load, Some(Scope { target: Some(target), .. })) => {
                    let target = *target;
                    let scope = self.scopes.entry(tenant).or_default();
                    scope.flight = Flight::Loading;
                    let from = scope.base().filter(|_| self.protocol >= 1);
                    out.push(Output::Load(Load { tenant, target, from }));
                }
                (Want::Remove, Some(scope)) => {
                    self.nonce += 1;
                    scope.flight = Flight::Removing { nonce: self.nonce };
                    self.window.settled(tenant);
                    let tenant_id = tenant.uuid().as_bytes().to_vec();
                    send(out, control_message::Body::Remove(v1::Remove { nonce: self.nonce, tenant_id }));
                }
                (Want::Nothing, _) => {
                    self.window.skipped();
                    self.window.settled(tenant);
                }
                _ => self.window.skipped(),
            }
        }
        if self.window.take_synced() {
            self.nonce += 1;
            send(out, control_message::Body::Synced(v1::Synced { nonce: self.nonce }));
            self.waits = false;
            out.push(Output::Synced);
        }
    }
}

fn holding(have: &v1::Have) -> Result<(TenantId, Version), CloseReason> {
    tenant_id(&have.tenant_id).zip(version(have.rev, &have.digest)).ok_or(CloseReason::ProtocolViolation)
}

fn send(out: &mut Vec<Output>, body: control_message::Body) {
    out.push(Output::Send(v1::ControlMessage { body: Some(body) }));
}
