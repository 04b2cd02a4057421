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

/// Of nothing: hashing against it takes as long as against one that is stored.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$1w0yWeThy2McZjz01zxMBA$rphJ1PddaJxamxexSNZmmFMv6ix0V+mQVhh3K3ar85g";
/// How often it is noted that a secret is used.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// What is stored of the client, if the secret is one of its and good now. Whether there is such a client makes no difference.
pub(super) async fn verify(core: &Core, named: Named, secret: &str) -> Result<Option<Found>, OAuthError> {
    let Ok(presented) = key::parse(KeyKind::ClientSecret, secret) else { return Ok(None) };
    let now = core.clock.now();
    let client = named.client.unwrap_or_else(|| ClientId::from_uuid(ids::Uuid::nil()));
    let mut tx = core.store.tenant(named.tenant).await?;
    let stored = queries::secret(&mut tx, client, presented.lookup, now.to_offset()).await?;
    // No connection is held while it is hashed.
    drop(tx);
    let digest = core.attempts.digest(named, secret);
    if stored.is_none() || !core.attempts.was_good(&digest) {
        let hash = stored.as_ref().map_or(NOBODYS, |stored| stored.hash.as_str()).to_owned();
        let given = crypto::Zeroizing::new(secret.to_owned());
        let fits = core.hashing.run(move || password::verify(given.as_bytes(), &hash)).await?;
        if !fits.map_err(OAuthError::internal)? {
            return Ok(None);
        }
    }
    let Some(stored) = stored else { return Ok(None) };
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
