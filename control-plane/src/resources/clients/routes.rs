//! `/v1/tenants/{tenant}/clients`.

use http::StatusCode;
use ids::ClientId;
use wire::kill::Credential;

use super::{
    queries,
    types::{Client, ClientSettings},
};
use crate::{
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    oauth::keys,
    publish::commit::{commit, commit_revoking},
};

/// All clients, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients", operation_id = "list_clients", tag = "clients",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Client>), Problems),
    security(("token" = ["clients:read"])))]
pub async fn list(
    caller: InTenant<ClientsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let clients = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, clients, |client| client.id)
}

/// Makes a client. It has no key, no endpoint and no grant yet.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/clients", operation_id = "create_client", tag = "clients",
    params(TenantPath, Wait), request_body = ClientSettings,
    responses((status = 201, description = "Made", body = Client), Problems),
    security(("token" = ["clients:write"])))]
pub async fn create(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(settings): Json<ClientSettings>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let id = ClientId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::insert(&mut tx, id, &settings, now.to_offset()).await?;
    ready_for_users(&mut tx, &core, &settings).await?;
    let client = queries::get(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("create_client", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &client)?)
        .await
}

/// A client.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}", operation_id = "get_client", tag = "clients",
    params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)")),
    responses((status = 200, description = "The client", body = Client), Problems),
    security(("token" = ["clients:read"])))]
pub async fn get(
    caller: InTenant<ClientsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Changes a client. The access tokens of one that is disabled end within the kill switch's bound, for good.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/clients/{client}", operation_id = "update_client", tag = "clients",
    params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"), Wait),
    request_body(content = ClientSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Client), Problems),
    security(("token" = ["clients:write"])))]
pub async fn update(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, id).await?;
    if_match.check(&present)?;
    let settings = patch.apply(&present.settings)?;
    let now = core.clock.now().to_offset();
    if settings.public && !present.settings.public && queries::proves_itself(&mut tx, id, now).await? {
        return Err(ApiError::Conflict("the client has secrets or keys; end them before it is public"));
    }
    queries::update(&mut tx, id, &settings, now).await?;
    ready_for_users(&mut tx, &core, &settings).await?;
    let client = queries::get(&mut tx, id).await?;
    // Once it is disabled its tokens end, also for when it is enabled again; its keys work again then.
    let dead =
        (present.settings.enabled && !settings.enabled).then_some(Credential::TokensOf(caller.tenant, id));
    let published = commit_revoking(tx, &core, &caller.act("update_client", id), dead).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&client)?).await
}

/// A client whose users sign in is given tokens without ever having had a secret: the tenant's issuer needs a key to sign them.
async fn ready_for_users(tx: &mut TenantTx, core: &Core, settings: &ClientSettings) -> Result<(), ApiError> {
    if settings.public || !settings.redirect_uris.is_empty() {
        keys::ensure(tx, core).await?;
    }
    Ok(())
}

/// Deletes a client with its keys, grants and limits. Its keys are dead within the kill switch's bound.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/clients/{client}", operation_id = "delete_client", tag = "clients",
    params(TenantPath, IfMatch, ("client" = String, Path, description = "Id (`cl_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["clients:write"])))]
pub async fn delete(
    caller: InTenant<ClientsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    let dead = Credential::Client(caller.tenant, id);
    let published = commit_revoking(tx, &core, &caller.act("delete_client", id), Some(dead)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
