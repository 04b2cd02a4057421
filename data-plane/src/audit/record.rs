//! The records of a call. Two share the call's id: the intent, which carries the arguments, and the outcome. A refused
//! call has one, which carries both.

use std::{borrow::Cow, fmt::Write as _, net::IpAddr, sync::Arc};

use bytes::Bytes;
use crypto::Aad;
use errors::ErrorCode;
use ids::{CallId, ClientId, EndpointId, KeyId, ToolId, UpstreamId, Uuid};
use prost::Message as _;
use seams::{Entropy, Monotonic, Timestamp};
use wire::v1::{AuditRecord, Decision, Phase};

use super::digest::Sent;
use crate::snapshot::index::TenantIndex;

/// Version of the record's layout.
const VERSION: u32 = 1;
/// Bytes of arguments that are sealed into a record; of longer ones the beginning. Their hash covers all of them.
const MAX_ARGUMENTS: usize = 4 * 1024;
/// Bytes of a name or URI that are kept.
const MAX_TARGET: usize = 2 * 1024;

/// What the records of one call have in common.
#[derive(Debug, Clone)]
pub(crate) struct CallFacts {
    /// The tenant as configured when the call was decided.
    pub(crate) tenant: Arc<TenantIndex>,
    /// Names the call.
    pub(crate) call: CallId,
    /// Who called.
    pub(crate) client: Option<ClientId>,
    /// With which key.
    pub(crate) key: Option<KeyId>,
    /// From where.
    pub(crate) address: IpAddr,
    /// At which endpoint.
    pub(crate) endpoint: EndpointId,
    /// For which MCP server.
    pub(crate) upstream: Option<UpstreamId>,
    /// JSON-RPC method, or the HTTP method of a request that carries none.
    pub(crate) method: Cow<'static, str>,
    /// The MCP server's own name of the tool or prompt, or the resource's URI.
    pub(crate) target: String,
    /// The tool, where it is one of the catalogue.
    pub(crate) tool: Option<ToolId>,
    /// Grants that decided.
    pub(crate) policies: Vec<String>,
    /// Raw bytes of the arguments; empty when there are none.
    pub(crate) arguments: Bytes,
    /// MCP revision spoken.
    pub(crate) protocol_version: &'static str,
    /// The HTTP request's id.
    pub(crate) request_id: String,
    /// Bytes of the request's body.
    pub(crate) bytes_in: u64,
    /// When the request's headers had come.
    pub(crate) started: Monotonic,
}

/// How a call ended, where the caller of the recorder has the whole response at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// Why it failed or was refused.
    pub(crate) code: Option<ErrorCode>,
    /// HTTP status sent.
    pub(crate) status: u16,
    /// Body sent.
    pub(crate) body: &'a [u8],
    /// The caller went away first, or the gateway ended the call.
    pub(crate) cut: bool,
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Conclusion<'a> {
    pub(super) decision: Decision,
    pub(super) code: Option<ErrorCode>,
    pub(super) status: u16,
    pub(super) sent: Sent<'a>,
    pub(super) cut: bool,
    pub(super) latency_micros: u64,
}

impl CallFacts {
    /// Makes `record` the one written before the MCP server is called.
    pub(super) fn intent(&self, record: &mut AuditRecord, at: Timestamp, entropy: &dyn Entropy) {
        self.common(record, at, Phase::Intent, Decision::Allowed);
        self.seal_arguments(record, entropy);
    }

    /// Makes `record` the one written when the call has ended.
    pub(super) fn outcome(
        &self,
        record: &mut AuditRecord,
        at: Timestamp,
        end: &Conclusion<'_>,
        entropy: &dyn Entropy,
    ) {
        self.common(record, at, Phase::Outcome, end.decision);
        if end.decision == Decision::Refused {
            self.seal_arguments(record, entropy);
        }
        if let Some(code) = end.code {
            record.code.push_str(code.slug());
        }
        record.status = u32::from(end.status);
        record.response_digest.extend_from_slice(&end.sent.digest);
        if !end.sent.excerpt.is_empty() {
            let sealed = (&mut record.sealed_excerpt, &mut record.data_key_id);
            self.seal("sealed_excerpt", &end.sent.excerpt, sealed, entropy);
        }
        record.bytes_out = end.sent.bytes;
        record.latency_micros = end.latency_micros;
        record.cut = end.cut;
    }

