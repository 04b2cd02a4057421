//! `/v1/tenants/{tenant}/signing-keys`.

use http::StatusCode;
use ids::SigningKeyId;

use super::types::{SigningKey, SigningKeyRotation};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::keys::{self, RotateError, State as KeyState, StoredKey},
    publish::commit::commit,
};

/// The keys with which the tenant's issuer signs, ended ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/signing-keys", operation_id = "list_signing_keys", tag = "signing_keys",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<SigningKey>), Problems),
    security(("token" = ["signing_keys:read"])))]
pub async fn list(
    caller: InTenant<SigningKeysRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let all = keys::all(&mut core.store.tenant(caller.tenant).await?).await?;
    let (now, after) = (core.clock.now(), SigningKeyId::from_uuid(paging.after_id()?));
    let fetch = usize::try_from(paging.fetch()).unwrap_or_default();
    let page = all.iter().filter(|key| key.id > after).take(fetch);
    let page = page.map(|key| SigningKey::new(key, &all, now)).collect();
    paging.page(&core, page, |key: &SigningKey| key.id)
}

/// Makes a key that takes over from the present one, which stays published until all that it signed has ended.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/signing-keys", operation_id = "rotate_signing_keys", tag = "signing_keys",
    params(TenantPath, Wait), request_body = SigningKeyRotation,
    responses((status = 201, description = "Made", body = SigningKey), Problems),
    security(("token" = ["signing_keys:write"])))]
pub async fn rotate(
    caller: InTenant<SigningKeysWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(rotation): Json<SigningKeyRotation>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let algorithm = rotation.algorithm.map(Into::into);
    let id = keys::rotate(&mut tx, &core, algorithm, rotation.at_once).await.map_err(not_rotated)?;
    let (_, key) = one(&mut tx, &core, id).await?;
    let published = commit(tx, &core, &caller.act("rotate_signing_keys", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::with(StatusCode::CREATED, &key)?).await
}

/// Why there is no new key.
pub(crate) fn not_rotated(error: RotateError) -> ApiError {
    match error {
        RotateError::Upcoming => {
            ApiError::Conflict("a key that follows is published already; wait for it, or rotate at once")
        }
        RotateError::TooMany => {
            ApiError::Conflict("eight keys are published already; revoke those that sign no more")
        }
        RotateError::Store(error) => error.into(),
        RotateError::Unmade(_) => ApiError::internal(error),
    }
}

/// A signing key.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/signing-keys/{signing_key}", operation_id = "get_signing_key",
    tag = "signing_keys", params(TenantPath, ("signing_key" = String, Path, description = "Id (`sig_…`)")),
    responses((status = 200, description = "The key", body = SigningKey), Problems),
    security(("token" = ["signing_keys:read"])))]
pub async fn get(
    caller: InTenant<SigningKeysRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<SigningKeyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&one(&mut tx, &core, id).await?.1)
}

/// Revokes a key: all that it signed is refused at once. The one that signs cannot be: rotate at once first.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/signing-keys/{signing_key}", operation_id = "revoke_signing_key",
    tag = "signing_keys", params(TenantPath, IfMatch, ("signing_key" = String, Path, description = "Id (`sig_…`)"), Wait),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["signing_keys:write"])))]
pub async fn revoke(
    caller: InTenant<SigningKeysWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<SigningKeyId>,
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
    let published = commit(tx, &core, &caller.act("revoke_signing_key", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn one(tx: &mut TenantTx, core: &Core, id: SigningKeyId) -> Result<(KeyState, SigningKey), ApiError> {
    let (all, now) = (keys::all(tx).await?, core.clock.now());
    let key: &StoredKey = all.iter().find(|key| key.id == id).ok_or(ApiError::NotFound)?;
    Ok((key.state(&all, now), SigningKey::new(key, &all, now)))
}
