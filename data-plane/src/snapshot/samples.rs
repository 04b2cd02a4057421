//! Small valid snapshots for tests.

use bytes::Bytes;
use crypto::{Aad, DataKey, KeyKind};
use ids::{
    ClientId, CredentialId, DataKeyId, EndpointId, GrantId, KeyId, LimitId, TenantId, ToolId, UpstreamId,
};
use seams::SeededEntropy;
use secrecy::ExposeSecret as _;
use wire::v1::{self, resource::Body};

/// A tenant with one endpoint, upstream, client, key, tool and credential.
pub(crate) struct Sample {
    pub(crate) tenant: TenantId,
    pub(crate) slug: String,
    pub(crate) data_key: DataKey,
    pub(crate) key_text: String,
    pub(crate) snapshot: v1::TenantSnapshot,
}

pub(crate) const HEADER_VALUE: &str = "Bearer upstream-secret";

fn bytes<K: ids::Kind>(id: ids::Id<K>) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

impl Sample {
    pub(crate) fn new(number: u8) -> Self {
        let at = |n: u8| [number, n, 0, 0, 0, 0, 0, 0, 0, number];
        let entropy = SeededEntropy::new(u64::from(number));
        let tenant = TenantId::from_parts(1, at(1));
        let (endpoint, upstream) = (EndpointId::from_parts(1, at(2)), UpstreamId::from_parts(1, at(3)));
        let (client, key, tool) =
            (ClientId::from_parts(1, at(4)), KeyId::from_parts(1, at(5)), ToolId::from_parts(1, at(6)));
        let credential = CredentialId::from_parts(1, at(7));
        let data_key = DataKey::generate(DataKeyId::from_parts(1, at(8)), &entropy);
        let grant = GrantId::from_parts(1, at(9));
        let limit = LimitId::from_parts(1, at(10));
        let minted = crypto::key::mint(KeyKind::ApiKey, &entropy);
        let key_text = minted.text.expose_secret().to_owned();
        let presented = crypto::key::parse(KeyKind::ApiKey, &key_text).expect("a minted key");
        let row = credential.uuid();
        let aad = Aad { tenant, table: "upstream_credentials", column: "sealed", row: row.as_bytes() };
        let sealed = data_key.sealer().seal(&aad, HEADER_VALUE.as_bytes(), &entropy).expect("sealing");
        let slug = format!("tenant-{number}");
        let definition = br#"{"name":"add","description":"Adds","inputSchema":{"type":"object"}}"#;
        let policy = policy::compile_grant(&policy::GrantSpec {
            id: grant,
            subject: policy::Subject::Client(client),
            effect: policy::Effect::Permit,
            scope: None,
            actions: vec![policy::GrantedAction::CallTool {
                upstream,
                tools: policy::ToolSelector::Names(vec!["add".to_owned()]),
            }],
        })
        .expect("a grant");
        let mut resources = vec![
            ("tenant".to_owned(), Body::Tenant(v1::Tenant { slug: slug.clone(), ..Default::default() })),
            (
                endpoint.to_string(),
                Body::Endpoint(v1::Endpoint {
                    id: bytes(endpoint),
                    slug: "tools".to_owned(),
                    deny: vec!["192.0.2.0/24".to_owned()],
                    unknown_tools: v1::UnknownTools::Block.into(),
                    max_request_bytes: 1 << 20,
                    max_response_bytes: 1 << 20,
                    attachments: vec![v1::Attachment {
                        id: bytes(ids::AttachmentId::from_parts(1, at(11))),
                        upstream_id: bytes(upstream),
                        prefix: String::new(),
                    }],
                    enabled: true,
                    ..Default::default()
                }),
            ),
            (
                upstream.to_string(),
                Body::Upstream(v1::Upstream {
                    id: bytes(upstream),
                    slug: "server".to_owned(),
                    url: "https://mcp.example.com/mcp".to_owned(),
                    connect_timeout_ms: 1_000,
                    first_byte_timeout_ms: 2_000,
                    idle_timeout_ms: 3_000,
                    total_timeout_ms: 4_000,
                    tls: Some(v1::UpstreamTls::default()),
                    headers: vec![v1::SealedHeader {
                        credential_id: bytes(credential),
                        name: "authorization".to_owned(),
                        data_key_id: bytes(data_key.id),
                        sealed,
                    }],
                    enabled: true,
                    ..Default::default()
                }),
            ),
            (
                client.to_string(),
                Body::Client(v1::Client {
                    id: bytes(client),
                    name: "agent".to_owned(),
                    enabled: true,
                    endpoint_ids: vec![bytes(endpoint)],
                    role_ids: Vec::new(),
                }),
            ),
            (
                key.to_string(),
                Body::ApiKey(v1::ApiKey {
                    id: bytes(key),
                    client_id: bytes(client),
                    lookup: minted.lookup,
                    hash: data_key.key_hasher().hash(&presented).to_vec(),
                    data_key_id: bytes(data_key.id),
                    not_after_micros: 0,
                    ..v1::ApiKey::default()
                }),
            ),
            (
                tool.to_string(),
                Body::Tool(v1::Tool {
                    id: bytes(tool),
                    upstream_id: bytes(upstream),
                    name: "add".to_owned(),
                    state: v1::ToolState::Approved.into(),
                    class: v1::ToolClass::Read.into(),
                    digest: crypto::digest::sha256(definition).to_vec(),
                    definition: Bytes::from_static(definition),
                    slices: vec![v1::Slice { subject_id: bytes(client), policies: vec![policy.id.clone()] }],
                    cost: 1,
                    labels: Vec::new(),
                    timeouts: None,
                }),
            ),
            (policy.id.clone(), Body::Policy(v1::Policy { id: policy.id, text: policy.text })),
            (
                limit.to_string(),
                Body::Limit(v1::Limit {
                    id: bytes(limit),
                    subject: v1::LimitSubject::Client.into(),
                    subject_id: Vec::new(),
                    per_minute: 60,
                    burst: 60,
                    concurrency: 8,
                    ..Default::default()
                }),
            ),
            ("methods".to_owned(), Body::Methods(v1::MethodSlices::default())),
        ];
        resources.sort_by(|a, b| a.0.cmp(&b.0));
        let resources = resources.into_iter().map(|(id, body)| v1::Resource { id, body: Some(body) });
        let snapshot = v1::TenantSnapshot {
            schema: wire::snapshot::SCHEMA,
            tenant_id: bytes(tenant),
            rev: 1,
            resources: resources.collect(),
        };
        Self { tenant, slug, data_key, key_text, snapshot }
    }

