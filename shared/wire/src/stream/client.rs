//! The proxy's end of its configuration stream, over all the connections of the process's life.

use std::{collections::BTreeMap, time::Duration};

use errors::ErrorCode;
use ids::TenantId;
use seams::Monotonic;

use super::{BEAT, Context, LEASE_TTL, SCHEMA, Version, later, tenant_id, version};
use crate::v1::{self, control_message, proxy_message};

/// Waits between attempts to connect are uniform in `0..=min(LONGEST, FIRST * 2^n)`.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that has lasted this long since `Welcome` starts the waits anew.
const HEALTHY: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The stream asked for by [`Output::Connect`] is open.
    Connected,
    /// The stream could not be opened, or has ended.
    Disconnected,
    /// The control plane sent this.
    Received(v1::ControlMessage),
    /// Answer to [`Output::Apply`].
    Applied(Ticket, Version),
    /// Answer to [`Output::Apply`]: the former revision, if any, stays.
    Rejected(Ticket, Refused),
    /// Answer to [`Output::Remove`].
    Removed(Ticket),
    /// The proxy has a new certificate: connect anew with it, at once.
    IdentityRenewed,
    /// Time has passed. The first one starts the machine.
    Tick,
}

/// Names a change given out, so that its answer reaches the connection that asked for it and no later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Whose configuration.
    pub tenant: TenantId,
    connection: u64,
    nonce: u64,
    rev: u64,
}

/// Why a snapshot was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Catalogue code.
    pub code: ErrorCode,
    /// Resource id and field, never content.
    pub detail: String,
}

/// What the driver is to do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Open the stream.
    Connect,
    /// Send to the control plane.
    Send(v1::ProxyMessage),
    /// Decode, check and swap in; answer with `Applied` or `Rejected`. Changes are applied in the order given out.
    Apply(Ticket, v1::Replace),
    /// Take the tenant out; answer with `Removed`.
    Remove(Ticket),
    /// Everything that existed is applied: the proxy may serve.
    Ready,
    /// Close the stream if there is one; `Connect` follows after the wait.
    Hangup(HangupReason),
}

/// Why the proxy ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangupReason {
    /// It ended by itself, or could not be opened.
    Lost,
    /// Nothing was heard for a lease.
    Silent,
    /// The message has no place here.
    ProtocolViolation,
    /// To connect with a new certificate.
    IdentityRenewed,
}

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
    phase: Phase,
    /// Counts connections; answers to changes of an earlier one are not sent.
    connection: u64,
    /// What is enforced.
    at: BTreeMap<TenantId, Version>,
    /// Changes given out on this connection and not yet answered.
    applying: usize,
    /// Changes given out on earlier connections and not yet answered. While there are any, what is enforced is not
    /// known, so `Hello` cannot be said.
    late: usize,
    synced: bool,
    ready: bool,
    failures: u32,
    heard: Monotonic,
    next_beat: Monotonic,
}

impl Client {
    /// A proxy that has just started, holding `at`. `boot` is random and names this run of the process.
    #[must_use]
    pub fn new(boot: [u8; 16], build: String, at: BTreeMap<TenantId, Version>) -> Self {
        Self {
            boot,
            build,
            phase: Phase::Waiting(Monotonic::default()),
            connection: 0,
            at,
            applying: 0,
            late: 0,
            synced: false,
            ready: false,
            failures: 0,
            heard: Monotonic::default(),
            next_beat: Monotonic::default(),
        }
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
            Input::Applied(ticket, version) => {
                self.at.insert(ticket.tenant, version);
                self.answer(ticket, ack(ticket, Some(version)), out);
            }
            Input::Removed(ticket) => {
                self.at.remove(&ticket.tenant);
                self.answer(ticket, ack(ticket, None), out);
            }
            Input::Rejected(ticket, refused) => self.answer(ticket, self.nack(ticket, refused), out),
            Input::IdentityRenewed => self.renewed(context, out),
            Input::Tick => self.tick(context, out),
        }
    }

    fn connected(&mut self, context: Context<'_>, out: &mut Vec<Output>) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.phase = Phase::Greeting;
        self.heard = context.now;
        let have = self.at.iter().map(|(tenant, version)| v1::Have {
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            rev: version.rev,
            digest: version.digest.to_vec(),
        });
        let hello = v1::Hello {
            boot: self.boot.to_vec(),
            build: self.build.clone(),
            schema_min: SCHEMA,
            schema_max: SCHEMA,
            have: have.collect(),
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
            (Phase::Greeting, Body::Welcome(_)) => {
                self.phase = Phase::Open(context.now);
                self.next_beat = context.after(context.jittered(BEAT));
            }
            (Phase::Open(_), Body::Replace(replace)) => self.replace(replace, out)?,
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
            (Phase::Open(_), Body::Beat(_)) => {}
            // What was under way when this end hung up.
            (Phase::Waiting(_) | Phase::Connecting, _) => {}
            _ => return None,
        }
        Some(())
    }

    fn replace(&mut self, replace: v1::Replace, out: &mut Vec<Output>) -> Option<()> {
        let tenant = tenant_id(&replace.tenant_id)?;
        let offered = version(replace.rev, &replace.digest)?;
        let ticket = Ticket { tenant, connection: self.connection, nonce: replace.nonce, rev: replace.rev };
        self.applying += 1;
        if self.at.get(&tenant).is_some_and(|at| offered.rev < at.rev) {
            let refused = Refused {
                code: ErrorCode::SnapshotInvalid,
                detail: "rev: older than the enforced one".into(),
            };
            self.answer(ticket, self.nack(ticket, refused), out);
        } else {
            out.push(Output::Apply(ticket, replace));
        }
        Some(())
    }

    fn nack(&self, ticket: Ticket, refused: Refused) -> proxy_message::Body {
        proxy_message::Body::Nack(v1::Nack {
            nonce: ticket.nonce,
            tenant_id: ticket.tenant.uuid().as_bytes().to_vec(),
            rejected_rev: ticket.rev,
            at_rev: self.at.get(&ticket.tenant).map_or(0, |at| at.rev),
            code: refused.code.slug().to_owned(),
            detail: refused.detail,
        })
    }

    fn answer(&mut self, ticket: Ticket, body: proxy_message::Body, out: &mut Vec<Output>) {
        if ticket.connection != self.connection {
            self.late = self.late.saturating_sub(1);
        } else if self.is_connected() {
            self.applying = self.applying.saturating_sub(1);
            send(out, body);
            self.become_ready(out);
        }
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
                send(out, proxy_message::Body::Beat(v1::Beat { time_micros: context.wall.micros() }));
            }
            _ => {}
        }
    }
}

fn ack(ticket: Ticket, held: Option<Version>) -> proxy_message::Body {
    proxy_message::Body::Ack(v1::Ack {
        nonce: ticket.nonce,
        tenant_id: ticket.tenant.uuid().as_bytes().to_vec(),
        rev: held.map_or(0, |held| held.rev),
        digest: held.map_or_else(Vec::new, |held| held.digest.to_vec()),
    })
}

fn send(out: &mut Vec<Output>, body: proxy_message::Body) {
    out.push(Output::Send(v1::ProxyMessage { body: Some(body) }));
}
