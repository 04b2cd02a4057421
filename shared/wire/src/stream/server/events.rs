//! What goes into the control plane's end and what comes out.

use bytes::Bytes;
use errors::ErrorCode;
use ids::TenantId;

use crate::{stream::Version, v1};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The proxy sent this.
    Received(v1::ProxyMessage),
    /// The complete list of the pool's tenants and their stored revisions.
    Sources(Vec<(TenantId, Version)>),
    /// A tenant is new or has a new revision.
    Changed(TenantId, Version),
    /// A tenant is gone from the pool.
    Vanished(TenantId),
    /// Answer to [`Output::Load`].
    Loaded(TenantId, Snapshot),
    /// Answer to [`Output::Load`].
    NotLoaded(TenantId, LoadFailure),
    /// Time has passed.
    Tick,
}

/// A stored snapshot with the keys that open it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Revision and digest as stored beside the bytes.
    pub version: Version,
    /// Exactly as stored.
    pub bytes: Bytes,
    /// The tenant's data keys.
    pub keys: Vec<v1::TenantKey>,
}

/// Why a snapshot could not be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailure {
    /// The store did not answer: the proxy must not become ready without this tenant.
    Unavailable,
    /// This tenant alone cannot be served (a key that does not open, a row that vanished): the others go on.
    Broken,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Output {
    /// Send to the proxy.
    Send(v1::ControlMessage),
    /// Read the tenant's stored snapshot and answer with `Loaded` or `NotLoaded`.
    Load(TenantId),
    /// The proxy is alive: extend its lease.
    Heard,
    /// The proxy says that it holds this from before. Nothing proves it: this stream did not send it.
    Claimed(TenantId, Version),
    /// The proxy enforces this revision, which was sent to it; `None` when the tenant was removed from it.
    Applied(TenantId, Option<Version>),
    /// The proxy refused a revision and still enforces `at_rev` (0: none).
    Rejected {
        /// Whose snapshot.
        tenant: TenantId,
        /// What was refused.
        version: Version,
        /// What is still enforced.
        at_rev: u64,
        /// Why.
        code: ErrorCode,
        /// Where: resource id and field.
        detail: String,
    },
    /// End the stream; nothing more is given out.
    Close(CloseReason),
}

/// Why a stream was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing was heard for a lease.
    Silent,
    /// The stream is old enough; the proxy is to connect again, perhaps elsewhere.
    Aged,
    /// The proxy reads no schema that this build writes.
    SchemaUnsupported,
    /// The message has no place here.
    ProtocolViolation,
}
