//! Records of administrative acts.

use std::{fmt, net::IpAddr};

use bytes::Bytes;
use errors::ErrorCode;
use ids::{AdminTokenId, CallId, ClientId, MemberId, ProxyId, TenantId, Uuid};
use prost::Message as _;
use seams::{Clock, Entropy, Timestamp};
use wire::v1::{AuditRecord, Decision, Phase};

use super::{ending::Ending, queries, row::AuditRow};
use crate::db::{AuditTx, StoreError};

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// An operator, by token.
    Operator(Uuid),
    /// A tenant's automation, by token.
    AdminToken(AdminTokenId),
    /// A proxy, by what it reported.
    Proxy(ProxyId),
    /// A client, at its tenant's issuer.
    Client(ClientId),
    /// Somebody who is no client yet, at a tenant's issuer.
    Stranger,
    /// A person, as the member of the tenant that they are.
    Member(MemberId),
    /// The control plane itself.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(id) => write!(f, "operator:{id}"),
            Self::AdminToken(id) => id.fmt(f),
            Self::Proxy(id) => id.fmt(f),
            Self::Client(id) => id.fmt(f),
            Self::Stranger => f.write_str("stranger"),
            Self::Member(id) => id.fmt(f),
            Self::System => f.write_str("system"),
        }
    }
}

/// An administrative act, done.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// Operation id of the API, or a name of the same form.
    pub operation: &'static str,
    /// Id of what it was done to.
    pub target: String,
    /// Where from.
    pub address: Option<IpAddr>,
    /// The request by which it was done.
    pub request_id: Option<String>,
    /// What becomes of its transaction.
    pub ending: Ending,
}

/// Where in the log an act stands.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// The tenant's revision that the act made: gapless, so a missing act shows.
    Revision(u64),
    /// Nowhere in particular: the act made no revision.
    NoRevision,
}

/// Inserts the record of an act; the caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn record(
    tx: &mut AuditTx,
    act: &Act,
    place: Place,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    let now = clock.now();
    let record = to_record(act, place, tx.tenant(), now, entropy);
    let body = Bytes::from(record.encode_to_vec());
    let row = AuditRow::from_record(&record, body, now)?;
    queries::insert(tx, &row).await
}

/// Inserts the record of an act that was refused; the caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn record_refusal(
    tx: &mut AuditTx,
    act: &Act,
    code: ErrorCode,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    let now = clock.now();
    let record = AuditRecord {
        decision: Decision::Refused.into(),
        code: code.slug().to_owned(),
        ..to_record(act, Place::NoRevision, tx.tenant(), now, entropy)
    };
    let body = Bytes::from(record.encode_to_vec());
    let row = AuditRow::from_record(&record, body, now)?;
    queries::insert(tx, &row).await
}

fn to_record(
    act: &Act,
    place: Place,
    tenant: TenantId,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> AuditRecord {
    // Acts of a tenant are named by revision alone, whichever replica made it.
    let (boot, seq, rev) = match place {
        Place::Revision(rev) => ([0; 16], rev, rev),
        Place::NoRevision => (entropy.bytes(), 0, 0),
    };
    AuditRecord {
        version: 1,
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        boot: boot.to_vec(),
        seq,
        at_micros: now.micros(),
        phase: Phase::Act.into(),
        call_id: CallId::from_parts(now.millis(), entropy.bytes()).uuid().as_bytes().to_vec(),
        client_id: match act.actor {
            Actor::Client(id) => id.uuid().as_bytes().to_vec(),
            _ => Vec::new(),
        },
        actor: act.actor.to_string(),
        address: act.address.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
        method: act.operation.to_owned(),
        target: act.target.clone(),
        decision: Decision::Allowed.into(),
        rev,
        request_id: act.request_id.clone().unwrap_or_default(),
        ..AuditRecord::default()
    }
}
