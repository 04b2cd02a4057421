//! Client secrets, checked: argon2id once, and from then on by what this replica remembers of it. Whether it is good still is
//! asked of the database every time.

use std::time::Duration;

use crypto::{KeyKind, key, password};
use ids::ClientId;

use super::{Found, Shown, queries};
use crate::{
    app::Core,
    oauth::{attempts::Named, error::OAuthError},
};

/// How often it is noted that a secret is used.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// What is stored of the client, if the secret is one of its and good now. Whether there is such a client makes no difference: nothing is
/// hashed but for who knows the public part of one of the client's secrets, twelve characters drawn at random. Otherwise anybody could
/// keep those busy who hash.
pub(super) async fn verify(core: &Core, named: Named, secret: &str) -> Result<Option<Found>, OAuthError> {
    let Ok(presented) = key::parse(KeyKind::ClientSecret, secret) else { return Ok(None) };
    let now = core.clock.now();
    let client = named.client.unwrap_or_else(|| ClientId::from_uuid(ids::Uuid::nil()));
    let mut tx = core.store.tenant(named.tenant).await?;
    let stored = queries::secret(&mut tx, client, presented.lookup, now.to_offset()).await?;
    // No connection is held while it is hashed.
    drop(tx);
    let Some(stored) = stored else { return Ok(None) };
    let digest = core.attempts.digest(named, secret);
    if !core.attempts.was_good(&digest) {
        let hash = stored.hash.clone();
        let given = crypto::Zeroizing::new(secret.to_owned());
        let fits = core.hashing.run(move || password::verify(given.as_bytes(), &hash)).await?;
        if !fits.map_err(OAuthError::internal)? {
            return Ok(None);
        }
    }
    core.attempts.is_good(digest);
    let due = now.to_offset() - NOTED_EVERY;
    if stored.last_used_at.is_none_or(|at| at <= due) {
        let mut tx = core.store.tenant(named.tenant).await?;
        queries::used(&mut tx, stored.id, now.to_offset(), due).await?;
        tx.commit_unpublished().await?;
    }
    Ok(Some(Found {
        enabled: stored.enabled,
        suspended: stored.suspended,
        lifetime: stored.lifetime,
        by: Shown::Secret(stored.id),
    }))
}