    /// Changes every resource that `change` wants to.
    pub(crate) fn edit(&mut self, mut change: impl FnMut(&mut Body)) {
        for resource in &mut self.snapshot.resources {
            if let Some(body) = &mut resource.body {
                change(body);
            }
        }
    }

    pub(crate) fn keys(&self) -> Vec<v1::TenantKey> {
        let (id, material) = (bytes(self.data_key.id), self.data_key.material.to_vec());
        vec![v1::TenantKey { id, material, current: true }]
    }

    pub(crate) fn replace(&self) -> v1::Replace {
        v1::Replace {
            nonce: self.snapshot.rev,
            tenant_id: self.snapshot.tenant_id.clone(),
            rev: self.snapshot.rev,
            digest: wire::snapshot::digest(&self.snapshot).to_vec(),
            snapshot: wire::snapshot::encode(&self.snapshot).into(),
            keys: self.keys(),
            ..v1::Replace::default()
        }
    }
}

/// A revision of the fleet's configuration, as a control plane sends it.
pub(crate) fn global(rev: u64, content: v1::GlobalSnapshot) -> v1::Replace {
    let snapshot = v1::GlobalSnapshot { schema: wire::global::SCHEMA, rev, ..content };
    v1::Replace {
        tenant_id: wire::global::SCOPE.uuid().as_bytes().to_vec(),
        rev,
        digest: wire::global::digest(&snapshot).to_vec(),
        snapshot: wire::global::encode(&snapshot).into(),
        ..Default::default()
    }
}
