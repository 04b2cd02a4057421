//! Who an issuer's URL names, and what anybody may know of it. Nobody who asks presents anything, so what they cost Postgres is
//! bounded: an answer is kept for a moment, and few are looked up at a time.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use crypto::jwt::{Jwk, JwkSet};
use ids::{Scope, Slug, TenantId};
use limits::{AddressTable, Decision, Rate};
use parking_lot::Mutex;
use seams::{Entropy, Monotonic};
use tokio::sync::Semaphore;
use url::Url;

use super::{keys::State, queries};
use crate::{
    app::Core,
    assertions,
    db::{StoreError, TenantTx},
    http::problem::ApiError,
    people::company::{self, Company},
    publish::rows::IssuerRow,
    resources::{
        registration::{
            queries as policies,
            types::{DocumentHosts, DynamicAdmission},
        },
        scopes::queries as scopes,
        trusted_issuers::{queries as trusted, types::TrustedPurpose},
    },
};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(2);
/// Answers kept at most.
const MOST: usize = 20_000;
/// Look-ups at a time, and how long one waits for its turn.
const LOOKUPS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(2);
/// Issuers that one address may ask for and that are none. Nothing else counts against it, such as failing to log in elsewhere.
const UNKNOWN: Rate = Rate { per_minute: 120, burst: 120 };
/// Addresses that are remembered.
const ADDRESSES: usize = 16 * 1024;

/// A tenant's issuer.
#[derive(Debug)]
pub struct Issuer {
    /// Whose.
    pub tenant: TenantId,
    /// Its slug.
    pub slug: Box<str>,
    /// Its URL, exactly as in `iss`.
    pub url: String,
    /// The key set, as JSON.
    pub keys: Bytes,
    /// The key set of what the tenant's proxies assert to upstreams, as JSON.
    pub assertion_keys: Bytes,
    /// Whether documents may describe clients.
    pub documents: bool,
    /// Whether clients may register themselves.
    pub dynamic: bool,
    /// Whether somebody is trusted to say for whom a client acts.
    pub identities: bool,
    /// What clients are to ask for at first. Official clients that are told of nothing else ask for all that stands here.
    pub scopes: Box<[Scope]>,
    /// By which companies people sign in.
    pub(crate) companies: Box<[Company]>,
}

type Found = Option<Arc<Issuer>>;

/// What was looked up lately.
#[derive(Debug)]
pub struct Issuers {
    kept: Mutex<HashMap<Box<str>, (Monotonic, Found)>>,
    lookups: Semaphore,
    unknown: AddressTable,
}

impl Issuers {
    /// Nothing looked up yet.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let seed = std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()));
        let (lookups, unknown) = (Semaphore::new(LOOKUPS), AddressTable::new(ADDRESSES, seed));
        Self { kept: Mutex::default(), lookups, unknown }
    }

    /// Whether this address may ask for an issuer now that has to be looked up.
    fn may_ask(&self, address: Option<IpAddr>, now: Monotonic) -> Result<(), ApiError> {
        let Some(address) = address else { return Ok(()) };
        match self.unknown.peek(address, now.nanos(), UNKNOWN, 1) {
            Decision::Admit { .. } => Ok(()),
            Decision::Refuse { retry_after, .. } => Err(ApiError::AddressLimited { retry_after }),
        }
    }
}

impl Issuer {
    /// Where tokens are given.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.url)
    }
}

/// The issuer's URL: `{auth origin}/t/{slug}`.
#[must_use]
pub fn url(auth: &Url, slug: &str) -> String {
    format!("{}/t/{slug}", auth.as_str().trim_end_matches('/'))
}

