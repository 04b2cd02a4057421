//! One row into one resource of the snapshot: sorted, ids as their 16 bytes, nothing decided. The proxy's
//! `snapshot::decode` is its other end.

use std::collections::BTreeSet;

use crypto::jwt::Algorithm;
use ids::{Id, Kind};
use policy::{Action, Class, CompiledPolicy, SubjectGrants};
use seams::Timestamp;
use wire::v1::{self, Resource, resource::Body};

use super::rows::{
    ApiKeyRow, AttachmentRow, ClientRow, CredentialKind, DomainRow, EndpointRow, HoursRow, IssuerRow,
    LimitRow, MemberRow, SealedHeaderRow, TenantRow, ToolRow, ToolState, UnknownTools, UpstreamRow,
};
use crate::oauth::keys::StoredKey;

pub(super) fn raw<K: Kind>(id: Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    values.into_iter().collect::<BTreeSet<T>>().into_iter().collect()
}

pub(super) fn tenant(row: &TenantRow, egress: Vec<(String, u16)>) -> Resource {
    let egress = sorted(egress)
        .into_iter()
        .map(|(network, port)| v1::EgressRule { network, port: u32::from(port) })
        .collect();
    let body = v1::Tenant {
        slug: row.slug.clone(),
        egress,
        suspended: row.suspended,
        max_stale_seconds: row.max_stale_seconds.unwrap_or_default(),
    };
    Resource { id: "tenant".to_owned(), body: Some(Body::Tenant(body)) }
}

pub(super) fn endpoint(row: &EndpointRow, attachments: &[&AttachmentRow]) -> Resource {
    let mut attachments: Vec<v1::Attachment> = attachments
        .iter()
        .map(|attachment| v1::Attachment {
            id: raw(attachment.id),
            upstream_id: raw(attachment.upstream_id),
            prefix: attachment.prefix.clone(),
        })
        .collect();
    attachments.sort_by(|a, b| a.id.cmp(&b.id));
    let unknown_tools = match row.unknown_tools {
        UnknownTools::Block => v1::UnknownTools::Block,
        UnknownTools::ApproveFirstSeen => v1::UnknownTools::ApproveFirstSeen,
    };
    let body = v1::Endpoint {
        id: raw(row.id),
        slug: row.slug.clone(),
        hosts: sorted(row.hosts.iter().cloned()),
        origins: sorted(row.origins.iter().cloned()),
        allow: sorted(row.allow.iter().cloned()),
        deny: sorted(row.deny.iter().cloned()),
        closed_methods: sorted(row.closed_methods.iter().cloned()),
        accepts: accepted(&row.accepts),
        external_issuer_ids: sorted(row.external_issuers.iter().copied().map(raw)),
        client_authority_ids: sorted(row.client_authorities.iter().copied().map(raw)),
        unknown_tools: unknown_tools as i32,
        max_request_bytes: row.max_request_bytes,
        max_response_bytes: row.max_response_bytes,
        attachments,
        enabled: row.enabled,
    };
    Resource { id: row.id.to_string(), body: Some(Body::Endpoint(body)) }
}

/// What is so by default is not said.
fn accepted(kinds: &[CredentialKind]) -> Vec<i32> {
    let kinds = sorted(kinds.iter().copied());
    if kinds == CredentialKind::USUAL {
        return Vec::new();
    }
    kinds.into_iter().map(|kind| kind.wire() as i32).collect()
}

/// With the keys whose tokens have not all ended at `now`.
pub(super) fn issuer(row: &IssuerRow, now: Timestamp) -> Resource {
    let live = |key: &&StoredKey| key.revoked_at.is_none() && key.retires_at.is_none_or(|end| end > now);
    let mut keys: Vec<_> = row.keys.iter().filter(live).map(issuer_key).collect();
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let baseline_scopes = row.baseline.iter().map(ToString::to_string).collect();
    let body = v1::Issuer { url: row.url.clone(), gateway: row.gateway.clone(), keys, baseline_scopes };
    Resource { id: "issuer".to_owned(), body: Some(Body::Issuer(body)) }
}

