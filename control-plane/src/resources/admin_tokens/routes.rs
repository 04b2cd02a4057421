//! `/v1/tenants/{tenant}/admin-tokens`.

use crypto::{ExposeSecret, KeyKind, key};
use ids::AdminTokenId;

use super::{
    queries,
    types::{AdminToken, AdminTokenMade, AdminTokenNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
    resources::{fields::check_not_after, invitations},
};

/// All admin tokens, revoked ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/admin-tokens", operation_id = "list_admin_tokens", tag = "admin_tokens",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<AdminToken>), Problems),
    security(("token" = ["admin_tokens:read"])))]
pub async fn list(
    caller: InTenant<AdminTokensRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let tokens = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, tokens, |token| token.id)
}

/// Makes an admin token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/admin-tokens", operation_id = "create_admin_token", tag = "admin_tokens",
    params(TenantPath, Wait), request_body = AdminTokenNew,
    responses((status = 201, description = "Made", body = AdminTokenMade), Problems),
    security(("token" = ["admin_tokens:write"])))]
pub async fn create(
    caller: InTenant<AdminTokensWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<AdminTokenNew>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    if new.scopes.is_empty() || new.scopes.len() > 32 {
        return Err(ApiError::invalid("/scopes", "must be 1 to 32 scopes"));
    }
    if let Some(index) = new.scopes.iter().position(|scope| !caller.may_give(scope.as_str())) {
        return Err(ApiError::invalid(format!("/scopes/{index}"), "is more than your own token may do"));
    }
    check_not_after(new.not_after, now)?;
    if !caller.may_give_until(new.not_after) {
        return Err(ApiError::invalid("/not_after", "is later than the end of your own token"));
    }
    let mut scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let token = AdminToken {
        id: AdminTokenId::from_parts(now.millis(), core.entropy.bytes()),
        name: new.name,
        scopes,
        created_at: now.to_offset(),
        not_after: new.not_after,
        revoked_at: None,
    };
    let minted = key::mint(KeyKind::AdminToken, &*core.entropy);
    let presented =
        key::parse(KeyKind::AdminToken, minted.text.expose_secret()).map_err(ApiError::internal)?;
    let hash = core.secrets.hash_token(&presented);
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let act = caller.act("create_admin_token", token.id);
    queries::insert(&mut tx, &token, (&minted.lookup, &hash), &act.actor.to_string()).await?;
    let published = commit(tx, &core, &act).await?;
    let made = AdminTokenMade { made: token, token: minted.text.expose_secret().to_owned() };
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::secret(&made, "token")?).await
}

/// An admin token.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/admin-tokens/{admin_token}", operation_id = "get_admin_token",
    tag = "admin_tokens", params(TenantPath, ("admin_token" = String, Path, description = "Id (`adm_…`)")),
    responses((status = 200, description = "The token", body = AdminToken), Problems),
    security(("token" = ["admin_tokens:read"])))]
pub async fn get(
    caller: InTenant<AdminTokensRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<AdminTokenId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Revokes an admin token at once, and withdraws the invitations that were made with it. Tokens that were made with it stay: this is how one
/// takes the place of another.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/admin-tokens/{admin_token}", operation_id = "revoke_admin_token",
    tag = "admin_tokens", params(TenantPath, IfMatch, ("admin_token" = String, Path, description = "Id (`adm_…`)"), Wait),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["admin_tokens:write"])))]
pub async fn revoke(
    caller: InTenant<AdminTokensWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<AdminTokenId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::get(&mut tx, id).await?)?;
    queries::revoke(&mut tx, id, core.clock.now().to_offset()).await?;
    invitations::withdraw_of(&mut tx, &id.to_string()).await?;
    let published = commit(tx, &core, &caller.act("revoke_admin_token", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
