//! What goes into the proxy's end and what comes out.

use std::time::Duration;

use errors::ErrorCode;
use ids::TenantId;
use seams::Timestamp;

use crate::{stream::Version, v1};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The stream asked for by [`Output::Connect`] is open.
    Connected,
    /// The stream could not be opened, or has ended.
    Disconnected,
    /// The control plane sent this.
    Received(v1::ControlMessage),
    /// Answer to [`Output::Apply`] and [`Output::Amend`].
    Applied(Ticket, Version),
    /// Answer to [`Output::Apply`] and [`Output::Amend`]: the former revision, if any, stays.
    Rejected(Ticket, Refused),
    /// Answer to [`Output::Apply`] and [`Output::Amend`]: it leans on what is not held, for the reason given. The former revision
    /// stays, and the whole tenant is asked for.
    Misfit(Ticket, String),
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
    pub(super) connection: u64,
    pub(super) nonce: u64,
    pub(super) rev: u64,
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
    /// Keep these until the next `Apply` or `Amend` is done at least: it refers to them. Not answered.
    Learn(v1::Definitions),
    /// Put back what was cut out, decode, check and swap in; answer with `Applied`, `Rejected` or `Misfit`. Changes are applied in
    /// the order given out.
    Apply(Ticket, v1::Replace),
    /// Put onto what is enforced, check as with `Apply` and swap in; answer with `Applied`, `Rejected` or `Misfit`.
    Amend(Ticket, v1::Delta),
    /// Take the tenant out; answer with `Removed`.
    Remove(Ticket),
    /// Everything that existed is applied: the proxy may serve.
    Ready,
    /// What the control plane says of itself and of the fleet.
    Told(Told),
    /// Close the stream if there is one; `Connect` follows after the wait.
    Hangup(HangupReason),
}

/// What the control plane says of itself and of the fleet, on greeting and with every beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its wall clock, when it said so.
    pub server_time: Timestamp,
    /// From the question to the answer, where there was a question.
    pub round_trip: Option<Duration>,
    /// Live proxies of the pool, this one included; `None` when it does not know.
    pub live_proxies: Option<u32>,
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
    /// Too many proxies are being given everything at once.
    Busy,
    /// To connect with a new certificate.
    IdentityRenewed,
}