fn issuer_key(key: &StoredKey) -> v1::IssuerKey {
    let algorithm = match key.public.algorithm() {
        Algorithm::Rs256 => v1::SignatureAlgorithm::Rs256,
        Algorithm::Es256 => v1::SignatureAlgorithm::Es256,
        Algorithm::EdDsa => v1::SignatureAlgorithm::Eddsa,
    };
    v1::IssuerKey {
        id: raw(key.id),
        algorithm: algorithm as i32,
        public_key: key.public.bytes().to_vec(),
        not_after_micros: key.retires_at.map_or(0, Timestamp::micros),
    }
}

pub(super) fn domain(row: &DomainRow) -> Resource {
    let endpoint_id = row.endpoint_id.map(raw).unwrap_or_default();
    let certificate = row.certificate.as_ref().map(|certificate| v1::DomainCertificate {
        chain: certificate.chain.clone(),
        data_key_id: raw(certificate.data_key_id),
        sealed: certificate.sealed.clone(),
    });
    let body = v1::Domain { id: raw(row.id), name: row.name.clone(), endpoint_id, certificate };
    Resource { id: row.id.to_string(), body: Some(Body::Domain(body)) }
}

pub(super) fn upstream(row: &UpstreamRow, headers: &[&SealedHeaderRow]) -> Resource {
    let mut headers: Vec<v1::SealedHeader> = headers
        .iter()
        .map(|header| v1::SealedHeader {
            credential_id: raw(header.credential_id),
            name: header.name.clone(),
            data_key_id: raw(header.data_key_id),
            sealed: header.sealed.clone(),
        })
        .collect();
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    let body = v1::Upstream {
        id: raw(row.id),
        slug: row.slug.clone(),
        url: row.url.clone(),
        connect_timeout_ms: row.connect_timeout_ms,
        first_byte_timeout_ms: row.first_byte_timeout_ms,
        idle_timeout_ms: row.idle_timeout_ms,
        total_timeout_ms: row.total_timeout_ms,
        tls: Some(v1::UpstreamTls { ca_der: row.ca_der.clone(), server_name: row.server_name.clone() }),
        headers,
        enabled: row.enabled,
        // Left out where it says nothing, so that an older proxy still reads it.
        breaker: Some(row.breaker).filter(|breaker| *breaker != v1::Breaker::DEFAULT),
        concurrency: Some(row.concurrency).filter(|it| *it != v1::UpstreamConcurrency::DEFAULT),
        pins: sorted(row.pins.iter().map(|pin| pin.to_vec())),
        // As with headers, what is not called needs no secret.
        auth: row.auth.encode(&row.url).filter(|_| row.enabled),
    };
    Resource { id: row.id.to_string(), body: Some(Body::Upstream(body)) }
}

pub(super) fn client(row: &ClientRow, endpoint_ids: Vec<Vec<u8>>, role_ids: Vec<Vec<u8>>) -> Resource {
    let body = v1::Client {
        id: raw(row.id),
        name: row.name.clone(),
        enabled: row.enabled,
        endpoint_ids: sorted(endpoint_ids),
        role_ids: sorted(role_ids),
    };
    Resource { id: row.id.to_string(), body: Some(Body::Client(body)) }
}

pub(super) fn member(row: MemberRow, role_ids: Vec<Vec<u8>>) -> Resource {
    let body = v1::Member { id: raw(row.id), enabled: row.enabled, role_ids: sorted(role_ids) };
    Resource { id: row.id.to_string(), body: Some(Body::Member(body)) }
}

pub(super) fn api_key(row: &ApiKeyRow) -> Resource {
    let body = v1::ApiKey {
        id: raw(row.id),
        client_id: raw(row.client_id),
        lookup: row.lookup.clone(),
        hash: row.hash.to_vec(),
        data_key_id: raw(row.data_key_id),
        not_after_micros: row.not_after.map_or(0, seams::Timestamp::micros),
        allow: sorted(row.allow.iter().cloned()),
        hours: sorted(row.hours.iter().copied()).into_iter().map(hours).collect(),
    };
    Resource { id: row.id.to_string(), body: Some(Body::ApiKey(body)) }
}

