//! What goes into the control plane's end and what comes out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use errors::ErrorCode;
use ids::TenantId;

use crate::{
    snapshot::definitions::{self, Place},
    stream::Version,
    v1,
};

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
    /// Answer to [`Output::Load`], where it named what the proxy holds and what changed since is stored.
    LoadedDelta(TenantId, Delta),
    /// Answer to [`Output::Load`].
    NotLoaded(TenantId, LoadFailure),
    /// Answer to [`Output::FullSync`]; after [`Turn::Later`] there comes another.
    FullSync(Turn),
    /// Live proxies of the pool, this one included.
    Live(u32),
    /// Time has passed.
    Tick,
}

/// Whether a proxy that lacks more than a few tenants is given them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// When its turn comes: it is welcome, and waits without asking again.
    Later,
    /// Not here: too many wait already. It may come back after one to two times this long.
    Nowhere(Duration),
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
    pub(super) definitions: Arc<[Place]>,
}

impl Snapshot {
    /// Looks for the definitions in it: once for all streams that it is sent on.
    #[must_use]
    pub fn new(version: Version, bytes: Bytes, keys: Vec<v1::TenantKey>) -> Self {
        Self { version, definitions: definitions::find(&bytes).into(), bytes, keys }
    }
}

/// What changed between a stored revision and the current one.
#[derive(Debug, Clone)]
pub struct Delta {
    /// What it can be put onto.
    pub from: Version,
    /// What it leads to.
    pub version: Version,
    /// All that changed.
    pub changes: v1::Changes,
    /// The tenant's data keys.
    pub keys: Vec<v1::TenantKey>,
    pub(super) definitions: Arc<[Option<Place>]>,
}

impl Delta {
    /// Looks for the definitions in it: once for all streams that it is sent on.
    #[must_use]
    pub fn new(from: Version, version: Version, changes: v1::Changes, keys: Vec<v1::TenantKey>) -> Self {
        Self { from, version, definitions: definitions::find_changed(&changes).into(), changes, keys }
    }
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Load {
    /// Whose.
    pub tenant: TenantId,
    /// The newest revision known of; a newer one may be found.
    pub target: Version,
    /// What the proxy holds: what changed since, if that is stored and smaller, else the whole. `None`: the whole.
    pub from: Option<Version>,
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
    /// Read what is stored and answer with `Loaded`, `LoadedDelta` or `NotLoaded`.
    Load(Load),
    /// The proxy lacks more than a few tenants: answer with `FullSync`, at once, and with another one when its turn comes.
    FullSync,
    /// Everything that existed when the stream opened has been sent: a place taken for [`Output::FullSync`] is free.
    Synced,
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
    /// What was sent leant on something that the proxy does not hold; it will be sent the whole tenant.
    Misfit {
        /// Whose snapshot.
        tenant: TenantId,
        /// What it would have led to.
        version: Version,
        /// What did not fit.
        detail: String,
    },
    /// The proxy holds something else than was known; it will be sent what it should hold.
    Repaired(TenantId),
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
    /// Too many proxies are being given everything; the proxy was told when to come back.
    Busy,
    /// The message has no place here.
    ProtocolViolation,
}