/// The issuer of the tenant with this slug.
///
/// # Errors
/// [`ApiError::NotFound`] if there is none; an address that asks for many of these waits.
pub async fn find(core: &Core, slug: &str, address: Option<IpAddr>) -> Result<Arc<Issuer>, ApiError> {
    if slug.parse::<Slug>().is_err() {
        return Err(ApiError::NotFound);
    }
    let found = match kept(core, slug) {
        Some(found) => found,
        None => {
            core.issuers.may_ask(address, core.clock.monotonic())?;
            let waiting = tokio::time::timeout(PATIENCE, core.issuers.lookups.acquire());
            // It is never closed; if it were, nobody would have to wait.
            let crowded = |_| ApiError::RateLimited { retry_after: PATIENCE };
            let _turn = waiting.await.map_err(crowded)?;
            match kept(core, slug) {
                Some(found) => found,
                None => {
                    // Meanwhile others may have asked from there that found nothing.
                    core.issuers.may_ask(address, core.clock.monotonic())?;
                    load(core, slug).await?
                }
            }
        }
    };
    if let (None, Some(address)) = (&found, address) {
        core.issuers.unknown.try_take(address, core.clock.monotonic().nanos(), UNKNOWN, 1);
    }
    found.ok_or(ApiError::NotFound)
}

fn kept(core: &Core, slug: &str) -> Option<Found> {
    let kept = core.issuers.kept.lock();
    let (at, found) = kept.get(slug)?;
    (core.clock.monotonic().since(*at) < KEPT).then(|| found.clone())
}

/// What proxies need to know its tokens; `None`: it signs none.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn published(
    tx: &mut TenantTx,
    core: &Core,
    slug: &str,
) -> Result<Option<IssuerRow>, StoreError> {
    let keys = queries::keys(tx).await?;
    let baseline = scopes::all(tx).await?.into_iter().filter_map(|(scope, first)| first.then_some(scope));
    let (baseline, urls) = (baseline.collect(), &core.config.urls);
    let gateway = urls.gateway.as_str().trim_end_matches('/').to_owned();
    Ok((!keys.is_empty()).then(|| IssuerRow { url: url(&urls.auth, slug), gateway, baseline, keys }))
}

async fn load(core: &Core, slug: &str) -> Result<Found, StoreError> {
    let at = core.clock.monotonic();
    let tenant = queries::tenant_by_slug(&mut core.store.operator().await?, slug).await?;
    let found = match tenant {
        None => None,
        Some(tenant) => {
            let mut tx = core.store.tenant(tenant).await?;
            let keys = queries::keys(&mut tx).await?;
            let policy = policies::get(&mut tx).await?.settings;
            let identities = trusted::any(&mut tx, TrustedPurpose::IdJag).await?;
            let scopes = scopes::all(&mut tx).await?.into_iter();
            let scopes = scopes.filter_map(|(scope, first)| first.then_some(scope)).collect();
            let companies = company::of(&mut tx, core).await?;
            let now = core.clock.now();
            let asserted = assertions::keys::key_set(&mut tx, now).await?;
            drop(tx);
            let published = keys.iter().filter(|key| key.state(&keys, now) != State::Retired);
            let set =
                JwkSet { keys: published.map(|key| Jwk::new(&key.id.to_string(), &key.public)).collect() };
            let json = |set| serde_json::to_vec(set).map_err(|error| StoreError::Bug(error.into()));
            let (keys, assertion_keys) = (json(&set)?.into(), json(&asserted)?.into());
            let url = url(&core.config.urls.auth, slug);
            let documents = policy.documents.from != DocumentHosts::Off;
            let dynamic = policy.dynamic.by != DynamicAdmission::Off;
            let slug = slug.into();
            Some(Arc::new(Issuer {
                tenant,
                slug,
                url,
                keys,
                assertion_keys,
                documents,
                dynamic,
                identities,
                scopes,
                companies,
            }))
        }
    };
    let mut kept = core.issuers.kept.lock();
    if kept.len() >= MOST {
        kept.clear();
    }
    kept.insert(slug.into(), (at, found.clone()));
    Ok(found)
}
