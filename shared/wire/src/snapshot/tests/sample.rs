//! Valid snapshots, each a function of a few numbers.

use ids::{
    AttachmentId, ClientId, CredentialId, DataKeyId, EndpointId, GrantId, Id, KeyId, Kind, LimitId, RoleId,
    TenantId, ToolId, UpstreamId,
};

use crate::v1::{self, Resource, TenantSnapshot, resource::Body};

pub(super) fn id<K: Kind>(n: u8) -> Id<K> {
    Id::from_parts(1_700_000_000_000, [n; 10])
}

pub(super) fn raw<K: Kind>(id: Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rev: u64,
    pub(super) upstreams: u8,
    pub(super) endpoints: u8,
    pub(super) clients: u8,
    pub(super) tools: u8,
    pub(super) grants: u8,
}

pub(super) const GOLDEN: Shape =
    Shape { rev: 7, upstreams: 2, endpoints: 1, clients: 2, tools: 3, grants: 2 };

pub(super) fn snapshot(shape: Shape) -> TenantSnapshot {
    let mut resources = vec![resource("tenant", Body::Tenant(tenant()))];
    let grants: Vec<String> = (0..shape.grants).map(|n| GrantId::to_string(&id(n))).collect();
    let slices = || {
        let slice = v1::Slice { subject_id: raw::<ids::kind::Role>(id(0)), policies: grants.clone() };
        if grants.is_empty() { Vec::new() } else { vec![slice] }
    };
    for n in 0..shape.upstreams {
        resources.push(resource(&UpstreamId::to_string(&id(n)), Body::Upstream(upstream(n))));
    }
    for n in 0..shape.endpoints {
        resources
            .push(resource(&EndpointId::to_string(&id(n)), Body::Endpoint(endpoint(n, shape.upstreams))));
    }
    for n in 0..shape.clients {
        let client = v1::Client {
            id: raw::<ids::kind::Client>(id(n)),
            name: format!("agent {n} ü"),
            enabled: n != 1,
            endpoint_ids: (0..shape.endpoints).map(|n| raw::<ids::kind::Endpoint>(id(n))).collect(),
            role_ids: vec![raw::<ids::kind::Role>(id(0)), raw::<ids::kind::Role>(id(n.saturating_add(1)))],
        };
        resources.push(resource(&ClientId::to_string(&id(n)), Body::Client(client)));
        let key = v1::ApiKey {
            id: raw::<ids::kind::Key>(id(n)),
            client_id: raw::<ids::kind::Client>(id(n)),
            lookup: format!("Lookup{n:06}"),
            hash: vec![n; 32],
            data_key_id: raw::<ids::kind::DataKey>(id(0)),
            not_after_micros: u64::from(n) * 1_800_000_000_000_000,
            ..v1::ApiKey::default()
        };
        resources.push(resource(&KeyId::to_string(&id(n)), Body::ApiKey(key)));
    }
    for n in 0..if shape.upstreams == 0 { 0 } else { shape.tools } {
        let state =
            [v1::ToolState::Approved, v1::ToolState::Pending, v1::ToolState::Quarantined][usize::from(n % 3)];
        let pinned = state != v1::ToolState::Pending;
        let tool = v1::Tool {
            id: raw::<ids::kind::Tool>(id(n)),
            upstream_id: raw::<ids::kind::Upstream>(id(n % shape.upstreams)),
            name: format!("tool_{n}"),
            state: state as i32,
            class: v1::ToolClass::Read as i32,
            digest: if pinned { vec![n; 32] } else { Vec::new() },
            definition: if pinned { format!(r#"{{"name":"tool_{n}"}}"#).into() } else { Default::default() },
            slices: slices(),
            cost: 1 + u32::from(n),
            labels: vec!["exec".to_owned(), "network".to_owned()],
            timeouts: None,
        };
        resources.push(resource(&ToolId::to_string(&id(n)), Body::Tool(tool)));
    }
    for grant in &grants {
        let policy =
            v1::Policy { id: grant.clone(), text: "permit (principal, action, resource);".to_owned() };
        resources.push(resource(grant, Body::Policy(policy)));
    }
    let method = |n: u8| v1::MethodSlice {
        action: v1::GrantedAction::ReadResource as i32,
        upstream_id: raw::<ids::kind::Upstream>(id(n)),
        slices: slices(),
    };
    let methods = v1::MethodSlices { slices: (0..shape.upstreams).map(method).collect() };
    resources.push(resource("methods", Body::Methods(methods)));
    let limit = v1::Limit {
        id: raw::<ids::kind::Limit>(id(0)),
        subject: v1::LimitSubject::Client as i32,
        subject_id: Vec::new(),
        per_minute: 60,
        burst: 60,
        concurrency: 32,
        ..Default::default()
    };
    resources.push(resource(&LimitId::to_string(&id(0)), Body::Limit(limit)));
    resources.sort_by(|a, b| a.id.cmp(&b.id));
    TenantSnapshot {
        schema: 1,
        tenant_id: raw::<ids::kind::Tenant>(TenantId::clone(&id(9))),
        rev: shape.rev,
        resources,
    }
}

fn resource(id: &str, body: Body) -> Resource {
    Resource { id: id.to_owned(), body: Some(body) }
}

fn tenant() -> v1::Tenant {
    v1::Tenant {
        slug: "acme".to_owned(),
        egress: vec![v1::EgressRule { network: "127.0.0.1/32".to_owned(), port: 8080 }],
        suspended: false,
        max_stale_seconds: 0,
    }
}

fn upstream(n: u8) -> v1::Upstream {
    v1::Upstream {
        id: raw::<ids::kind::Upstream>(id(n)),
        slug: format!("up-{n}"),
        url: format!("https://up{n}.example.com/mcp"),
        connect_timeout_ms: 5_000,
        first_byte_timeout_ms: 30_000,
        idle_timeout_ms: 60_000,
        total_timeout_ms: 300_000,
        tls: Some(v1::UpstreamTls { ca_der: vec![vec![48, 3, 2, 1, n]], server_name: String::new() }),
        headers: vec![v1::SealedHeader {
            credential_id: raw(CredentialId::clone(&id(n))),
            name: "authorization".to_owned(),
            data_key_id: raw(DataKeyId::clone(&id(0))),
            sealed: vec![1, 2, 3],
        }],
        enabled: true,
        breaker: None,
        concurrency: None,
        pins: Vec::new(),
        auth: None,
    }
}

fn endpoint(n: u8, upstreams: u8) -> v1::Endpoint {
    let attachment = |u: u8| v1::Attachment {
        id: raw(AttachmentId::from_parts(1_700_000_000_000, [u, n, 0, 0, 0, 0, 0, 0, 0, 0])),
        upstream_id: raw::<ids::kind::Upstream>(id(u)),
        prefix: if u == 0 { String::new() } else { format!("u{u}_") },
    };
    v1::Endpoint {
        id: raw::<ids::kind::Endpoint>(id(n)),
        slug: format!("tools-{n}"),
        hosts: vec!["mcp.example.com".to_owned()],
        origins: vec!["https://app.example.com".to_owned()],
        allow: vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()],
        deny: vec!["10.1.0.0/16".to_owned()],
        closed_methods: vec!["logging/setLevel".to_owned()],
        unknown_tools: v1::UnknownTools::Block as i32,
        max_request_bytes: 1_048_576,
        max_response_bytes: 1_048_576,
        attachments: (0..upstreams).map(attachment).collect(),
        enabled: true,
        accepts: Vec::new(),
        external_issuer_ids: Vec::new(),
        client_authority_ids: Vec::new(),
    }
}

/// The resource whose id begins so.
pub(super) fn find<'a>(snapshot: &'a mut TenantSnapshot, prefix: &str) -> &'a mut Resource {
    snapshot.resources.iter_mut().find(|resource| resource.id.starts_with(prefix)).unwrap()
}

/// A role's id, so that the kind is used.
pub(super) fn role(n: u8) -> RoleId {
    id(n)
}
