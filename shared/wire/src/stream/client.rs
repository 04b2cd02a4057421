//! The proxy's end of its configuration stream, over all the connections of the process's life.

mod answers;
mod events;
mod parts;

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use errors::ErrorCode;
use ids::TenantId;
use seams::{Monotonic, Timestamp};

use answers::{have, need};
pub use events::{HangupReason, Input, Output, Refused, Ticket, Told};
use parts::Parts;

use super::{
    BEAT, Buckets, Context, KEEPS_DEFINITIONS, LEASE_TTL, PROTOCOL, SCHEMAS, Version, later, tenant_id,
    version,
};
use crate::v1::{self, control_message, proxy_message};

/// Waits between attempts to connect are uniform in `0..=min(LONGEST, FIRST * 2^n)`.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that has lasted this long since `Welcome` starts the waits anew.
const HEALTHY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not connected; `Connect` is given out at this time.
    Waiting(Monotonic),
    Connecting,
    /// `Hello` was sent.
    Greeting,
    /// Since when.
    Open(Monotonic),
}

/// One proxy's stream, seen from the proxy.
#[derive(Debug)]
pub struct Client {
    boot: [u8; 16],
    build: String,
    schemas: RangeInclusive<u32>,
    protocol: u32,
    phase: Phase,
    /// Counts connections; answers to changes of an earlier one are not sent.
    connection: u64,
    /// What is enforced.
    at: BTreeMap<TenantId, Version>,
    buckets: Buckets,
    /// A snapshot of which not every part has come.
    parts: Option<Parts>,
    /// Bytes of definitions given out since the last snapshot or change that may need them.
    learnt: usize,
    /// Answers sent on this connection.
    answered: u64,
    /// Changes given out on this connection and not yet answered.
    applying: usize,
    /// Changes given out on earlier connections and not yet answered. While there are any, what is enforced is not
    /// known, so `Hello` cannot be said.
    late: usize,
    synced: bool,
    ready: bool,
    failures: u32,
    heard: Monotonic,
    /// When `Hello` was said.
    greeted: Monotonic,
    next_beat: Monotonic,
}

impl Client {
    /// A proxy that has just started, holding `at`. `boot` is random and names this run of the process.
    #[must_use]
    pub fn new(boot: [u8; 16], build: String, at: BTreeMap<TenantId, Version>) -> Self {
        Self {
            boot,
            build,
            schemas: SCHEMAS,
            protocol: PROTOCOL,
            phase: Phase::Waiting(Monotonic::default()),
            connection: 0,
            buckets: Buckets::of(&at),
            at,
            parts: None,
            learnt: 0,
            answered: 0,
            applying: 0,
            late: 0,
            synced: false,
            ready: false,
            failures: 0,
            heard: Monotonic::default(),
            greeted: Monotonic::default(),
            next_beat: Monotonic::default(),
        }
    }

    /// A proxy that reads these schemas.
    #[must_use]
    pub fn with_schemas(mut self, schemas: RangeInclusive<u32>) -> Self {
        self.schemas = schemas;
        self
    }

    /// A proxy of an earlier build.
    #[must_use]
    pub fn with_protocol(mut self, protocol: u32) -> Self {
        self.protocol = protocol;
        self
    }

    /// What is enforced, by tenant.
    #[must_use]
    pub fn at(&self) -> &BTreeMap<TenantId, Version> {
        &self.at
    }

