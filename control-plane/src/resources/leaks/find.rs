//! Whose a credential is that somebody shows, and its end.

use crypto::{KeyKind, Presented, Zeroizing, key, password};
use ids::TenantId;
use wire::kill::Credential;

use super::{queries, types::LeakOutcome};
use crate::{
    app::Core, audit::Act, data_keys, db::TenantTx, http::problem::ApiError,
    publish::commit::commit_revoking, resources::admin_tokens,
};

/// Kinds that are looked for.
const KINDS: [KeyKind; 5] = [
    KeyKind::ApiKey,
    KeyKind::ClientSecret,
    KeyKind::AdminToken,
    KeyKind::InitialAccessToken,
    KeyKind::OperatorToken,
];

/// Ends what `text` is. `act`: of whom it is told when something of theirs has ended, with what that was.
pub(super) async fn end(
    core: &Core,
    text: &str,
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    let found = KINDS.into_iter().find_map(|kind| Some((kind, key::parse(kind, text).ok()?)));
    let Some((kind, presented)) = found else { return Ok(LeakOutcome::Unknown) };
    match kind {
        KeyKind::ApiKey => api_key(core, &presented, act).await,
        KeyKind::ClientSecret => client_secret(core, (text, &presented), act).await,
        KeyKind::AdminToken => admin_token(core, &presented, act).await,
        KeyKind::InitialAccessToken => initial_access_token(core, &presented, act).await,
        _ => operator_token(core, &presented).await,
    }
}

async fn api_key(
    core: &Core,
    presented: &Presented<'_>,
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    let mut tx = core.store.auth().await?;
    let candidates = queries::api_keys(&mut tx, presented.lookup).await?;
    drop(tx);
    for (tenant, id) in candidates {
        // Nobody waits for the tenant's turn to write who has nothing of it.
        let mut tx = core.store.tenant(tenant).await?;
        let Some(stored) = queries::api_key(&mut tx, id).await? else { continue };
        let data_key = data_keys::get(&mut tx, core, stored.data_key).await?;
        drop(tx);
        if data_key.key_hasher().verify(presented, &stored.hash) {
            if stored.revoked {
                return Ok(LeakOutcome::Revoked);
            }
            let mut tx = core.store.tenant_for_write(tenant).await?;
            let ended = queries::end_api_key(&mut tx, id, core.clock.now().to_offset()).await?;
            let dead = Credential::Key(tenant, id);
            return settle(core, tx, ended, (id.to_string(), dead.into()), act).await;
        }
    }
    Ok(LeakOutcome::Unknown)
}

/// With what it was good for: the tokens that the client has been given. One that has ended is not even looked at: nobody keeps those
/// busy who hash with what is worth nothing.
async fn client_secret(
    core: &Core,
    (text, presented): (&str, &Presented<'_>),
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    let mut tx = core.store.auth().await?;
    let candidates = queries::client_secrets(&mut tx, presented.lookup).await?;
    drop(tx);
    for (tenant, id) in candidates {
        let mut tx = core.store.tenant(tenant).await?;
        let now = core.clock.now().to_offset();
        let stored = queries::live_client_secret(&mut tx, id, now).await?;
        // No transaction waits for the hash, which is slow on purpose.
        drop(tx);
        let Some((client, hash)) = stored else { continue };
        let given = Zeroizing::new(text.to_owned());
        let fits = core.hashing.run(move || password::verify(given.as_bytes(), &hash)).await?;
        if fits.map_err(ApiError::internal)? {
            let mut tx = core.store.tenant_for_write(tenant).await?;
            let ended = queries::end_client_secret(&mut tx, id, core.clock.now().to_offset()).await?;
            let dead = Credential::TokensOf(tenant, client);
            return settle(core, tx, ended, (id.to_string(), dead.into()), act).await;
        }
    }
    Ok(LeakOutcome::Unknown)
}

async fn admin_token(
    core: &Core,
    presented: &Presented<'_>,
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    let mut tx = core.store.auth().await?;
    let candidates = queries::admin_tokens(&mut tx, presented.lookup).await?;
    drop(tx);
    for (tenant, id, hash) in candidates {
        if core.secrets.verify_token(presented, &hash) {
            if !queries::is_live_admin_token(&mut core.store.tenant(tenant).await?, id).await? {
                return Ok(LeakOutcome::Revoked);
            }
            let mut tx = core.store.tenant_for_write(tenant).await?;
            let now = core.clock.now().to_offset();
            let ended = queries::end_admin_token(&mut tx, id, now).await?;
            // Whoever found it may have used it.
            admin_tokens::end_of(&mut tx, &id.to_string(), now).await?;
            return settle(core, tx, ended, (id.to_string(), None), act).await;
        }
    }
    Ok(LeakOutcome::Unknown)
}

async fn initial_access_token(
    core: &Core,
    presented: &Presented<'_>,
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    let mut tx = core.store.auth().await?;
    let candidates = queries::initial_access_tokens(&mut tx, presented.lookup).await?;
    drop(tx);
    for (tenant, id) in candidates {
        let mut tx = core.store.tenant(tenant).await?;
        let Some(hash) = queries::initial_access_token(&mut tx, id).await? else { continue };
        drop(tx);
        if core.secrets.verify_token(presented, &hash) {
            let mut tx = core.store.tenant_for_write(tenant).await?;
            let ended = queries::end_initial_access_token(&mut tx, id).await?;
            return settle(core, tx, ended, (id.to_string(), None), act).await;
        }
    }
    Ok(LeakOutcome::Unknown)
}

/// Ending one could leave the installation without anybody who may repair it.
async fn operator_token(core: &Core, presented: &Presented<'_>) -> Result<LeakOutcome, ApiError> {
    let mut tx = core.store.auth().await?;
    let hashes = queries::operator_tokens(&mut tx, presented.lookup).await?;
    drop(tx);
    if !hashes.iter().any(|hash| core.secrets.verify_token(presented, hash)) {
        return Ok(LeakOutcome::Unknown);
    }
    tracing::error!("an operator token was reported as leaked: replace it");
    Ok(LeakOutcome::OperatorsTold)
}

async fn settle(
    core: &Core,
    tx: TenantTx,
    ended: bool,
    (target, dead): (String, Option<Credential>),
    act: impl Fn(String) -> Act,
) -> Result<LeakOutcome, ApiError> {
    if ended {
        let tenant: TenantId = tx.tenant();
        tracing::warn!(portcullis.tenant.id = %tenant, credential = target, "a credential was reported as leaked, and ended");
        commit_revoking(tx, core, &act(target), dead).await?;
    }
    Ok(LeakOutcome::Revoked)
}
