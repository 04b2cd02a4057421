//! `/v1/tenants/{tenant}/registration/tokens`.

use crypto::{ExposeSecret, KeyKind, key};
use ids::InitialAccessTokenId;

use super::{
    queries,
    types::{InitialAccessToken, InitialAccessTokenMade, InitialAccessTokenNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_unpublished,
};

/// Tokens of a tenant that can still be used.
const MAX_LIVE: i64 = 100;

/// All initial access tokens, used up and ended ones too, in order of creation.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/registration/tokens", operation_id = "list_initial_access_tokens",
    tag = "registration", params(TenantPath, PageQuery),
    responses((status = 200, description = "A page", body = Page<InitialAccessToken>), Problems),
    security(("token" = ["registration:read"])))]
pub async fn list(
    caller: InTenant<RegistrationRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let tokens = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, tokens, |token| token.id)
}

/// Makes a token with which clients may be registered. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/registration/tokens", operation_id = "create_initial_access_token",
    tag = "registration", params(TenantPath), request_body = InitialAccessTokenNew,
    responses((status = 201, description = "Made", body = InitialAccessTokenMade), Problems),
    security(("token" = ["registration:write"])))]
pub async fn create(
    caller: InTenant<RegistrationWrite>,
    State(core): State<Core>,
    Json(new): Json<InitialAccessTokenNew>,
) -> Result<Reply, ApiError> {
    let now = core.clock.now();
    let not_after = new.end(now)?;
    let minted = key::mint(KeyKind::InitialAccessToken, &*core.entropy);
    let presented = key::parse(KeyKind::InitialAccessToken, minted.text.expose_secret());
    let hash = core.secrets.hash_token(&presented.map_err(ApiError::internal)?);
    let token = InitialAccessToken {
        id: InitialAccessTokenId::from_parts(now.millis(), core.entropy.bytes()),
        name: new.name,
        lookup: minted.lookup.clone(),
        max_uses: new.max_uses,
        uses: 0,
        created_at: now.to_offset(),
        not_after,
        last_used_at: None,
    };
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if queries::live(&mut tx, now.to_offset()).await? >= MAX_LIVE {
        return Err(ApiError::Conflict("the tenant has a hundred tokens that can be used; delete some"));
    }
    queries::insert(&mut tx, &token, &hash).await?;
    commit_unpublished(tx, &core, &caller.act("create_initial_access_token", token.id)).await?;
    let body = InitialAccessTokenMade { made: token, token: minted.text.expose_secret().to_owned() };
    Reply::secret(&body, "token")
}

/// Deletes a token: no client can be registered with it any more. Those that were stay.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/registration/tokens/{initial_access_token}",
    operation_id = "delete_initial_access_token", tag = "registration",
    params(TenantPath, IfMatch, ("initial_access_token" = String, Path, description = "Id (`iat_…`)")),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["registration:write"])))]
pub async fn delete(
    caller: InTenant<RegistrationWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<InitialAccessTokenId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    commit_unpublished(tx, &core, &caller.act("delete_initial_access_token", id)).await?;
    Ok(Reply::nothing())
}