    /// Whether a stream is open and greeted.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether the control plane has said on this stream that it has sent everything there was: from then on each of its messages
    /// confirms that what is enforced is current, or on its way.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.is_connected() && self.synced
    }

    /// When [`Input::Tick`] is due, if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Monotonic {
        match self.phase {
            Phase::Waiting(_) if self.late > 0 => Monotonic::from_nanos(u64::MAX),
            Phase::Waiting(until) => until,
            Phase::Connecting | Phase::Greeting => later(self.heard, LEASE_TTL),
            Phase::Open(_) => self.next_beat.min(later(self.heard, LEASE_TTL)),
        }
    }

    /// One step.
    pub fn handle(&mut self, context: Context<'_>, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Connected => self.connected(context, out),
            Input::Disconnected => self.hang_up(context, HangupReason::Lost, out),
            Input::Received(message) => {
                self.heard = context.now;
                if self.received(context, message, out).is_none() {
                    self.hang_up(context, HangupReason::ProtocolViolation, out);
                }
            }
            Input::Applied(ticket, version) => self.applied(ticket, Some(version), out),
            Input::Removed(ticket) => self.applied(ticket, None, out),
            Input::Rejected(ticket, refused) => self.answer(ticket, self.nack(ticket, refused), out),
            Input::Misfit(ticket, detail) => self.answer(ticket, need(ticket, detail), out),
            Input::IdentityRenewed => self.renewed(context, out),
            Input::Tick => self.tick(context, out),
        }
    }

    fn connected(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.phase = Phase::Greeting;
        (self.heard, self.greeted) = (context.now, context.now);
        let have = self.at.iter().map(|(tenant, version)| have(*tenant, *version));
        let hello = v1::Hello {
            boot: self.boot.to_vec(),
            build: self.build.clone(),
            schema_min: *self.schemas.start(),
            schema_max: *self.schemas.end(),
            have: have.collect(),
            protocol: self.protocol,
            // Its driver's to say.
            definitions: Vec::new(),
        };
        send(out, proxy_message::Body::Hello(hello));
    }

    /// `None` when the message has no place here.
    fn received(
        &mut self,
        context: Context<'_>,
        message: v1::ControlMessage,
        out: &mut Vec<Output>,
    ) -> Option<()> {
        use control_message::Body;
        match (self.phase, message.body?) {
            (Phase::Greeting, Body::Welcome(welcome)) => self.welcome(context, &welcome, out)?,
            // Parts follow each other with nothing in between.
            (Phase::Open(_), Body::Chunk(chunk)) => {
                let whole = self.parts.as_mut()?.add(&chunk)?;
                if let Some(replace) = whole {
                    self.parts = None;
                    self.replace(replace, out)?;
                }
            }
            (Phase::Open(_), _) if self.parts.is_some() => return None,
            (Phase::Open(_), Body::Definitions(new)) => self.learn(new, out)?,
            (Phase::Open(_), Body::Replace(replace)) if replace.chunks > 0 => {
                self.parts = Some(Parts::begin(replace));
            }
            (Phase::Open(_), Body::Replace(replace)) => self.replace(replace, out)?,
            (Phase::Open(_), Body::Delta(delta)) => self.amend(delta, out)?,
            (Phase::Open(_), Body::Remove(remove)) => {
                let tenant = tenant_id(&remove.tenant_id)?;
                self.applying += 1;
                let ticket = Ticket { tenant, connection: self.connection, nonce: remove.nonce, rev: 0 };
                out.push(Output::Remove(ticket));
            }
            (Phase::Open(_), Body::Synced(_)) => {
                self.synced = true;
                self.become_ready(out);
            }
            (Phase::Open(_), Body::Beat(beat)) => self.beat(&beat, out)?,
            // What was under way when this end hung up.
            (Phase::Waiting(_) | Phase::Connecting, _) => {}
            _ => return None,
        }
        Some(())
    }

    fn welcome(&mut self, context: Context<'_>, welcome: &v1::Welcome, out: &mut Vec<Output>) -> Option<()> {
        // A control plane that says nothing of it has only the first schema.
        if !self.schemas.contains(&welcome.schema.max(1)) {
            return None;
        }
        let asked = self.greeted;
        out.push(Output::Told(Told {
            server_time: Timestamp::from_micros(welcome.server_time_micros),
            round_trip: Some(context.now.since(asked)),
            live_proxies: (welcome.live_proxies > 0).then_some(welcome.live_proxies),
        }));
        if welcome.retry_after_ms > 0 {
            let least = Duration::from_millis(u64::from(welcome.retry_after_ms)).min(LONGEST);
            self.hang_up(context, HangupReason::Busy, out);
            self.phase = Phase::Waiting(context.after(least + context.up_to(least)));
            return Some(());
        }
        self.phase = Phase::Open(context.now);
        self.next_beat = context.after(context.jittered(BEAT));
        Some(())
    }

    fn become_ready(&mut self, out: &mut Vec<Output>) {
        if self.synced && self.applying == 0 && !self.ready {
            self.ready = true;
            out.push(Output::Ready);
        }
    }

    fn renewed(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Waiting(_)) {
            self.hang_up(context, HangupReason::IdentityRenewed, out);
            self.phase = Phase::Waiting(context.now);
        }
    }

    fn hang_up(&mut self, context: Context<'_>, reason: HangupReason, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Waiting(_)) {
            return;
        }
        if matches!(self.phase, Phase::Open(since) if context.now.since(since) >= HEALTHY) {
            self.failures = 0;
        }
        let most = FIRST.saturating_mul(1 << self.failures.min(20)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting(context.after(context.up_to(most)));
        self.connection += 1;
        self.late += std::mem::take(&mut self.applying);
        self.answered = 0;
        self.parts = None;
        self.learnt = 0;
        self.synced = false;
        out.push(Output::Hangup(reason));
    }

    fn tick(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Waiting(until) if context.now >= until && self.late == 0 => {
                self.phase = Phase::Connecting;
                self.heard = context.now;
                out.push(Output::Connect);
            }
            Phase::Waiting(_) => {}
            _ if context.now.since(self.heard) >= LEASE_TTL => {
                self.hang_up(context, HangupReason::Silent, out)
            }
            Phase::Open(_) if context.now >= self.next_beat => {
                self.next_beat = context.after(context.jittered(BEAT));
                let beat = v1::Beat {
                    time_micros: context.wall.micros(),
                    buckets: self.buckets.to_bytes(),
                    ..v1::Beat::default()
                };
                send(out, proxy_message::Body::Beat(beat));
            }
            _ => {}
        }
    }
}

fn send(out: &mut Vec<Output>, body: proxy_message::Body) {
    out.push(Output::Send(v1::ProxyMessage { body: Some(body) }));
}
