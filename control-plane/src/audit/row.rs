//! A record as the database keeps it: the canonical bytes, and beside them the columns one can filter by.

use bytes::Bytes;
use crypto::digest;
use ids::Uuid;
use seams::Timestamp;
use wire::v1::AuditRecord;

use crate::db::{StoreError, Unreadable};

/// `audit_records`.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Whose.
    pub tenant_id: Uuid,
    /// When, by the recorder's clock.
    pub at: Timestamp,
    /// The recorder; nil for the control plane.
    pub proxy_id: Uuid,
    /// The recorder's run.
    pub boot: Vec<u8>,
    /// Its place in the run.
    pub seq: i64,
    /// Number of the wire enum.
    pub phase: i16,
    /// Number of the wire enum.
    pub decision: i16,
    /// Which call or act.
    pub call_id: Option<Uuid>,
    /// Client that called.
    pub client_id: Option<Uuid>,
    /// Key it presented.
    pub key_id: Option<Uuid>,
    /// Endpoint called.
    pub endpoint_id: Option<Uuid>,
    /// Upstream behind.
    pub upstream_id: Option<Uuid>,
    /// Tool called.
    pub tool_id: Option<Uuid>,
    /// Who administered.
    pub actor: String,
    /// JSON-RPC method or operation.
    pub method: String,
    /// Name or URI.
    pub target: String,
    /// Slug of a refusal.
    pub code: String,
    /// Canonical bytes.
    pub body: Bytes,
    /// SHA-256(0x00 || body).
    pub leaf_hash: [u8; 32],
    /// When it reached the database.
    pub stored_at: Timestamp,
}

impl AuditRow {
    /// From a decoded record and the bytes it was decoded from.
    ///
    /// # Errors
    /// [`StoreError::Bug`] if an id is not 16 bytes or a number does not fit.
    pub fn from_record(record: &AuditRecord, body: Bytes, stored_at: Timestamp) -> Result<Self, StoreError> {
        if record.boot.len() != 16 {
            return Err(Unreadable("boot id").into());
        }
        Ok(Self {
            tenant_id: id(&record.tenant_id)?.ok_or(Unreadable("tenant id"))?,
            at: Timestamp::from_micros(record.at_micros),
            proxy_id: id(&record.proxy_id)?.unwrap_or_default(),
            boot: record.boot.clone(),
            seq: record.seq.try_into().map_err(|_| Unreadable("sequence number"))?,
            phase: record.phase.try_into().map_err(|_| Unreadable("phase"))?,
            decision: record.decision.try_into().map_err(|_| Unreadable("decision"))?,
            call_id: id(&record.call_id)?,
            client_id: id(&record.client_id)?,
            key_id: id(&record.key_id)?,
            endpoint_id: id(&record.endpoint_id)?,
            upstream_id: id(&record.upstream_id)?,
            tool_id: id(&record.tool_id)?,
            // Postgres text cannot hold NUL; the canonical bytes keep it.
            actor: record.actor.replace('\0', ""),
            method: record.method.replace('\0', ""),
            target: record.target.replace('\0', ""),
            code: record.code.replace('\0', ""),
            leaf_hash: digest::leaf_hash(&body),
            body,
            stored_at,
        })
    }
}

fn id(bytes: &[u8]) -> Result<Option<Uuid>, Unreadable> {
    match bytes {
        [] => Ok(None),
        bytes => Uuid::from_slice(bytes).map(Some).map_err(|_| Unreadable("id")),
    }
}
