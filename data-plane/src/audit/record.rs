//! The records of a call. Two share the call's id: the intent, which carries the arguments, and the outcome. A refused
//! call has one, which carries both.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use bytes::Bytes;
use crypto::Aad;
use errors::ErrorCode;
use ids::{CallId, ClientId, EndpointId, KeyId, ToolId, UpstreamId};
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
pub(super) struct Conclusion {
    pub(super) decision: Decision,
    pub(super) code: Option<ErrorCode>,
    pub(super) status: u16,
    pub(super) sent: Sent,
    pub(super) cut: bool,
    pub(super) latency_micros: u64,
}

impl CallFacts {
    /// The record written before the MCP server is called.
    pub(super) fn intent(&self, at: Timestamp, entropy: &dyn Entropy) -> AuditRecord {
        let mut record = self.common(at, Phase::Intent, Decision::Allowed);
        self.seal_arguments(&mut record, entropy);
        record
    }

    /// The record written when the call has ended.
    pub(super) fn outcome(&self, at: Timestamp, end: &Conclusion, entropy: &dyn Entropy) -> AuditRecord {
        let mut record = self.common(at, Phase::Outcome, end.decision);
        if end.decision == Decision::Refused {
            self.seal_arguments(&mut record, entropy);
        }
        if let Some(code) = end.code {
            code.slug().clone_into(&mut record.code);
        }
        record.status = u32::from(end.status);
        record.response_digest = end.sent.digest.to_vec();
        if !end.sent.excerpt.is_empty() {
            record.sealed_excerpt =
                self.seal("sealed_excerpt", &end.sent.excerpt, &mut record.data_key_id, entropy);
        }
        record.bytes_out = end.sent.bytes;
        record.latency_micros = end.latency_micros;
        record.cut = end.cut;
        record
    }

    fn common(&self, at: Timestamp, phase: Phase, decision: Decision) -> AuditRecord {
        let id = |id: Option<&[u8; 16]>| id.map(|id| id.to_vec()).unwrap_or_default();
        AuditRecord {
            version: VERSION,
            tenant_id: self.tenant.id.uuid().as_bytes().to_vec(),
            at_micros: at.micros(),
            phase: phase.into(),
            call_id: self.call.uuid().as_bytes().to_vec(),
            client_id: id(self
                .client
                .as_ref()
                .map(|client| client.uuid())
                .as_ref()
                .map(|uuid| uuid.as_bytes())),
            key_id: id(self.key.as_ref().map(|key| key.uuid()).as_ref().map(|uuid| uuid.as_bytes())),
            address: self.address.to_canonical().to_string(),
            endpoint_id: self.endpoint.uuid().as_bytes().to_vec(),
            upstream_id: id(self.upstream.as_ref().map(|up| up.uuid()).as_ref().map(|uuid| uuid.as_bytes())),
            method: self.method.clone().into_owned(),
            target: start_of(&self.target, MAX_TARGET).to_owned(),
            tool_id: id(self.tool.as_ref().map(|tool| tool.uuid()).as_ref().map(|uuid| uuid.as_bytes())),
            decision: decision.into(),
            policies: self.policies.clone(),
            bytes_in: self.bytes_in,
            protocol_version: self.protocol_version.to_owned(),
            rev: self.tenant.rev,
            request_id: self.request_id.clone(),
            ..AuditRecord::default()
        }
    }

    fn seal_arguments(&self, record: &mut AuditRecord, entropy: &dyn Entropy) {
        if self.arguments.is_empty() {
            return;
        }
        let kept = &self.arguments[..self.arguments.len().min(MAX_ARGUMENTS)];
        record.sealed_arguments = self.seal("sealed_arguments", kept, &mut record.data_key_id, entropy);
        if let Some(keys) = self.tenant.crypto.current() {
            record.arguments_hash = keys.audit_mac.mac(&[&self.arguments]).to_vec();
        }
    }

    /// Seals for this call's row. What cannot be sealed is left out: a record without it is worth more than none.
    fn seal(&self, column: &str, bytes: &[u8], data_key: &mut Vec<u8>, entropy: &dyn Entropy) -> Vec<u8> {
        let Some(keys) = self.tenant.crypto.current() else { return Vec::new() };
        let call = self.call.uuid();
        let aad = Aad { tenant: self.tenant.id, table: "audit_records", column, row: call.as_bytes() };
        match keys.sealer.seal(&aad, bytes, entropy) {
            Ok(sealed) => {
                *data_key = keys.id.uuid().as_bytes().to_vec();
                sealed
            }
            Err(error) => {
                tracing::error!(%error, call.id = %self.call, audit.column = column, "audit: cannot seal");
                Vec::new()
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
