//! The database: what `publish/commit.rs` writes and `fleet/config/queries.rs` reads.

use std::collections::BTreeMap;

use bytes::Bytes;
use ids::{ClientId, TenantId, ToolId, UpstreamId};
use prost::Message as _;
use wire::{
    global::{self, SCOPE},
    snapshot::delta,
    stream::Version,
    v1::{self, GlobalSnapshot, resource::Body},
};

use crate::dice::Dice;

/// Changes are kept of so many revisions.
const DELTAS_KEPT: u64 = 4;

/// One revision, as it was stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    pub(crate) bytes: Bytes,
    /// No proxy can apply it.
    pub(crate) poisoned: bool,
    /// What led to it, and from which digest.
    pub(crate) changes: Option<([u8; 32], v1::Changes)>,
}

/// What a tenant has.
#[derive(Debug, Default)]
struct Content {
    /// Names of its clients.
    clients: BTreeMap<u8, String>,
    /// Which definitions its tools have, of those that all tenants' tools have.
    tools: BTreeMap<u8, u64>,
}

/// Different definitions there are.
const DEFINITIONS: u64 = 12;

#[derive(Debug)]
pub(crate) struct Store {
    /// Every revision that ever was, by number from 1.
    history: BTreeMap<TenantId, Vec<Stored>>,
    content: BTreeMap<TenantId, Content>,
    /// Tenants of the pool.
    served: BTreeMap<TenantId, bool>,
    pub(crate) away: bool,
    pub(crate) rollout: Rollout,
}

/// Whom the newest revision of the fleet's configuration reaches: the first so many proxies. Its revisions are in the history,
/// as those of [`SCOPE`].
#[derive(Debug)]
pub(crate) struct Rollout {
    /// What the others are to have; 0: none.
    stable: u64,
    reached: usize,
    /// By proxy, the highest revision that it was ever to have.
    pub(crate) most: Vec<u64>,
}

impl Store {
    pub(crate) fn new(tenants: u64, proxies: usize, dice: &Dice) -> Self {
        let mut store = Self {
            history: BTreeMap::new(),
            content: BTreeMap::new(),
            served: BTreeMap::new(),
            away: false,
            rollout: Rollout { stable: 0, reached: proxies, most: vec![0; proxies] },
        };
        for n in 0..tenants {
            let tenant = TenantId::from_parts(1_000 + n, [n as u8; 10]);
            store.served.insert(tenant, true);
            store.publish(tenant, dice);
        }
        store
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        self.served.keys().copied().collect()
    }

    /// Tenants of the pool with their current revisions.
    pub(crate) fn current(&self) -> BTreeMap<TenantId, Version> {
        let served = self.served.iter().filter(|(_, served)| **served);
        served.filter_map(|(tenant, _)| Some((*tenant, self.newest(*tenant)?.version))).collect()
    }

    /// What proxy `number` is to enforce: its tenants, and what is not a tenant's.
    pub(crate) fn current_for(&self, number: usize) -> BTreeMap<TenantId, Version> {
        let mut current = self.current();
        current.extend(self.aim(number).map(|stored| (SCOPE, stored.version)));
        current
    }

    fn aim(&self, number: usize) -> Option<&Stored> {
        if number < self.rollout.reached {
            self.newest(SCOPE)
        } else {
            self.revision(SCOPE, self.rollout.stable)
        }
    }

    /// A new revision of the fleet's configuration, which reaches one proxy; while one is on its way, its end: it goes to all, or, where
    /// no proxy can apply it or the dice say so, what was there before comes again.
    pub(crate) fn publish_global(&mut self, dice: &Dice) {
        let poisoned = self.newest(SCOPE).is_some_and(|newest| newest.poisoned);
        if poisoned || self.rollout.reached < self.rollout.most.len() {
            return self.end_rollout(dice.percent(50));
        }
        self.rollout.stable = self.newest(SCOPE).map_or(0, |newest| newest.version.rev);
        let content =
            GlobalSnapshot { max_request_bytes: 4_096 + dice.below(1_000) as u32, ..Default::default() };
        self.store_global(content, dice.percent(25).then(|| dice.below(2)));
        self.rollout.reached = 1;
        self.aim_at();
    }