fn hours(row: HoursRow) -> v1::KeyHours {
    v1::KeyHours { days: row.days.into(), from_minute: row.from.into(), until_minute: row.until.into() }
}

/// `None` for a retired tool.
pub(super) fn tool(row: &ToolRow, grants: &SubjectGrants) -> Option<Resource> {
    let state = match row.state {
        ToolState::Pending => v1::ToolState::Pending,
        ToolState::Approved => v1::ToolState::Approved,
        ToolState::Quarantined => v1::ToolState::Quarantined,
        ToolState::Rejected => v1::ToolState::Rejected,
        ToolState::Retired => return None,
    };
    let class = match row.class {
        Class::Read => v1::ToolClass::Read,
        Class::Write => v1::ToolClass::Write,
        Class::Destructive => v1::ToolClass::Destructive,
        Class::Unclassified => v1::ToolClass::Unclassified,
    };
    let body = v1::Tool {
        id: raw(row.id),
        upstream_id: raw(row.upstream_id),
        name: row.name.clone(),
        state: state as i32,
        class: class as i32,
        digest: row.digest.map(Vec::from).unwrap_or_default(),
        definition: row.definition.clone().unwrap_or_default().into(),
        slices: slices(grants),
        cost: row.cost,
        labels: sorted(row.labels.iter().cloned()),
        // Left out where it says nothing, so that an older proxy still reads it.
        timeouts: Some(row.timeouts).filter(|timeouts| *timeouts != v1::Timeouts::default()),
    };
    Some(Resource { id: row.id.to_string(), body: Some(Body::Tool(body)) })
}

pub(super) fn method_slice(
    action: v1::GrantedAction,
    upstream_id: Vec<u8>,
    grants: &SubjectGrants,
) -> v1::MethodSlice {
    v1::MethodSlice { action: action as i32, upstream_id, slices: slices(grants) }
}

pub(super) fn methods(mut slices: Vec<v1::MethodSlice>) -> Resource {
    slices.sort_by(|a, b| (a.action, &a.upstream_id).cmp(&(b.action, &b.upstream_id)));
    Resource { id: "methods".to_owned(), body: Some(Body::Methods(v1::MethodSlices { slices })) }
}

/// `None` for tools, which have slices of their own.
pub(super) fn granted_action(action: Action) -> Option<v1::GrantedAction> {
    Some(match action {
        Action::CallTool => return None,
        Action::GetPrompt => v1::GrantedAction::GetPrompt,
        Action::ReadResource => v1::GrantedAction::ReadResource,
        Action::Complete => v1::GrantedAction::Complete,
        Action::Subscribe => v1::GrantedAction::Subscribe,
        Action::UseTasks => v1::GrantedAction::UseTasks,
    })
}

/// Ids sort as text as they do as bytes, and subjects as UUIDs as they do as bytes.
fn slices(grants: &SubjectGrants) -> Vec<v1::Slice> {
    grants
        .iter()
        .map(|(subject, grants)| v1::Slice {
            subject_id: subject.as_bytes().to_vec(),
            policies: grants.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

pub(super) fn policy(compiled: CompiledPolicy) -> Resource {
    let id = compiled.id.clone();
    Resource { id, body: Some(Body::Policy(v1::Policy { id: compiled.id, text: compiled.text })) }
}

pub(super) fn limit(row: &LimitRow) -> Resource {
    let (_, id) = row.subject.parts();
    let body = v1::Limit {
        id: raw(row.id),
        subject: row.subject.wire().into(),
        subject_id: id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        per_minute: row.per_minute,
        burst: row.burst,
        concurrency: row.concurrency,
        per_day: row.per_day,
        per_month: row.per_month,
    };
    Resource { id: row.id.to_string(), body: Some(Body::Limit(body)) }
}
