//! Keys with which a tenant's issuer signs. A key is published before it is used and stays published while anything that it
//! signed can be valid; where it stands follows from the clock alone, so that no replica has to do anything for it to move on.

use std::time::Duration;

use crypto::{
    Aad, SealError, Zeroizing,
    jwt::{self, Algorithm, PrivateKey, PublicKey},
};
use ids::{Id, Kind, SigningKeyId, TenantId, kind};
use seams::Timestamp;

use super::queries;
use crate::{
    app::Core,
    data_keys,
    db::{StoreError, TenantTx},
};

/// How long whoever reads a key set may keep it.
pub const CACHED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long a key is published before it signs: longer than anybody keeps a set without it.
pub const PUBLISHED_BEFORE: Duration = Duration::from_secs(15 * 60);
/// The longest life of a token.
pub const LONGEST_LIFE: Duration = Duration::from_secs(60 * 60);
/// How long a key that signs no more stays published: everything it signed has ended, on a clock that is a little slow too.
const STAYS: Duration = Duration::from_secs(LONGEST_LIFE.as_secs() + 5 * 60);
/// When a key is followed by another without anybody asking: each quarter.
pub const ROTATED_EVERY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A key that signs, without its private half.
#[derive(Debug, Clone)]
pub struct StoredKey<K: Kind = kind::SigningKey> {
    /// Names it in tokens, too.
    pub id: Id<K>,
    /// Its public half.
    pub public: PublicKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it begins to sign.
    pub activates_at: Timestamp,
    /// When it is published no more; `None`: nothing follows it yet.
    pub retires_at: Option<Timestamp>,
    /// When somebody ended it.
    pub revoked_at: Option<Timestamp>,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Published, signs nothing yet.
    Upcoming,
    /// Signs.
    Active,
    /// Signs no more; what it signed is accepted.
    Retiring,
    /// What it signed is refused.
    Retired,
}

impl<K: Kind> StoredKey<K> {
    /// Where it stands among the tenant's keys.
    #[must_use]
    pub fn state(&self, all: &[Self], now: Timestamp) -> State {
        let ended = |key: &Self| key.revoked_at.is_some() || key.retires_at.is_some_and(|at| at <= now);
        let later = |key: &Self| (key.activates_at, key.id) > (self.activates_at, self.id);
        if ended(self) {
            State::Retired
        } else if self.activates_at > now {
            State::Upcoming
        } else if all.iter().any(|key| later(key) && key.activates_at <= now && key.revoked_at.is_none()) {
            State::Retiring
        } else {
            State::Active
        }
    }
}

/// Keys of a tenant that are published at once: one that signs, one that follows, and what was replaced within the hour.
const MAX_LIVE: usize = 8;
/// Keys that have ended of which something is still known.
const MAX_ENDED: i64 = 32;

/// Why keys cannot be rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// There is one already that has not begun to sign.
    #[error("a key that follows is published already")]
    Upcoming,
    /// As many are published as verifiers have to take.
    #[error("too many keys are published")]
    TooMany,
    /// The library makes no key.
    #[error("no key could be made")]
    Unmade(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a key that takes over: after it has been published for long enough, or at once where there is none or somebody cannot wait.
/// The caller commits.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(
    tx: &mut TenantTx,
    core: &Core,
    algorithm: Option<Algorithm>,
    at_once: bool,
) -> Result<SigningKeyId, RotateError> {
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
    let active = live.iter().find(|key| key.state(&keys, now) == State::Active);
    let algorithm = algorithm.or(active.map(|key| key.public.algorithm())).unwrap_or(Algorithm::Es256);
    let activates_at = if at_once || active.is_none() { now } else { now.plus(PUBLISHED_BEFORE) };
    queries::retire(tx, activates_at.plus(STAYS)).await?;
    // An RSA key takes long enough to hold up others on this thread.
    let entropy = core.entropy.clone();
    let made = tokio::task::spawn_blocking(move || jwt::generate(algorithm, &*entropy)).await;
    let made = made.map_err(|error| RotateError::Unmade(error.into()))?;
    let (private, public) = made.map_err(|error| RotateError::Unmade(error.into()))?;
    let id = SigningKeyId::from_parts(now.millis(), core.entropy.bytes());
    let key = StoredKey { id, public, created_at: now, activates_at, retires_at: None, revoked_at: None };
    let sealed =
        seal(tx.tenant(), core, id, private.pkcs8()).map_err(|error| RotateError::Unmade(error.into()))?;
    queries::insert(tx, &key, &sealed).await?;
    // The one before signs no more, if this one does.
    queries::forget(tx, now).await?;
    Ok(id)
}

