//! `/v1/pools`.

use http::StatusCode;
use ids::PoolId;

use super::{
    queries,
    types::{Pool, PoolNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_operator,
};

/// All pools, in order of creation.
#[utoipa::path(get, path = "/v1/pools", operation_id = "list_pools", tag = "pools", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<Pool>), Problems), security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let pools = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, pools, |pool| pool.id)
}

/// Makes a pool.
#[utoipa::path(post, path = "/v1/pools", operation_id = "create_pool", tag = "pools", request_body = PoolNew,
    responses((status = 201, description = "Made", body = Pool), Problems), security(("token" = ["operator"])))]
pub async fn create(
    operator: Operator,
    State(core): State<Core>,
    Json(new): Json<PoolNew>,
) -> Result<Reply, ApiError> {
    let now = core.clock.now();
    let id = PoolId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.operator().await?;
    queries::insert(&mut tx, id, new.slug.as_str(), now.to_offset()).await?;
    let pool = queries::get(&mut tx, id).await?;
    commit_operator(tx, &core, &operator.act("create_pool", id), None).await?;
    Reply::with(StatusCode::CREATED, &pool)
}

/// A pool.
#[utoipa::path(get, path = "/v1/pools/{pool}", operation_id = "get_pool", tag = "pools",
    params(("pool" = String, Path, description = "Id (`pool_…`)")),
    responses((status = 200, description = "The pool", body = Pool), Problems), security(("token" = ["operator"])))]
pub async fn get(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<PoolId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}
