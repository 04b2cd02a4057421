//! What an audit record looks like.

use crypto::digest;
use ids::{
    CallId, ClientId, EndpointId, ExternalIssuerId, Id, KeyId, MemberId, ProxyId, TokenId, ToolId,
    UpstreamId, Uuid,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use wire::v1;

use super::{open::Opened, queries::Row};
use crate::{publish::rows::CredentialKind, resources::fields::moment};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordPhase {
    /// A call about to be forwarded.
    Intent,
    /// A call that ended; a refused call has only this one.
    Outcome,
    /// An administrative act.
    Act,
    /// Refusals before authentication, counted together.
    Aggregate,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordDecision {
    /// It was allowed.
    Allowed,
    /// It was refused; `code` says why.
    Refused,
}

impl RecordPhase {
    /// Number of the wire enum, as stored.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Intent => v1::Phase::Intent as i16,
            Self::Outcome => v1::Phase::Outcome as i16,
            Self::Act => v1::Phase::Act as i16,
            Self::Aggregate => v1::Phase::Aggregate as i16,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        [Self::Intent, Self::Outcome, Self::Act, Self::Aggregate]
            .into_iter()
            .find(|phase| phase.number() == number)
    }
}

impl RecordDecision {
    /// Number of the wire enum, as stored.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Allowed => v1::Decision::Allowed as i16,
            Self::Refused => v1::Decision::Refused as i16,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        [Self::Allowed, Self::Refused].into_iter().find(|decision| decision.number() == number)
    }
}

/// What may be sealed in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SealedPart {
    /// The arguments.
    Arguments,
    /// The beginning of the response.
    Excerpt,
}

/// What to show beside a record's clear fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    /// Arguments and excerpts of responses, opened. Needs scope `audit_content:read`, and is itself recorded.
    Content,
}

/// Query parameters of the audit log. A record has to match all that are given.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// From this time on (RFC 3339).
    #[serde(default, with = "moment::option")]
    pub from: Option<OffsetDateTime>,
    /// Before this time (RFC 3339).
    #[serde(default, with = "moment::option")]
    pub to: Option<OffsetDateTime>,
    /// Calls of this client.
    #[param(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
    /// Calls with this key.
    #[param(value_type = Option<String>)]
    pub key_id: Option<KeyId>,
    /// Calls at this endpoint.
    #[param(value_type = Option<String>)]
    pub endpoint_id: Option<EndpointId>,
    /// Calls for this upstream.
    #[param(value_type = Option<String>)]
    pub upstream_id: Option<UpstreamId>,
    /// Calls of this tool.
    #[param(value_type = Option<String>)]
    pub tool_id: Option<ToolId>,
    /// The records of this call.
    #[param(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Records about this.
    #[param(inline)]
    pub phase: Option<RecordPhase>,
    /// What was decided so.
    #[param(inline)]
    pub decision: Option<RecordDecision>,
    /// Stable code of a refusal or failure.
    pub code: Option<String>,
    /// JSON-RPC method, or operation of an act.
    pub method: Option<String>,
    /// Who administered: an admin token's id, `operator:<id>`, a proxy's id or `system`.
    pub actor: Option<String>,
    /// What to show beside the clear fields.
    #[param(inline)]
    pub include: Option<Include>,
    /// Items on a page: 1 to 200, 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// An audit record. What does not apply to it is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRecord {
    /// When, by the recorder's clock.
    #[serde(with = "moment")]
    pub at: OffsetDateTime,
    /// What it is about; null: something this version does not know.
    pub phase: Option<RecordPhase>,
    /// What was decided; null: something this version does not know.
    pub decision: Option<RecordDecision>,
    /// The call or act. Intent and outcome of a call share it.
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Who called.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
    /// For which member.
    #[schema(value_type = Option<String>)]
    pub member_id: Option<MemberId>,
    /// With which key.
    #[schema(value_type = Option<String>)]
    pub key_id: Option<KeyId>,
    /// With which access token, by its `jti`.
    #[schema(value_type = Option<String>)]
    pub token_id: Option<TokenId>,
    /// How the caller showed who it is, where that is not a key or access token by itself.
    pub credential: Option<CredentialKind>,
    /// SHA-256 of the client certificate that was shown, hexadecimal.
    pub certificate_digest: Option<String>,
    /// By whose token of others.
    #[schema(value_type = Option<String>)]
    pub external_issuer_id: Option<ExternalIssuerId>,
    /// HMAC-SHA-256 of that token's subject under the tenant's audit key, hexadecimal: equal subjects have equal hashes.
    pub subject_hash: Option<String>,
    /// Who administered.
    pub actor: Option<String>,
    /// From which address; of an aggregate the network.
    pub address: Option<String>,
    /// At which endpoint.
    #[schema(value_type = Option<String>)]
    pub endpoint_id: Option<EndpointId>,
    /// For which upstream.
    #[schema(value_type = Option<String>)]
    pub upstream_id: Option<UpstreamId>,
    /// JSON-RPC method, or operation of an act.
    pub method: Option<String>,
    /// The upstream's name of the tool or prompt, the resource's URI, or what an act was done to.
    pub target: Option<String>,
    /// The tool, where the catalogue has it.
    #[schema(value_type = Option<String>)]
    pub tool_id: Option<ToolId>,
    /// Stable code of a refusal or failure.
    pub code: Option<String>,
    /// Grants that decided.
    pub policies: Vec<String>,
    /// HTTP status of the response.
    pub status: Option<u32>,
    /// Microseconds from the request's headers to the end of the response.
    pub latency_micros: u64,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// MCP revision spoken.
    pub protocol_version: Option<String>,
    /// How many refusals an aggregate stands for.
    pub count: Option<u64>,
    /// The caller closed before the end, or the gateway cut the call.
    pub cut: bool,
    /// Revision of the configuration that decided, or that an act made.
    pub rev: Option<u64>,
    /// The HTTP request.
    pub request_id: Option<String>,
    /// HMAC-SHA-256 of the arguments under the tenant's audit key, hexadecimal: equal arguments have equal hashes.
    pub arguments_hash: Option<String>,
    /// SHA-256 of the response's body, hexadecimal.
    pub response_digest: Option<String>,
    /// What the record holds sealed.
    pub sealed: Vec<SealedPart>,
    /// Text of the arguments, up to 64 KiB. Only with `include=content`; null there if `sealed` lists it: cannot be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Option<String>>,
    /// Beginning of the response's body. Only with `include=content`; null there if `sealed` lists it: cannot be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Option<String>>,
    /// The proxy that recorded; null for acts, which the control plane records.
    #[schema(value_type = Option<String>)]
    pub proxy_id: Option<ProxyId>,
    /// The recorder's run, hexadecimal.
    pub boot: String,
    /// The record's place in the run.
    pub seq: u64,
    /// When it was stored.
    #[serde(with = "moment")]
    pub stored_at: OffsetDateTime,
    /// SHA-256 of a zero byte and the record's canonical bytes, hexadecimal.
    pub leaf_hash: String,
}

