//! `/v1/join-tokens`.

use crypto::{ExposeSecret, join};
use ids::JoinTokenId;

use super::{
    queries,
    types::{JoinToken, JoinTokenMade, JoinTokenNew},
};
use crate::{
    fleet::{FleetError, ca},
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_operator,
};

/// All join tokens, used and ended ones too, in order of creation.
#[utoipa::path(get, path = "/v1/join-tokens", operation_id = "list_join_tokens", tag = "proxies", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<JoinToken>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let tokens = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, tokens, |token| token.id)
}

/// Makes a join token, with which one proxy can enrol once. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/join-tokens", operation_id = "create_join_token", tag = "proxies",
    request_body = JoinTokenNew, responses((status = 201, description = "Made", body = JoinTokenMade), Problems),
    security(("token" = ["operator"])))]
pub async fn create(
    operator: Operator,
    State(core): State<Core>,
    Json(new): Json<JoinTokenNew>,
) -> Result<Reply, ApiError> {
    let now = core.clock.now();
    let not_after = new.end(now)?;
    let ca_key_hash = ca::key_hash(&core).await.map_err(|error| match error {
        FleetError::Store(error) => error.into(),
        error => ApiError::internal(error),
    })?;
    let minted = join::mint(&ca_key_hash, &*core.entropy);
    let presented = join::parse(minted.text.expose_secret()).map_err(ApiError::internal)?;
    let hash = core.secrets.hash_token(&presented.token);
    let token = JoinToken {
        id: JoinTokenId::from_parts(now.millis(), core.entropy.bytes()),
        pool: new.pool,
        created_at: now.to_offset(),
        not_after,
        used_at: None,
        used_by: None,
    };
    let mut tx = core.store.operator().await?;
    let pool = queries::pool_by_slug(&mut tx, &token.pool).await?;
    let pool = pool.ok_or_else(|| ApiError::invalid("/pool", "no such pool"))?;
    queries::insert(&mut tx, &token, pool, &minted.lookup, &hash).await?;
    commit_operator(tx, &core, &operator.act("create_join_token", token.id), None).await?;
    Reply::secret(&JoinTokenMade { made: token, token: minted.text.expose_secret().to_owned() }, "token")
}

/// Deletes a join token: nobody can enrol with it any more. A proxy that did keeps its place.
#[utoipa::path(delete, path = "/v1/join-tokens/{join_token}", operation_id = "delete_join_token", tag = "proxies",
    params(IfMatch, ("join_token" = String, Path, description = "Id (`jt_…`)")),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["operator"])))]
pub async fn delete(
    operator: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<JoinTokenId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    if_match.check(&queries::lock(&mut tx, id).await?)?;
    queries::delete(&mut tx, id).await?;
    commit_operator(tx, &core, &operator.act("delete_join_token", id), None).await?;
    Ok(Reply::nothing())
}
