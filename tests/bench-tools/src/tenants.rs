//! Tenants to measure with: each with one endpoint, ten keys, five grants and so many tools with definitions of 1 KiB.

use bytes::Bytes;
use ids::{ClientId, DataKeyId, EndpointId, GrantId, Id, KeyId, Kind, LimitId, TenantId, ToolId, UpstreamId};
use wire::{
    snapshot::{self, delta},
    v1::{self, resource::Body},
};

/// API keys of a tenant.
pub const KEYS: u16 = 10;
const CLIENTS: u16 = 2;
const GRANTS: u16 = 5;
const DEFINITION: usize = 1_024;

/// How tenants look.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Tools of each.
    pub tools: u16,
    /// Whether definitions of tools differ from tenant to tenant.
    pub distinct: bool,
}

/// As row 11 of the targets has them.
pub const TOOLS: u16 = 20;

/// What carries a tenant whole.
#[must_use]
pub fn replace(number: u32, snapshot: &v1::TenantSnapshot) -> v1::Replace {
    v1::Replace {
        nonce: 0,
        tenant_id: snapshot.tenant_id.clone(),
        rev: snapshot.rev,
        digest: snapshot::digest(snapshot).to_vec(),
        snapshot: snapshot::encode(snapshot).into(),
        keys: vec![key(number)],
        ..v1::Replace::default()
    }
}

fn key(number: u32) -> v1::TenantKey {
    v1::TenantKey { id: raw(data_key(number)), material: DATA_KEY.to_vec(), current: true }
}

/// The material of every tenant's data key.
pub const DATA_KEY: [u8; 32] = [2; 32];

/// A tenant's id.
#[must_use]
pub fn tenant_id(number: u32) -> TenantId {
    id(number, 0)
}

/// The id of a tenant's data key.
#[must_use]
pub fn data_key(number: u32) -> DataKeyId {
    id(number, 5)
}

/// A tenant's slug.
#[must_use]
pub fn slug(number: u32) -> String {
    format!("tenant-{number}")
}

/// What carries the step from one revision to the next. `None` of what is not canonical.
#[must_use]
pub fn change(number: u32, before: &v1::TenantSnapshot, after: &v1::TenantSnapshot) -> Option<v1::Delta> {
    Some(v1::Delta {
        nonce: 0,
        tenant_id: after.tenant_id.clone(),
        from_rev: before.rev,
        from_digest: snapshot::digest(before).to_vec(),
        rev: after.rev,
        digest: snapshot::digest(after).to_vec(),
        changes: Some(delta::diff(&snapshot::encode(before), &snapshot::encode(after))?),
        keys: vec![key(number)],
        cuts: Vec::new(),
    })
}

/// `number` is below 256, for each kind another.
fn id<K: Kind>(tenant: u32, number: u16) -> Id<K> {
    let mut random = [0; 10];
    // Not the first three, of which the id's version and variant take bits.
    random[3] = number as u8;
    random[4..8].copy_from_slice(&tenant.to_be_bytes());
    // The bucket of the tenant in a beat.
    random[9] = tenant as u8;
    Id::from_parts(1, random)
}

