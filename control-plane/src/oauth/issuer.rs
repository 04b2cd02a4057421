//! Who an issuer's URL names, and what anybody may know of it. Nobody who asks presents anything, so what they cost Postgres is
//! bounded: an answer is kept for a moment, and few are looked up at a time.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use crypto::jwt::{Jwk, JwkSet};
use ids::{Slug, TenantId};
use parking_lot::Mutex;
use seams::Monotonic;
use tokio::sync::Semaphore;
use url::Url;

use super::{keys::State, queries};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    http::problem::ApiError,
    publish::rows::IssuerRow,
};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(2);
/// Answers kept at most.
const MOST: usize = 20_000;
/// Look-ups at a time.
const LOOKUPS: usize = 2;

/// A tenant's issuer.
#[derive(Debug)]
pub struct Issuer {
    /// Whose.
    pub tenant: TenantId,
    /// Its URL, exactly as in `iss`.
    pub url: String,
    /// The key set, as JSON.
    pub keys: Bytes,
}

type Found = Option<Arc<Issuer>>;

/// What was looked up lately.
#[derive(Debug)]
pub struct Issuers {
    kept: Mutex<HashMap<Box<str>, (Monotonic, Found)>>,
    lookups: Semaphore,
}

impl Default for Issuers {
    fn default() -> Self {
        Self { kept: Mutex::default(), lookups: Semaphore::new(LOOKUPS) }
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
            core.may_authenticate(address).map_err(|retry_after| ApiError::AddressLimited { retry_after })?;
            // It is never closed; if it were, nobody would have to wait.
            let _turn = core.issuers.lookups.acquire().await;
            match kept(core, slug) {
                Some(found) => found,
                None => load(core, slug).await?,
            }
        }
    };
    if found.is_none() {
        core.authentication_failed(address);
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
    let urls = &core.config.urls;
    let gateway = urls.gateway.as_str().trim_end_matches('/').to_owned();
    Ok((!keys.is_empty()).then(|| IssuerRow { url: url(&urls.auth, slug), gateway, keys }))
}

async fn load(core: &Core, slug: &str) -> Result<Found, StoreError> {
    let at = core.clock.monotonic();
    let tenant = queries::tenant_by_slug(&mut core.store.operator().await?, slug).await?;
    let found = match tenant {
        None => None,
        Some(tenant) => {
            let keys = queries::keys(&mut core.store.tenant(tenant).await?).await?;
            let now = core.clock.now();
            let published = keys.iter().filter(|key| key.state(&keys, now) != State::Retired);
            let set =
                JwkSet { keys: published.map(|key| Jwk::new(&key.id.to_string(), &key.public)).collect() };
            let keys = serde_json::to_vec(&set).map_err(|error| StoreError::Bug(error.into()))?;
            let url = url(&core.config.urls.auth, slug);
            Some(Arc::new(Issuer { tenant, url, keys: keys.into() }))
        }
    };
    let mut kept = core.issuers.kept.lock();
    if kept.len() >= MOST {
        kept.clear();
    }
    kept.insert(slug.into(), (at, found.clone()));
    Ok(found)
}