    /// On to one more proxy.
    pub(crate) fn promote_global(&mut self) {
        let poisoned = self.newest(SCOPE).is_some_and(|newest| newest.poisoned);
        if !poisoned && self.rollout.reached < self.rollout.most.len() {
            self.rollout.reached += 1;
            self.aim_at();
        }
    }

    /// To all, or back.
    pub(crate) fn end_rollout(&mut self, back: bool) {
        let Some(newest) = self.newest(SCOPE) else { return };
        if newest.poisoned || (back && self.rollout.reached < self.rollout.most.len()) {
            let stable = self.revision(SCOPE, self.rollout.stable);
            let content = stable.and_then(|stored| GlobalSnapshot::decode(stored.bytes.clone()).ok());
            self.store_global(content.unwrap_or_default(), None);
        }
        self.rollout.reached = self.rollout.most.len();
        self.aim_at();
    }

    fn store_global(&mut self, content: GlobalSnapshot, poison: Option<u64>) {
        let rev = self.newest(SCOPE).map_or(0, |newest| newest.version.rev) + 1;
        let mut snapshot = GlobalSnapshot { schema: global::SCHEMA, rev, ..content };
        if poison == Some(0) {
            snapshot.address_burst = 7;
        }
        let mut bytes = global::encode(&snapshot);
        if poison == Some(1) {
            // A field of a newer build.
            prost::encoding::uint64::encode(999, &rev, &mut bytes);
        }
        let version = Version { rev, digest: global::digest(&snapshot) };
        let stored = Stored { version, bytes: bytes.into(), poisoned: poison.is_some(), changes: None };
        self.history.entry(SCOPE).or_default().push(stored);
    }

    fn aim_at(&mut self) {
        for number in 0..self.rollout.most.len() {
            let aim = self.aim(number).map_or(0, |stored| stored.version.rev);
            let most = &mut self.rollout.most[number];
            *most = aim.max(*most);
        }
    }

    pub(crate) fn newest(&self, tenant: TenantId) -> Option<&Stored> {
        self.history.get(&tenant)?.last()
    }

    pub(crate) fn revision(&self, tenant: TenantId, rev: u64) -> Option<&Stored> {
        self.history.get(&tenant)?.get(usize::try_from(rev.checked_sub(1)?).ok()?)
    }

    /// Out of the pool, or into it again.
    pub(crate) fn toggle(&mut self, tenant: TenantId) {
        if let Some(served) = self.served.get_mut(&tenant) {
            *served = !*served;
        }
    }

    pub(crate) fn serve_all(&mut self) {
        self.served.values_mut().for_each(|served| *served = true);
    }

    /// What is kept of the way from `from` to the current revision, put together.
    pub(crate) fn changes_since(&self, tenant: TenantId, from: Version) -> Option<(Version, v1::Changes)> {
        let newest = self.newest(tenant)?;
        let mut at = from;
        let mut steps = Vec::new();
        while at.rev < newest.version.rev {
            let next = self.revision(tenant, at.rev + 1)?;
            let (digest, changes) = next.changes.as_ref()?;
            let kept = next.version.rev + DELTAS_KEPT > newest.version.rev;
            if *digest != at.digest || !kept {
                return None;
            }
            steps.push(changes.clone());
            at = next.version;
        }
        (!steps.is_empty()).then(|| Some((at, delta::join(steps).ok()?))).flatten()
    }

