//! Rows of a small tenant.

use ids::{Id, Kind};
use policy::{Class, Effect, GrantSpec, GrantedAction, Subject, ToolSelector};
use seams::Timestamp;

use crate::publish::{rows::*, subject::LimitSubject};

/// Roles and clients with one number have different ids, as they do in life.
pub(super) fn id<K: Kind>(n: u8) -> Id<K> {
    let kind = K::PREFIX.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Id::from_parts(1_700_000_000_000, [n, kind, 0, 0, 0, 0, 0, 0, 0, 0])
}

pub(super) fn raw<K: Kind>(id: Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

pub(super) fn sample() -> TenantRows {
    TenantRows {
        as_of: Timestamp::from_secs(1_700_000_000),
        tenant: TenantRow { id: id(0), slug: "acme".to_owned(), suspended: false, max_stale_seconds: None },
        egress: vec![EgressRow { network: "127.0.0.1/32".to_owned(), port: 9000 }],
        endpoints: vec![endpoint(0)],
        attachments: vec![AttachmentRow {
            id: id(0),
            endpoint_id: id(0),
            upstream_id: id(0),
            prefix: String::new(),
        }],
        upstreams: vec![upstream(0)],
        headers: vec![SealedHeaderRow {
            credential_id: id(0),
            upstream_id: id(0),
            name: "authorization".to_owned(),
            data_key_id: id(0),
            sealed: vec![7; 48],
        }],
        clients: vec![client(1)],
        client_endpoints: vec![(id(1), id(0))],
        client_roles: vec![(id(1), id(1))],
        members: vec![MemberRow { id: id(1), enabled: true }],
        member_roles: vec![(id(1), id(1))],
        api_keys: vec![key(1, 1)],
        roles: vec![id(1)],
        grants: vec![grant(0, Subject::Role(id(1)), vec![call(0, &["echo"])])],
        tools: vec![tool(0, 0, "echo", Class::Unclassified)],
        limits: Vec::new(),
        domains: Vec::new(),
        external_issuers: Vec::new(),
        client_authorities: Vec::new(),
        gateway: "https://gw.example.com".to_owned(),
        issuer: None,
        assertions: None,
    }
}

pub(super) fn endpoint(n: u8) -> EndpointRow {
    EndpointRow {
        id: id(n),
        slug: format!("tools-{n}"),
        hosts: Vec::new(),
        origins: vec!["https://app.example.com".to_owned()],
        allow: Vec::new(),
        deny: Vec::new(),
        closed_methods: vec!["logging/setLevel".to_owned()],
        accepts: CredentialKind::USUAL.to_vec(),
        external_issuers: Vec::new(),
        client_authorities: Vec::new(),
        unknown_tools: UnknownTools::Block,
        max_request_bytes: 1_048_576,
        max_response_bytes: 1_048_576,
        enabled: true,
    }
}

pub(super) fn upstream(n: u8) -> UpstreamRow {
    UpstreamRow {
        id: id(n),
        slug: format!("up-{n}"),
        url: format!("https://up{n}.example.com/mcp"),
        connect_timeout_ms: 5_000,
        first_byte_timeout_ms: 30_000,
        idle_timeout_ms: 60_000,
        total_timeout_ms: 300_000,
        ca_der: Vec::new(),
        server_name: String::new(),
        pins: Vec::new(),
        breaker: wire::v1::Breaker::DEFAULT,
        concurrency: wire::v1::UpstreamConcurrency::DEFAULT,
        auth: AuthRow::default(),
        enabled: true,
    }
}

pub(super) fn client(n: u8) -> ClientRow {
    ClientRow { id: id(n), name: format!("agent {n}"), enabled: true }
}

pub(super) fn key(n: u8, client: u8) -> ApiKeyRow {
    ApiKeyRow {
        id: id(n),
        client_id: id(client),
        lookup: format!("Lookup{n:06}"),
        hash: [n; 32],
        data_key_id: id(0),
        not_after: None,
        revoked: false,
        allow: Vec::new(),
        hours: Vec::new(),
    }
}

pub(super) fn tool(n: u8, upstream: u8, name: &str, class: Class) -> ToolRow {
    ToolRow {
        id: id(n),
        upstream_id: id(upstream),
        name: name.to_owned(),
        state: ToolState::Approved,
        class,
        digest: Some([n; 32]),
        definition: Some(format!("{{\"name\":{name:?}}}").into_bytes()),
        cost: 1,
        labels: Vec::new(),
        timeouts: wire::v1::Timeouts::default(),
    }
}

pub(super) fn limit(n: u8, subject: LimitSubject) -> LimitRow {
    LimitRow { id: id(n), subject, per_minute: 600, burst: 100, concurrency: 0, per_day: 5_000, per_month: 0 }
}

pub(super) fn grant(n: u8, subject: Subject, actions: Vec<GrantedAction>) -> GrantSpec {
    GrantSpec { id: id(n), subject, effect: Effect::Permit, scope: None, actions }
}

pub(super) fn call(upstream: u8, names: &[&str]) -> GrantedAction {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    GrantedAction::CallTool { upstream: id(upstream), tools: ToolSelector::Names(names) }
}

pub(super) fn call_classes(upstream: u8, classes: &[Class]) -> GrantedAction {
    GrantedAction::CallTool { upstream: id(upstream), tools: ToolSelector::Classes(classes.to_vec()) }
}
