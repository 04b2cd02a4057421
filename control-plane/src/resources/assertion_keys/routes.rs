//! `/v1/tenants/{tenant}/assertion-keys`.

use http::StatusCode;
use ids::AssertionKeyId;

use super::types::{AssertionKey, AssertionKeyRotation};
use crate::{
    assertions::keys::{self, AssertionKey as StoredKey},
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::keys::State as KeyState,
    publish::commit::commit,
    resources::signing_keys::routes::not_rotated,
};

/// The keys with which the tenant's proxies sign what they assert to upstreams, ended ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/assertion-keys", operation_id = "list_assertion_keys", tag = "assertion_keys",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<AssertionKey>), Problems),
    security(("token" = ["signing_keys:read"])))]
pub async fn list(
    caller: InTenant<SigningKeysRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let all = keys::all(&mut core.store.tenant(caller.tenant).await?).await?;
    let (now, after) = (core.clock.now(), AssertionKeyId::from_uuid(paging.after_id()?));
    let fetch = usize::try_from(paging.fetch()).unwrap_or_default();
    let page = all.iter().filter(|key| key.id > after).take(fetch);
    let page = page.map(|key| AssertionKey::new(key, &all, now)).collect();
    paging.page(&core, page, |key: &AssertionKey| key.id)
}

/// Makes a key that takes over from the present one, which stays published for as long as a proxy may sign with it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/assertion-keys", operation_id = "rotate_assertion_keys", tag = "assertion_keys",
    params(TenantPath, Wait), request_body = AssertionKeyRotation,
    responses((status = 201, description = "Made", body = AssertionKey), Problems),
    security(("token" = ["signing_keys:write"])))]
pub async fn rotate(
    caller: InTenant<SigningKeysWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(rotation): Json<AssertionKeyRotation>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let id = keys::rotate(&mut tx, &core, rotation.at_once).await.map_err(not_rotated)?;
    let (_, key) = one(&mut tx, &core, id).await?;
    let published = commit(tx, &core, &caller.act("rotate_assertion_keys", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::with(StatusCode::CREATED, &key)?).await
}

/// A key of assertions.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/assertion-keys/{assertion_key}", operation_id = "get_assertion_key",
    tag = "assertion_keys", params(TenantPath, ("assertion_key" = String, Path, description = "Id (`ask_…`)")),
    responses((status = 200, description = "The key", body = AssertionKey), Problems),
    security(("token" = ["signing_keys:read"])))]
pub async fn get(
    caller: InTenant<SigningKeysRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<AssertionKeyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&one(&mut tx, &core, id).await?.1)
}

/// Revokes a key: no proxy signs with it, and servers that fetch the keys refuse what it signed. The one that signs cannot be: rotate
/// at once first.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/assertion-keys/{assertion_key}", operation_id = "revoke_assertion_key",
    tag = "assertion_keys", params(TenantPath, IfMatch, ("assertion_key" = String, Path, description = "Id (`ask_…`)"), Wait),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["signing_keys:write"])))]
pub async fn revoke(
    caller: InTenant<SigningKeysWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<AssertionKeyId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let (state, key) = one(&mut tx, &core, id).await?;
    if_match.check(&key)?;
    if state == KeyState::Active {
        return Err(ApiError::Conflict("this key signs; rotate at once, then revoke it"));
    }
    keys::revoke(&mut tx, &core, id).await?;
    let published = commit(tx, &core, &caller.act("revoke_assertion_key", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn one(
    tx: &mut TenantTx,
    core: &Core,
    id: AssertionKeyId,
) -> Result<(KeyState, AssertionKey), ApiError> {
    let (all, now) = (keys::all(tx).await?, core.clock.now());
    let key: &StoredKey = all.iter().find(|key| key.id == id).ok_or(ApiError::NotFound)?;
    Ok((key.state(&all, now), AssertionKey::new(key, &all, now)))
}