    /// Something changes; some of it no proxy can apply.
    pub(crate) fn publish(&mut self, tenant: TenantId, dice: &Dice) {
        let rev = self.newest(tenant).map_or(0, |newest| newest.version.rev) + 1;
        let content = self.content.entry(tenant).or_default();
        for _ in 0..dice.below(3) {
            content.tools.insert(dice.below(4) as u8, dice.below(DEFINITIONS));
        }
        let clients = &mut content.clients;
        for _ in 0..1 + dice.below(3) {
            let n = dice.below(6) as u8;
            if dice.percent(30) {
                clients.remove(&n);
            } else {
                clients.insert(n, format!("client {n} of revision {rev}"));
            }
        }
        let poison = dice.percent(12).then(|| dice.below(3));
        let bytes = Bytes::from(encode(tenant, rev, content, poison));
        let digest = delta::digest(&bytes).expect("canonical");
        let changes = self.newest(tenant).and_then(|former| {
            Some((former.version.digest, delta::diff(&former.bytes, &bytes)?)).filter(|_| dice.percent(95))
        });
        let version = Version { rev, digest };
        let stored = Stored { version, bytes, poisoned: poison.is_some(), changes };
        self.history.entry(tenant).or_default().push(stored);
    }
}

fn encode(tenant: TenantId, rev: u64, content: &Content, poison: Option<u64>) -> Vec<u8> {
    let clients = &content.clients;
    let slug = format!("tenant-{}", tenant.uuid().as_bytes()[15]);
    let mut resources = vec![
        ("tenant".to_owned(), Body::Tenant(v1::Tenant { slug, ..Default::default() })),
        ("methods".to_owned(), Body::Methods(v1::MethodSlices::default())),
    ];
    for (n, name) in clients {
        let id = ClientId::from_parts(1, [*n; 10]);
        let client = v1::Client {
            id: id.uuid().as_bytes().to_vec(),
            name: name.clone(),
            enabled: true,
            // A reference to nothing.
            endpoint_ids: if poison == Some(0) { vec![vec![9; 16]] } else { Vec::new() },
            role_ids: Vec::new(),
        };
        resources.push((id.to_string(), Body::Client(client)));
    }
    resources.extend(tools(&content.tools));
    if poison == Some(0) && clients.is_empty() {
        resources.retain(|(id, _)| id != "methods");
    }
    resources.sort_by(|a, b| a.0.cmp(&b.0));
    let snapshot = v1::TenantSnapshot {
        // One that this build does not know.
        schema: if poison == Some(1) { wire::snapshot::SCHEMA + 1 } else { wire::snapshot::SCHEMA },
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        rev,
        resources: Vec::new(),
    };
    let mut bytes = snapshot.encode_to_vec();
    for (id, body) in resources {
        let newer = poison == Some(2) && id == "tenant";
        let mut resource = v1::Resource { id, body: Some(body) }.encode_to_vec();
        if newer {
            // A field of a newer build.
            prost::encoding::uint64::encode(999, &rev, &mut resource);
        }
        prost::encoding::bytes::encode(4, &resource, &mut bytes);
    }
    bytes
}

/// One upstream and its tools.
fn tools(tools: &BTreeMap<u8, u64>) -> Vec<(String, Body)> {
    let id = UpstreamId::from_parts(1, [1; 10]);
    let upstream = v1::Upstream {
        id: id.uuid().as_bytes().to_vec(),
        slug: "popular".to_owned(),
        url: "https://popular.example.com/mcp".to_owned(),
        connect_timeout_ms: 1,
        first_byte_timeout_ms: 1,
        idle_timeout_ms: 1,
        total_timeout_ms: 1,
        tls: Some(v1::UpstreamTls::default()),
        ..Default::default()
    };
    let mut resources = vec![(id.to_string(), Body::Upstream(upstream))];
    for (n, definition) in tools {
        let id = ToolId::from_parts(1, [*n; 10]);
        let tool = v1::Tool {
            id: id.uuid().as_bytes().to_vec(),
            upstream_id: UpstreamId::from_parts(1, [1; 10]).uuid().as_bytes().to_vec(),
            name: format!("tool {n}"),
            state: v1::ToolState::Approved.into(),
            class: v1::ToolClass::Read.into(),
            digest: vec![*definition as u8; 32],
            definition: format!("definition {definition} ").repeat(10).into(),
            cost: 1,
            ..Default::default()
        };
        resources.push((id.to_string(), Body::Tool(tool)));
    }
    resources
}
