//! Keys with which a tenant's proxies sign assertions. They stand in time as the issuer's signing keys do; but proxies have their
//! private halves, and may sign with them for as long as they enforce what nobody confirms.

use std::time::Duration;

use crypto::{
    Aad,
    jwt::{self, Algorithm, Jwk, JwkSet},
};
use ids::{AssertionKeyId, DataKeyId, kind};
use seams::Timestamp;
use wire::snapshot::MAX_STALE_SECONDS;

use super::queries;
use crate::{
    app::Core,
    data_keys,
    db::{StoreError, TenantTx},
    oauth::keys::{PUBLISHED_BEFORE, RotateError, State, StoredKey},
    publish::outward::AssertionsRow,
};

/// A key without its private half.
pub type AssertionKey = StoredKey<kind::AssertionKey>;

/// How long a key that is followed stays published: a proxy that hears of nobody signs with it for that long at most, and a day more
/// is for servers.
const STAYS: Duration = Duration::from_secs(MAX_STALE_SECONDS as u64 + 24 * 60 * 60);
/// Keys of a tenant that are published at once.
const MAX_LIVE: usize = 8;
/// Keys that have ended of which something is still known.
const MAX_ENDED: i64 = 32;

/// A private half as it is stored.
#[derive(Debug, Clone)]
pub struct SealedHalf {
    /// Under which data key.
    pub data_key_id: DataKeyId,
    /// PKCS#8.
    pub sealed: Vec<u8>,
}

/// Makes a key that takes over: after it has been published for long enough, or at once where there is none or somebody cannot wait.
/// The caller commits.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(tx: &mut TenantTx, core: &Core, at_once: bool) -> Result<AssertionKeyId, RotateError> {
    let now = core.clock.now();
    let keys = queries::keys(tx).await?;
    let live: Vec<_> = keys.iter().filter(|key| key.state(&keys, now) != State::Retired).collect();
    if live.len() >= MAX_LIVE {
        return Err(RotateError::TooMany);
    }
    queries::trim(tx, now, MAX_ENDED).await?;
    let upcoming: Vec<_> = live.iter().filter(|key| key.activates_at > now).collect();
    if !upcoming.is_empty() && !at_once {
        return Err(RotateError::Upcoming);
    }
    for key in upcoming {
        queries::revoke(tx, key.id, now).await?;
    }
    let is_first = live.iter().all(|key| key.state(&keys, now) != State::Active);
    let activates_at = if at_once || is_first { now } else { now.plus(PUBLISHED_BEFORE) };
    queries::retire(tx, activates_at.plus(STAYS)).await?;
    let (private, public) = jwt::generate(Algorithm::Es256, &*core.entropy).map_err(unmade)?;
    let id = AssertionKeyId::from_parts(now.millis(), core.entropy.bytes());
    let data_key = data_keys::current(tx, core).await?;
    let row = id.uuid();
    let aad = Aad { tenant: tx.tenant(), table: "assertion_keys", column: "sealed", row: row.as_bytes() };
    let sealed = data_key.sealer().seal(&aad, private.pkcs8(), &*core.entropy).map_err(unmade)?;
    let key = AssertionKey { id, public, created_at: now, activates_at, retires_at: None, revoked_at: None };
    queries::insert(tx, &key, &SealedHalf { data_key_id: data_key.id, sealed }).await?;
    // What was followed before this one signs no more, anywhere that hears of it.
    queries::forget(tx, now).await?;
    Ok(id)
}

fn unmade(error: impl std::error::Error + Send + Sync + 'static) -> RotateError {
    RotateError::Unmade(Box::new(error))
}

/// Makes a key where there is none that signs. The caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn ensure(tx: &mut TenantTx, core: &Core) -> Result<(), StoreError> {
    let now = core.clock.now();
    let keys = queries::keys(tx).await?;
    if keys.iter().all(|key| key.state(&keys, now) != State::Active) {
        rotate(tx, core, true).await.map_err(|error| match error {
            RotateError::Store(error) => error,
            error => StoreError::Bug(error.into()),
        })?;
    }
    Ok(())
}

/// All keys of the transaction's tenant, in order of id.
///
/// # Errors
/// [`StoreError`].
pub async fn all(tx: &mut TenantTx) -> Result<Vec<AssertionKey>, StoreError> {
    queries::keys(tx).await
}

/// Ends a key at once: proxies do not sign with it, and it is published no more. The caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn revoke(tx: &mut TenantTx, core: &Core, id: AssertionKeyId) -> Result<(), StoreError> {
    queries::revoke(tx, id, core.clock.now()).await
}

/// The keys whose signatures servers are to accept (RFC 7517).
///
/// # Errors
/// [`StoreError`].
pub async fn key_set(tx: &mut TenantTx, now: Timestamp) -> Result<JwkSet, StoreError> {
    let keys = queries::keys(tx).await?;
    let published = keys.iter().filter(|key| key.state(&keys, now) != State::Retired);
    Ok(JwkSet { keys: published.map(|key| Jwk::new(&key.id.to_string(), &key.public)).collect() })
}

/// With what proxies sign: what signs now, and what will; `None` where no upstream is asserted anything.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn published(
    tx: &mut TenantTx,
    core: &Core,
    slug: &str,
) -> Result<Option<AssertionsRow>, StoreError> {
    let now = core.clock.now();
    let keys = queries::keys(tx).await?;
    let mut halves = queries::halves(tx).await?;
    let signs = |key: &&AssertionKey| matches!(key.state(&keys, now), State::Active | State::Upcoming);
    let keys = keys.iter().filter(signs).filter_map(|key| {
        let half = halves.remove(&key.id)?;
        Some((key.id, key.activates_at, half))
    });
    let keys: Vec<_> = keys.collect();
    let issuer = super::issuer(&core.config.urls.auth, slug);
    Ok((!keys.is_empty()).then_some(AssertionsRow { issuer, keys }))
}