/// Makes a key where there is none that signs: a tenant whose clients can ask for tokens can give them. The caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn ensure(tx: &mut TenantTx, core: &Core) -> Result<(), StoreError> {
    let now = core.clock.now();
    let keys = queries::keys(tx).await?;
    if keys.iter().all(|key| key.state(&keys, now) != State::Active) {
        // At once: there may be one that is to follow, when somebody has revoked the one before it.
        rotate(tx, core, None, true).await.map_err(|error| match error {
            RotateError::Store(error) => error,
            error => StoreError::Bug(error.into()),
        })?;
    }
    Ok(())
}

/// The key that signs now, and its name; `None` where the tenant has none.
///
/// # Errors
/// [`StoreError`].
pub async fn signer(
    tx: &mut TenantTx,
    core: &Core,
) -> Result<Option<(SigningKeyId, PrivateKey)>, StoreError> {
    let now = core.clock.now();
    let keys = queries::keys(tx).await?;
    let Some(key) = keys.iter().find(|key| key.state(&keys, now) == State::Active) else { return Ok(None) };
    let pkcs8 = open(tx, core, key.id).await?;
    Ok(Some((key.id, PrivateKey::new(key.public.algorithm(), pkcs8))))
}

/// Seals anew, for control planes alone, what an earlier version sealed under the tenant's data key. The caller commits.
pub(super) async fn reseal(tx: &mut TenantTx, core: &Core) -> Result<(), StoreError> {
    for id in queries::under_data_keys(tx).await? {
        let pkcs8 = open(tx, core, id).await?;
        let sealed = seal(tx.tenant(), core, id, &pkcs8).map_err(|error| StoreError::Bug(error.into()))?;
        queries::replace_sealed(tx, id, &sealed).await?;
    }
    Ok(())
}

/// Under a key that is derived from the master key: a tenant's data key would not do, because proxies have it.
fn seal(tenant: TenantId, core: &Core, id: SigningKeyId, pkcs8: &[u8]) -> Result<Vec<u8>, SealError> {
    let sealers = core.secrets.signing_key_sealers();
    let sealer = sealers.first().ok_or(SealError::NoKey)?;
    sealer.seal(&aad(tenant, id.uuid().as_bytes()), pkcs8, &*core.entropy)
}

async fn open(tx: &mut TenantTx, core: &Core, id: SigningKeyId) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let (data_key, sealed) = queries::sealed(tx, id).await?;
    let row = id.uuid();
    let sealers = match data_key {
        Some(id) => vec![data_keys::get(tx, core, id).await?.sealer()],
        None => core.secrets.signing_key_sealers(),
    };
    let aad = aad(tx.tenant(), row.as_bytes());
    let mut failed = SealError::NoKey;
    for sealer in &sealers {
        match sealer.open(&aad, &sealed) {
            Ok(opened) => return Ok(opened),
            Err(error) => failed = error,
        }
    }
    Err(StoreError::Bug(failed.into()))
}

/// All keys of the transaction's tenant, in order of id.
///
/// # Errors
/// [`StoreError`].
pub async fn all(tx: &mut TenantTx) -> Result<Vec<StoredKey>, StoreError> {
    queries::keys(tx).await
}

/// Ends a key at once. The caller commits.
///
/// # Errors
/// [`StoreError`].
pub async fn revoke(tx: &mut TenantTx, core: &Core, id: SigningKeyId) -> Result<(), StoreError> {
    queries::revoke(tx, id, core.clock.now()).await
}

fn aad(tenant: TenantId, row: &[u8]) -> Aad<'_> {
    Aad { tenant, table: "signing_keys", column: "sealed", row }
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn where_a_key_stands_follows_from_the_clock() {
        let at = |minutes: u64| Timestamp::from_micros(minutes * 60_000_000);
        let key = |number: u8, activates: u64, retires: Option<u64>| StoredKey {
            id: SigningKeyId::from_parts(1, [number; 10]),
            public: jwt::generate(Algorithm::EdDsa, &SeededEntropy::new(1)).unwrap().1,
            created_at: at(0),
            activates_at: at(activates),
            retires_at: retires.map(at),
            revoked_at: None,
        };
        let mut keys = [key(1, 0, Some(80)), key(2, 15, None)];
        let states =
            |keys: &[StoredKey], minute| [0, 1].map(|place: usize| keys[place].state(keys, at(minute)));
        assert_eq!(states(&keys, 0), [State::Active, State::Upcoming]);
        assert_eq!(states(&keys, 14), [State::Active, State::Upcoming]);
        assert_eq!(states(&keys, 15), [State::Retiring, State::Active]);
        assert_eq!(states(&keys, 79), [State::Retiring, State::Active]);
        assert_eq!(states(&keys, 80), [State::Retired, State::Active]);
        keys[0].revoked_at = Some(at(1));
        assert_eq!(states(&keys, 20), [State::Retired, State::Active]);
        // The last thing that the old one signed ends while it is published; and whoever has cached the set knows the new one.
        assert!(STAYS > LONGEST_LIFE && PUBLISHED_BEFORE > CACHED_FOR);
    }
}
