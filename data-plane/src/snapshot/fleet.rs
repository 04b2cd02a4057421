//! All tenants at one moment, by whatever a request names them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ids::TenantId;
use listen::{callers::Wants, table::Others};
use rustls::sign::CertifiedKey;
use smallvec::SmallVec;

use super::{
    decode::DecodeError,
    global::Global,
    index::{DomainIndex, EndpointIndex, Map, TenantIndex},
};

/// A change copies one shard and not the whole map: with 10,000 tenants, some forty entries.
const SHARDS: usize = 256;

type Shard<K> = Arc<Map<K, Arc<TenantIndex>>>;

/// Every tenant at one moment.
#[derive(Clone)]
pub struct Fleet {
    by_slug: Box<[Shard<Box<str>>]>,
    by_id: Box<[Shard<TenantId>]>,
    hasher: ahash::RandomState,
    /// Who says that a domain is its own, by name: few have any, and they rarely change.
    by_domain: Arc<Map<Box<str>, Holders>>,
    pub(super) global: Global,
    /// How many tenants have endpoints that may want certificates of callers.
    asking: usize,
}

/// One at all times but for a moment: a domain goes from one tenant to another in two revisions, which may come in either order.
type Holders = SmallVec<[TenantId; 1]>;

/// Whose a domain is.
#[derive(Debug)]
pub enum Holder<'a> {
    /// Nobody's here.
    Nobody,
    /// This tenant's.
    One(&'a Arc<TenantIndex>, &'a DomainIndex),
    /// Two tenants' at this moment; so it is nobody's to serve.
    Contested,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self {
            by_slug: (0..SHARDS).map(|_| Shard::default()).collect(),
            by_id: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: ahash::RandomState::new(),
            by_domain: Arc::default(),
            global: Global::default(),
            asking: 0,
        }
    }

    /// The endpoint `/{tenant}/{endpoint}/mcp` stands for.
    #[must_use]
    pub fn endpoint(&self, tenant: &str, endpoint: &str) -> Option<(&Arc<TenantIndex>, &Arc<EndpointIndex>)> {
        let tenant = self.by_slug[self.slug_shard(tenant)].get(tenant)?;
        Some((tenant, tenant.endpoints.get(endpoint)?))
    }

    /// Whose the domain is that is called so, in lower case.
    #[must_use]
    pub fn domain(&self, name: &str) -> Holder<'_> {
        match self.by_domain.get(name).map(SmallVec::as_slice) {
            None | Some([]) => Holder::Nobody,
            Some([holder]) => {
                let found = self.tenant(*holder).and_then(|tenant| Some((tenant, tenant.domains.get(name)?)));
                found.map_or(Holder::Nobody, |(tenant, domain)| Holder::One(tenant, domain))
            }
            Some(_) => Holder::Contested,
        }
    }

    /// The tenant with this id.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Option<&Arc<TenantIndex>> {
        self.by_id[id_shard(id)].get(&id)
    }

    /// Every tenant, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantIndex>> {
        self.by_id.iter().flat_map(|shard| shard.values())
    }

    /// What is not a tenant's.
    #[must_use]
    pub const fn global(&self) -> &Global {
        &self.global
    }

    /// How many tenants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.iter().all(|shard| shard.is_empty())
    }

    fn slug_shard(&self, slug: &str) -> usize {
        self.hasher.hash_one(slug) as usize % SHARDS
    }

    pub(super) fn insert(&mut self, index: TenantIndex) -> Result<(), DecodeError> {
        let shard = self.slug_shard(&index.slug);
        if self.by_slug[shard].get(&index.slug).is_some_and(|holder| holder.id != index.id) {
            return Err(DecodeError::SlugTaken);
        }
        self.hand_over(index.id, Some(&index));
        self.take_out(index.id);
        self.asking += usize::from(index.wants_certificates());
        let index = Arc::new(index);
        Arc::make_mut(&mut self.by_slug[shard]).insert(index.slug.clone(), index.clone());
        Arc::make_mut(&mut self.by_id[id_shard(index.id)]).insert(index.id, index);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: TenantId) {
        self.hand_over(id, None);
        self.take_out(id);
    }

    /// Puts `next`'s domains in the place of those that the tenant has.
    fn hand_over(&mut self, id: TenantId, next: Option<&TenantIndex>) {
        let former = self.tenant(id).cloned();
        let has = |index: Option<&TenantIndex>, name: &str| {
            index.is_some_and(|index| index.domains.contains_key(name))
        };
        let names = |index: Option<&TenantIndex>| -> Vec<Box<str>> {
            index.into_iter().flat_map(|index| index.domains.keys().cloned()).collect()
        };
        let mut gone = names(former.as_deref());
        gone.retain(|name| !has(next, name));
        let mut new = names(next);
        new.retain(|name| !has(former.as_deref(), name));
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let by_domain = Arc::make_mut(&mut self.by_domain);
        for name in gone {
            if let Some(holders) = by_domain.get_mut(&name) {
                holders.retain(|holder| *holder != id);
                if holders.is_empty() {
                    by_domain.remove(&name);
                }
            }
        }
        for name in new {
            by_domain.entry(name).or_default().push(id);
        }
    }

    fn take_out(&mut self, id: TenantId) {
        if let Some(former) = self.tenant(id).cloned() {
            self.asking -= usize::from(former.wants_certificates());
            let shard = self.slug_shard(&former.slug);
            Arc::make_mut(&mut self.by_slug[shard]).remove(&former.slug);
            Arc::make_mut(&mut self.by_id[id_shard(id)]).remove(&id);
        }
    }
}

/// Certificates of tenants' domains, as they are at each handshake.
#[derive(Debug)]
pub(crate) struct DomainCertificates(pub(crate) Arc<ArcSwap<Fleet>>);

impl Others for DomainCertificates {
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        match self.0.load().domain(name) {
            Holder::One(_, domain) => {
                domain.certificate.as_ref().map(|certificate| Arc::clone(&certificate.shown))
            }
            Holder::Nobody | Holder::Contested => None,
        }
    }
}

/// Whether callers are asked for certificates: while any endpoint may want one.
#[derive(Debug)]
pub(crate) struct CallersCertificates(pub(crate) Arc<ArcSwap<Fleet>>);

impl Wants for CallersCertificates {
    fn wants(&self) -> bool {
        self.0.load().asking > 0
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("tenants", &self.len()).finish_non_exhaustive()
    }
}

/// The last byte of an id is random.
fn id_shard(id: TenantId) -> usize {
    usize::from(id.uuid().as_bytes()[15]) % SHARDS
}