fn raw<K: Kind>(id: Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

/// A tenant of which the first `revoked` keys are gone.
#[must_use]
pub fn tenant(number: u32, rev: u64, revoked: u16, shape: Shape) -> v1::TenantSnapshot {
    let tenant = tenant_id(number);
    let (endpoint, upstream): (EndpointId, UpstreamId) = (id(number, 1), id(number, 2));
    let clients: Vec<ClientId> = (0..CLIENTS).map(|n| id(number, 10 + n)).collect();
    let grants: Vec<GrantId> = (0..GRANTS).map(|n| id(number, 20 + n)).collect();
    let mut resources = vec![
        ("tenant".to_owned(), Body::Tenant(v1::Tenant { slug: slug(number), ..Default::default() })),
        ("methods".to_owned(), Body::Methods(v1::MethodSlices::default())),
        (endpoint.to_string(), Body::Endpoint(endpoint_of(number, endpoint, upstream))),
        (upstream.to_string(), Body::Upstream(upstream_of(upstream))),
    ];
    for client in &clients {
        let body = v1::Client {
            id: raw(*client),
            name: "agent".to_owned(),
            enabled: true,
            endpoint_ids: vec![raw(endpoint)],
            role_ids: Vec::new(),
        };
        resources.push((client.to_string(), Body::Client(body)));
    }
    for n in revoked..KEYS {
        let key: KeyId = id(number, 30 + n);
        let body = v1::ApiKey {
            id: raw(key),
            client_id: raw(clients[usize::from(n % CLIENTS)]),
            lookup: format!("K{number:08}{n:03}"),
            hash: vec![3; 32],
            data_key_id: raw(data_key(number)),
            not_after_micros: 0,
            ..v1::ApiKey::default()
        };
        resources.push((key.to_string(), Body::ApiKey(body)));
    }
    for (n, grant) in grants.iter().enumerate() {
        let text = format!(
            "permit(principal == Client::\"{}\", action == Action::\"call_tool\", resource) when {{ resource.upstream == Upstream::\"{upstream}\" && resource.name like \"tool {n}*\" }};",
            clients[n % clients.len()]
        );
        let id = grant.to_string();
        resources.push((id.clone(), Body::Policy(v1::Policy { id, text })));
    }
    for n in 0..shape.tools {
        let tool: ToolId = id(number, 50 + n);
        let whose = if shape.distinct { format!("tenant {number}") } else { "anybody".to_owned() };
        let mut definition = format!("{{\"name\":\"tool {n}\",\"description\":\"of {whose} ");
        definition.extend(std::iter::repeat_n('x', DEFINITION - definition.len() - 2));
        definition.push_str("\"}");
        let policies = vec![grants[usize::from(n) % grants.len()].to_string()];
        let body = v1::Tool {
            id: raw(tool),
            upstream_id: raw(upstream),
            name: format!("tool {n}"),
            state: v1::ToolState::Approved.into(),
            class: v1::ToolClass::Read.into(),
            digest: vec![4; 32],
            definition: Bytes::from(definition),
            slices: vec![v1::Slice { subject_id: raw(clients[0]), policies }],
            cost: 1,
            labels: Vec::new(),
            timeouts: None,
        };
        resources.push((tool.to_string(), Body::Tool(body)));
    }
    let limit: LimitId = id(number, 90);
    let body = v1::Limit {
        id: raw(limit),
        subject: v1::LimitSubject::Client.into(),
        subject_id: Vec::new(),
        per_minute: 60,
        burst: 60,
        concurrency: 32,
        per_day: 0,
        per_month: 0,
    };
    resources.push((limit.to_string(), Body::Limit(body)));
    resources.sort_by(|a, b| a.0.cmp(&b.0));
    let resources = resources.into_iter().map(|(id, body)| v1::Resource { id, body: Some(body) }).collect();
    v1::TenantSnapshot { schema: snapshot::SCHEMA, tenant_id: raw(tenant), rev, resources }
}

fn endpoint_of(number: u32, endpoint: EndpointId, upstream: UpstreamId) -> v1::Endpoint {
    v1::Endpoint {
        id: raw(endpoint),
        slug: "tools".to_owned(),
        unknown_tools: v1::UnknownTools::Block.into(),
        max_request_bytes: 1 << 20,
        max_response_bytes: 1 << 20,
        attachments: vec![v1::Attachment {
            id: raw(id::<ids::kind::Attachment>(number, 3)),
            upstream_id: raw(upstream),
            prefix: String::new(),
        }],
        enabled: true,
        ..Default::default()
    }
}

fn upstream_of(upstream: UpstreamId) -> v1::Upstream {
    v1::Upstream {
        id: raw(upstream),
        slug: "server".to_owned(),
        url: "https://mcp.example.com/mcp".to_owned(),
        connect_timeout_ms: 5_000,
        first_byte_timeout_ms: 30_000,
        idle_timeout_ms: 60_000,
        total_timeout_ms: 120_000,
        tls: Some(v1::UpstreamTls::default()),
        headers: Vec::new(),
        enabled: true,
        ..Default::default()
    }
}