impl AuditRecord {
    /// From a row and the record in its body; `opened` where the caller asked for content.
    pub(super) fn of(row: Row, body: v1::AuditRecord, opened: Option<Opened>) -> Self {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let hex = |bytes: &[u8]| (!bytes.is_empty()).then(|| digest::hex(bytes));
        let mut sealed = Vec::new();
        if !body.sealed_arguments.is_empty() {
            sealed.push(SealedPart::Arguments);
        }
        if !body.sealed_excerpt.is_empty() {
            sealed.push(SealedPart::Excerpt);
        }
        let (arguments, excerpt) = opened.map(|opened| (opened.arguments, opened.excerpt)).unzip();
        Self {
            at: row.at,
            phase: RecordPhase::from_number(row.phase),
            decision: RecordDecision::from_number(row.decision),
            call_id: row.call_id.map(Id::from_uuid),
            client_id: row.client_id.map(Id::from_uuid),
            member_id: Uuid::from_slice(&body.member_id).ok().map(Id::from_uuid),
            key_id: row.key_id.map(Id::from_uuid),
            token_id: Uuid::from_slice(&body.token_id).ok().map(Id::from_uuid),
            credential: CredentialKind::from_number(body.credential),
            external_issuer_id: Uuid::from_slice(&body.issuer_id).ok().map(Id::from_uuid),
            subject_hash: hex(&body.subject_hash),
            certificate_digest: hex(&body.certificate_digest),
            actor: text(body.actor),
            address: text(body.address),
            endpoint_id: row.endpoint_id.map(Id::from_uuid),
            upstream_id: row.upstream_id.map(Id::from_uuid),
            method: text(body.method),
            target: text(body.target),
            tool_id: row.tool_id.map(Id::from_uuid),
            code: text(body.code),
            policies: body.policies,
            status: Some(body.status).filter(|status| *status != 0),
            latency_micros: body.latency_micros,
            bytes_in: body.bytes_in,
            bytes_out: body.bytes_out,
            protocol_version: text(body.protocol_version),
            count: Some(body.count).filter(|count| *count != 0),
            cut: body.cut,
            rev: Some(body.rev).filter(|rev| *rev != 0),
            request_id: text(body.request_id),
            arguments_hash: hex(&body.arguments_hash),
            response_digest: hex(&body.response_digest),
            sealed,
            arguments,
            excerpt,
            proxy_id: Some(row.proxy_id).filter(|id| !id.is_nil()).map(Id::from_uuid),
            boot: digest::hex(&row.boot),
            seq: row.seq.unsigned_abs(),
            stored_at: row.stored_at,
            leaf_hash: digest::hex(&row.leaf_hash),
        }
    }
}

#[cfg(test)]
mod tests;