    /// Every field that both have. What was in `record` goes; its memory is used again.
    fn common(&self, record: &mut AuditRecord, at: Timestamp, phase: Phase, decision: Decision) {
        record.clear();
        let set = |field: &mut Vec<u8>, id: Option<Uuid>| {
            if let Some(id) = id {
                field.extend_from_slice(id.as_bytes());
            }
        };
        record.version = VERSION;
        set(&mut record.tenant_id, Some(self.tenant.id.uuid()));
        record.at_micros = at.micros();
        record.phase = phase.into();
        set(&mut record.call_id, Some(self.call.uuid()));
        set(&mut record.client_id, self.client.map(|client| client.uuid()));
        set(&mut record.key_id, self.key.map(|key| key.uuid()));
        // Writing into a string cannot fail.
        let _ = write!(record.address, "{}", self.address.to_canonical());
        set(&mut record.endpoint_id, Some(self.endpoint.uuid()));
        set(&mut record.upstream_id, self.upstream.map(|upstream| upstream.uuid()));
        record.method.push_str(&self.method);
        record.target.push_str(start_of(&self.target, MAX_TARGET));
        set(&mut record.tool_id, self.tool.map(|tool| tool.uuid()));
        record.decision = decision.into();
        record.policies.extend(self.policies.iter().cloned());
        record.bytes_in = self.bytes_in;
        record.protocol_version.push_str(self.protocol_version);
        record.rev = self.tenant.rev;
        record.request_id.push_str(&self.request_id);
    }

    fn seal_arguments(&self, record: &mut AuditRecord, entropy: &dyn Entropy) {
        if self.arguments.is_empty() {
            return;
        }
        let kept = &self.arguments[..self.arguments.len().min(MAX_ARGUMENTS)];
        let sealed = (&mut record.sealed_arguments, &mut record.data_key_id);
        self.seal("sealed_arguments", kept, sealed, entropy);
        if let Some(keys) = self.tenant.crypto.current() {
            record.arguments_hash.extend_from_slice(&keys.audit_mac.mac(&[&self.arguments]));
        }
    }

    /// Seals for this call's row. What cannot be sealed is left out: a record without it is worth more than none.
    fn seal(
        &self,
        column: &str,
        bytes: &[u8],
        (sealed, data_key): (&mut Vec<u8>, &mut Vec<u8>),
        entropy: &dyn Entropy,
    ) {
        let Some(keys) = self.tenant.crypto.current() else { return };
        let call = self.call.uuid();
        let aad = Aad { tenant: self.tenant.id, table: "audit_records", column, row: call.as_bytes() };
        match keys.sealer.seal_onto(sealed, &aad, bytes, entropy) {
            Ok(()) => {
                data_key.clear();
                data_key.extend_from_slice(keys.id.uuid().as_bytes());
            }
            Err(error) => {
                tracing::error!(%error, call.id = %self.call, audit.column = column, "audit: cannot seal");
            }
        }
    }
}

/// The first bytes of a text, cut between characters.
fn start_of(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A record of refusals counted together.
pub(super) fn aggregate(key: &super::aggregate::Key, count: u64, rev: u64, at: Timestamp) -> AuditRecord {
    AuditRecord {
        version: VERSION,
        tenant_id: key.tenant.uuid().as_bytes().to_vec(),
        at_micros: at.micros(),
        phase: Phase::Aggregate.into(),
        address: key.network.map(|network| network.to_string()).unwrap_or_default(),
        endpoint_id: key.endpoint.uuid().as_bytes().to_vec(),
        decision: Decision::Refused.into(),
        code: key.code.slug().to_owned(),
        status: u32::from(key.code.entry().status),
        count,
        rev,
        ..AuditRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::start_of;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(start_of("abc", 8), "abc");
        assert_eq!(start_of("aé", 2), "a");
        assert_eq!(start_of("aé", 3), "aé");
        assert_eq!(start_of("", 3), "");
    }
}
