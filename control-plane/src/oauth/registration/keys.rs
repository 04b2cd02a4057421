//! Keys of clients that nobody has made, kept where every client's are.

use std::time::Duration;

use crypto::jwt::JwkSet;
use ids::{ClientId, PublicKeyId};

use super::queries;
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    fetch::{Kind, Wanted},
    oauth::issuer::Issuer,
};

/// A key that is missing in what is kept is looked for again after so long.
const ANEW: Duration = Duration::from_secs(60);

/// Makes the client's keys these.
pub(super) async fn replace(
    tx: &mut TenantTx,
    core: &Core,
    client: ClientId,
    set: Option<&JwkSet>,
) -> Result<(), StoreError> {
    let now = core.clock.now();
    let keys = match set {
        Some(set) => set.read().map_err(|(_, error)| StoreError::Bug(error.into()))?,
        None => Vec::new(),
    };
    let present = queries::keys(tx, client).await?;
    let same = |(kid, key): &(crypto::jwt::Kid, crypto::jwt::PublicKey)| {
        let same = |own: &queries::Key| {
            own.kid == kid.as_str() && own.algorithm == key.algorithm().name() && own.bytes == key.bytes()
        };
        present.iter().any(same)
    };
    if present.len() == keys.len() && keys.iter().all(same) {
        return Ok(());
    }
    queries::delete_keys(tx, client).await?;
    for (kid, key) in &keys {
        let id = PublicKeyId::from_parts(now.millis(), core.entropy.bytes());
        queries::insert_key(tx, client, id, (kid.as_str(), key), now.to_offset()).await?;
    }
    Ok(())
}

/// Fetches the keys of a client that keeps them at a URL, where what is known has become old or lacks the one that is named.
///
/// # Errors
/// [`StoreError`]. Where they cannot be fetched those that are known stay.
pub(super) async fn refresh(
    core: &Core,
    issuer: &Issuer,
    client: ClientId,
    kid: &str,
) -> Result<(), StoreError> {
    let (rules, url, known) = {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        let Some(url) = queries::key_set_url(&mut tx, client).await? else { return Ok(()) };
        let keys = queries::keys(&mut tx, client).await?;
        (queries::egress(&mut tx).await?, url, keys.iter().any(|key| key.kid == kid))
    };
    let anew_after = (!known).then_some(ANEW);
    let wanted =
        Wanted { tenant: issuer.tenant, rules: &rules, kind: Kind::ClientKeys, url: &url, anew_after };
    let Ok(document) = core.fetcher.get(wanted).await else { return Ok(()) };
    let set = serde_json::from_slice::<JwkSet>(&document.body).ok().filter(|set| set.read().is_ok());
    let Some(set) = set else {
        tracing::info!(tenant.id = %issuer.tenant, client.id = %client, "a client's key set is not accepted");
        return Ok(());
    };
    let mut tx = core.store.tenant(issuer.tenant).await?;
    queries::hold(&mut tx, client).await?;
    replace(&mut tx, core, client, Some(&set)).await?;
    tx.commit_unpublished().await
}
