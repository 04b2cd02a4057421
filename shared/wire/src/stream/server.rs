//! The control plane's end of one proxy's stream.

mod events;
mod scope;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use errors::ErrorCode;
use ids::TenantId;
use seams::Monotonic;

pub use events::{CloseReason, Input, LoadFailure, Output, Snapshot};
use scope::{Flight, Scope, Want};
use window::Window;

use super::{BEAT, Context, LEASE_TTL, SCHEMA, Version, later, tenant_id, version};
use crate::v1::{self, control_message, proxy_message};

/// At most this many snapshots of one stream are being loaded or await their acknowledgement.
pub const WINDOW: usize = 32;

/// Most messages a machine can have given out that the proxy has not yet read, with room for beats: a driver whose
/// queue of this size is full closes the stream instead of waiting.
pub const QUEUE: usize = 4 * WINDOW;

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
    scopes: BTreeMap<TenantId, Scope>,
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
            scopes: BTreeMap::new(),
            window: Window::new(),
            nonce: 0,
            heard: context.now,
            next_beat: context.after(context.jittered(BEAT)),
            ends: context.after(context.jittered(MAX_AGE)),
        }
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
            Input::NotLoaded(tenant, failure) => self.not_loaded(context, tenant, failure),
            Input::Tick => self.tick(context, out),
        };
        match step {
            Ok(()) => self.pump(context, out),
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
            (Phase::Greeting, Body::Hello(hello)) => self.hello(context, &hello, out),
            (Phase::Open, Body::Ack(ack)) => self.ack(&ack, out),
            (Phase::Open, Body::Nack(nack)) => self.nack(context, nack, out),
            (Phase::Open, Body::Beat(_)) => {
                out.push(Output::Heard);
                Ok(())
            }
            _ => Err(CloseReason::ProtocolViolation),
        }
    }

    fn hello(&mut self, context: Context<'_>, hello: &v1::Hello, out: &mut Vec<Output>) -> Step {
        if !(hello.schema_min..=hello.schema_max).contains(&SCHEMA) {
            return Err(CloseReason::SchemaUnsupported);
        }
        if hello.boot.len() != BOOT {
            return Err(CloseReason::ProtocolViolation);
        }
        for have in &hello.have {
            let tenant = tenant_id(&have.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
            let held = version(have.rev, &have.digest).ok_or(CloseReason::ProtocolViolation)?;
            self.scopes.entry(tenant).or_default().held = Some(held);
            self.window.dirty.insert(tenant);
            out.push(Output::Claimed(tenant, held));
        }
        self.phase = Phase::Open;
        out.push(Output::Heard);
        let welcome = v1::Welcome {
            control_id: self.control_id.clone(),
            server_time_micros: context.wall.micros(),
            lease_ttl_ms: LEASE_TTL.as_millis() as u32,
        };
        send(out, control_message::Body::Welcome(welcome));
        self.begin_initial();
        Ok(())
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
        self.begin_initial();
        Ok(())
    }

    /// What must go out before `Synced` is known once both the list of tenants and the proxy's holdings are.
    fn begin_initial(&mut self) {
        if self.sources_known && self.phase == Phase::Open {
            self.window.begin_initial();
        }
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

    fn loaded(
        &mut self,
        context: Context<'_>,
        tenant: TenantId,
        snapshot: Snapshot,
        out: &mut Vec<Output>,
    ) -> Step {
        let Some(scope) = self.scopes.get_mut(&tenant).filter(|scope| scope.flight == Flight::Loading) else {
            return Ok(());
        };
        scope.flight = Flight::None;
        let version = snapshot.version;
        let Some(target) = scope.target else {
            self.window.landed(tenant);
            return Ok(());
        };
        if version.rev > target.rev {
            scope.target = Some(version);
        }
        // A lagging read must neither take the proxy back nor be repeated at once.
        if scope.held.is_some_and(|held| version.rev < held.rev || version == held) {
            scope.retry_at = Some(context.after(RETRY));
            self.window.retrying.insert(tenant);
            self.window.landed(tenant);
            return Ok(());
        }
        self.nonce += 1;
        scope.retry_at = None;
        scope.flight = Flight::Sent { nonce: self.nonce, version };
        self.window.settled(tenant);
        let replace = v1::Replace {
            nonce: self.nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            rev: version.rev,
            digest: version.digest.to_vec(),
            snapshot: snapshot.bytes,
            keys: snapshot.keys,
        };
        send(out, control_message::Body::Replace(replace));
        Ok(())
    }

    fn not_loaded(&mut self, context: Context<'_>, tenant: TenantId, failure: LoadFailure) -> Step {
        let Some(scope) = self.scopes.get_mut(&tenant).filter(|scope| scope.flight == Flight::Loading) else {
            return Ok(());
        };
        scope.flight = Flight::None;
        scope.retry_at = Some(context.after(RETRY));
        self.window.retrying.insert(tenant);
        self.window.landed(tenant);
        if failure == LoadFailure::Broken {
            self.window.settled(tenant);
        }
        Ok(())
    }

    fn ack(&mut self, ack: &v1::Ack, out: &mut Vec<Output>) -> Step {
        let tenant = tenant_id(&ack.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
        let scope = self.scopes.get_mut(&tenant).ok_or(CloseReason::ProtocolViolation)?;
        let held = match scope.flight {
            Flight::Sent { nonce, version: sent } if nonce == ack.nonce => Some(
                version(ack.rev, &ack.digest)
                    .filter(|held| *held == sent)
                    .ok_or(CloseReason::ProtocolViolation)?,
            ),
            Flight::Removing { nonce } if nonce == ack.nonce => None,
            _ => return Err(CloseReason::ProtocolViolation),
        };
        scope.flight = Flight::None;
        scope.held = held;
        scope.refused = None;
        self.window.landed(tenant);
        out.push(Output::Applied(tenant, held));
        Ok(())
    }

    fn nack(&mut self, context: Context<'_>, nack: v1::Nack, out: &mut Vec<Output>) -> Step {
        let tenant = tenant_id(&nack.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
        let code = ErrorCode::from_slug(&nack.code).ok_or(CloseReason::ProtocolViolation)?;
        let scope = self.scopes.get_mut(&tenant).ok_or(CloseReason::ProtocolViolation)?;
        let Flight::Sent { nonce, version } = scope.flight else {
            return Err(CloseReason::ProtocolViolation);
        };
        if nonce != nack.nonce || version.rev != nack.rejected_rev {
            return Err(CloseReason::ProtocolViolation);
        }
        scope.flight = Flight::None;
        scope.refused = Some(version);
        if code.entry().retryable {
            scope.retry_at = Some(context.after(RETRY));
            self.window.retrying.insert(tenant);
        }
        self.window.landed(tenant);
        out.push(Output::Rejected { tenant, version, at_rev: nack.at_rev, code, detail: nack.detail });
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
                send(out, control_message::Body::Beat(v1::Beat { time_micros: context.wall.micros() }));
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
        if self.phase != Phase::Open || !self.sources_known {
            return;
        }
        for tenant in std::mem::take(&mut self.window.dirty) {
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
        while let Some(tenant) = self.window.start_next() {
            // Looked at again: it may have changed while it waited for its turn.
            let want = self.scopes.get(&tenant).map_or(Want::Nothing, |scope| scope.want(context.now));
            match (want, self.scopes.get_mut(&tenant)) {
                (Want::Load, Some(scope)) => {
                    scope.flight = Flight::Loading;
                    out.push(Output::Load(tenant));
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
        }
    }
}

fn send(out: &mut Vec<Output>, body: control_message::Body) {
    out.push(Output::Send(v1::ControlMessage { body: Some(body) }));
}
