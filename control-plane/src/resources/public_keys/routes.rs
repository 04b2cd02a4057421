//! `/v1/tenants/{tenant}/clients/{client}/public-keys`.

use crypto::jwt::{Jwk, JwkSet};
use http::StatusCode;
use ids::{ClientId, PublicKeyId};

use super::{
    queries,
    types::{PublicKey, PublicKeyNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    oauth::keys::ensure,
    publish::commit::commit,
    resources::{clients, fields::check_not_after},
};

/// Keys of a client.
const MOST: i64 = 16;

/// The client's public keys, expired ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/public-keys", operation_id = "list_public_keys",
    tag = "public_keys", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<PublicKey>), Problems),
    security(("token" = ["client_secrets:read"])))]
pub async fn list(
    caller: InTenant<ClientSecretsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    clients::client(&mut tx, client).await?;
    let keys = queries::list(&mut tx, client, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, keys, |key| key.id)
}

/// Makes a public key known: what the client signs with the private half authenticates it at the tenant's issuer. A client may have
/// sixteen.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients/{client}/public-keys", operation_id = "create_public_key",
    tag = "public_keys", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"), Wait),
    request_body = PublicKeyNew, responses((status = 201, description = "Made", body = PublicKey), Problems),
    security(("token" = ["client_secrets:write"])))]
pub async fn create(
    caller: InTenant<ClientSecretsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    Query(wait): Query<Wait>,
    Json(new): Json<PublicKeyNew>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let PublicKeyNew { name, mut key, not_after } = new;
    check_not_after(not_after, now)?;
    let id = PublicKeyId::from_parts(now.millis(), core.entropy.bytes());
    if key.kid.is_empty() {
        key.kid = id.to_string();
    }
    let read = JwkSet { keys: vec![key] }.read();
    let read = read.map_err(|(_, error)| ApiError::invalid("/key", error.to_string()))?;
    let (kid, public) = read.into_iter().next().ok_or(ApiError::NotFound)?;
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    clients::may_prove_itself(&mut tx, client).await?;
    if queries::count(&mut tx, client).await? >= MOST {
        return Err(ApiError::Conflict("the client has sixteen public keys; delete some"));
    }
    ensure(&mut tx, &core).await?;
    let made = PublicKey {
        id,
        client_id: client,
        name,
        key: Jwk::new(kid.as_str(), &public),
        created_at: now.to_offset(),
        not_after,
    };
    queries::insert(&mut tx, &made, (kid.as_str(), &public)).await?;
    let published = commit(tx, &core, &caller.act("create_public_key", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &made)?)
        .await
}

/// A public key.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/public-keys/{public_key}",
    operation_id = "get_public_key", tag = "public_keys",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("public_key" = String, Path, description = "Id (`pub_…`)")),
    responses((status = 200, description = "The key", body = PublicKey), Problems),
    security(("token" = ["client_secrets:read"])))]
pub async fn get(
    caller: InTenant<ClientSecretsRead>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<PublicKeyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, client, id).await?)
}

/// Deletes a public key: what is signed with its private half is not accepted any more. Tokens that were given for it live on until they
/// expire.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}/public-keys/{public_key}",
    operation_id = "delete_public_key", tag = "public_keys",
    params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"),
        ("public_key" = String, Path, description = "Id (`pub_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["client_secrets:write"])))]
pub async fn delete(
    caller: InTenant<ClientSecretsWrite>,
    State(core): State<Core>,
    OfPath(client): OfPath<ClientId>,
    OfPath(id): OfPath<PublicKeyId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::get(&mut tx, client, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_public_key", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
