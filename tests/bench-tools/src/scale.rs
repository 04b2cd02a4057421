//! How large and how quick the index of many tenants is.
//!
//! `bench-scale TENANTS [distinct]` applies so many tenants, each with one endpoint, ten keys, five grants and twenty tools
//! with definitions of 1 KiB, which are the same for all tenants or, with `distinct`, different for each. It then revokes one
//! key after the other, each as a change, and prints `{"rss_mib", "index_s", "revoke_p50_ms", "revoke_p99_ms"}`: memory with
//! what applying needs and without the bytes that changes are put onto, which a proxy has on disk; time to apply everything, one
//! after the other on one core; time to apply one revocation.

use std::{io::Write as _, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use data_plane::snapshot::{base::Bases, store::Snapshots};
use ids::{ClientId, EndpointId, GrantId, Id, KeyId, Kind, LimitId, TenantId, ToolId, UpstreamId};
use parking_lot::Mutex;
use seams::{Clock as _, SystemClock};
use wire::{
    snapshot::{self, delta},
    v1::{self, resource::Body},
};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u16 = 10;
const CLIENTS: u16 = 2;
const GRANTS: u16 = 5;
const TOOLS: u16 = 20;
const DEFINITION: usize = 1_024;

/// Keeps one tenant: the one whose keys are revoked.
#[derive(Debug, Default)]
struct Last(Mutex<Option<v1::Replace>>);

impl Bases for Last {
    fn get(&self, _: TenantId) -> Option<v1::Replace> {
        self.0.lock().clone()
    }

    fn put(&self, _: TenantId, replace: &v1::Replace) {
        *self.0.lock() = Some(replace.clone());
    }

    fn remove(&self, _: TenantId) {
        *self.0.lock() = None;
    }
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (tenants, distinct) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [tenants] => (tenants.parse::<u32>()?, false),
        [tenants, "distinct"] => (tenants.parse()?, true),
        _ => bail!("usage: bench-scale TENANTS [distinct]"),
    };
    ensure!(tenants > 0, "at least one tenant");
    let clock = SystemClock;
    let snapshots = Snapshots::with_bases(Arc::new(clock), Arc::<Last>::default());
    let before = resident()?;
    let mut index_seconds = 0.0;
    for number in 0..tenants {
        let replace = replace(&tenant(number, 1, 0, distinct));
        let started = clock.monotonic();
        snapshots.apply(&replace)?;
        index_seconds += clock.monotonic().since(started).as_secs_f64();
    }
    ensure!(snapshots.load().len() == tenants as usize, "not all were applied");
    let resident = resident()? - before;
    let mut revocations = Vec::new();
    for revoked in 1..KEYS {
        let before = tenant(tenants - 1, u64::from(revoked), revoked - 1, distinct);
        let after = tenant(tenants - 1, u64::from(revoked) + 1, revoked, distinct);
        let change = change(&before, &after).context("canonical")?;
        let started = clock.monotonic();
        snapshots.amend(&change)?;
        revocations.push(clock.monotonic().since(started).as_secs_f64() * 1_000.0);
    }
    revocations.sort_by(f64::total_cmp);
    let summary = serde_json::json!({
        "rss_mib": resident as f64 / f64::from(1 << 20),
        "index_s": index_seconds,
        "revoke_p50_ms": revocations[revocations.len() / 2],
        "revoke_p99_ms": revocations[revocations.len() - 1],
    });
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).context("statm")?.parse()?;
    Ok(pages * 4_096)
}

fn replace(snapshot: &v1::TenantSnapshot) -> v1::Replace {
    v1::Replace {
        nonce: 0,
        tenant_id: snapshot.tenant_id.clone(),
        rev: snapshot.rev,
        digest: snapshot::digest(snapshot).to_vec(),
        snapshot: snapshot::encode(snapshot).into(),
        keys: keys(),
        chunks: 0,
    }
}

fn keys() -> Vec<v1::TenantKey> {
    vec![v1::TenantKey { id: vec![1; 16], material: vec![2; 32], current: true }]
}

fn change(before: &v1::TenantSnapshot, after: &v1::TenantSnapshot) -> Option<v1::Delta> {
    Some(v1::Delta {
        nonce: 0,
        tenant_id: after.tenant_id.clone(),
        from_rev: before.rev,
        from_digest: snapshot::digest(before).to_vec(),
        rev: after.rev,
        digest: snapshot::digest(after).to_vec(),
        changes: Some(delta::diff(&snapshot::encode(before), &snapshot::encode(after))?),
        keys: keys(),
    })
}

fn id<K: Kind>(tenant: u32, number: u16) -> Id<K> {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&tenant.to_be_bytes());
    random[4..6].copy_from_slice(&number.to_be_bytes());
    random[9] = tenant as u8;
    Id::from_parts(1, random)
}

fn raw<K: Kind>(id: Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

/// A tenant of which the first `revoked` keys are gone.
fn tenant(number: u32, rev: u64, revoked: u16, distinct: bool) -> v1::TenantSnapshot {
    let tenant: TenantId = id(number, 0);
    let (endpoint, upstream): (EndpointId, UpstreamId) = (id(number, 1), id(number, 2));
    let clients: Vec<ClientId> = (0..CLIENTS).map(|n| id(number, 10 + n)).collect();
    let grants: Vec<GrantId> = (0..GRANTS).map(|n| id(number, 20 + n)).collect();
    let slug = format!("tenant-{number}");
    let mut resources = vec![
        ("tenant".to_owned(), Body::Tenant(v1::Tenant { slug, ..Default::default() })),
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
            data_key_id: vec![1; 16],
            not_after_micros: 0,
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
    for n in 0..TOOLS {
        let tool: ToolId = id(number, 50 + n);
        let whose = if distinct { format!("tenant {number}") } else { "anybody".to_owned() };
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
    }
}
