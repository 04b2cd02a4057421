//! `/v1/global`.

use super::{
    queries,
    types::{Global, GlobalRevision, GlobalSettings},
};
use crate::{
    db::OperatorTx,
    global::{
        queries as rows,
        rollout::{self, Revision, Rollout},
    },
    http::{page::PageQuery, prelude::*},
};

/// The newest revision, or what is in force without any.
pub(super) async fn newest(tx: &mut OperatorTx, rollout: &Rollout) -> Result<Revision, ApiError> {
    match rollout.target_rev {
        0 => Ok(Revision::none()),
        rev => Ok(rows::revision(tx, rev).await?),
    }
}

/// The fleet's configuration. Its newest revision may be on its way: see its rollout.
#[utoipa::path(get, path = "/v1/global", operation_id = "get_global", tag = "global",
    responses((status = 200, description = "The configuration", body = Global), Problems),
    security(("token" = ["operator"])))]
pub async fn get(_: Operator, State(core): State<Core>) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let rollout = rows::rollout(&mut tx).await?;
    Reply::resource(&Global::from(&newest(&mut tx, &rollout).await?))
}

/// Changes the fleet's configuration: makes a revision, which reaches the proxies in stages. Conflicts while an earlier one is
/// on its way.
#[utoipa::path(patch, path = "/v1/global", operation_id = "update_global", tag = "global", params(IfMatch),
    request_body(content = GlobalSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Global), Problems),
    security(("token" = ["operator"])))]
pub async fn update(
    operator: Operator,
    State(core): State<Core>,
    if_match: IfMatch,
    patch: MergePatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let mut rollout = rows::lock(&mut tx).await?;
    let present = Global::from(&newest(&mut tx, &rollout).await?);
    if_match.check(&present)?;
    if rollout.state.is_under_way() {
        return Err(ApiError::Conflict("a revision is on its way; promote it to the end or revert it first"));
    }
    let settings: GlobalSettings = patch.apply(&present.settings)?;
    let content = settings.compile()?;
    let act = operator.act("update_global", rollout.target_rev + 1);
    let now = core.clock.now();
    let made = rollout::begin(&mut tx, &mut rollout, content, None, act.actor, now).await?;
    rollout::commit(tx, &core, &act).await?;
    Reply::resource(&Global::from(&made))
}

/// Every revision, newest first.
#[utoipa::path(get, path = "/v1/global/revisions", operation_id = "list_global_revisions", tag = "global",
    params(PageQuery), responses((status = 200, description = "A page", body = Page<GlobalRevision>), Problems),
    security(("token" = ["operator"])))]
pub async fn revisions(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let before = match paging.after() {
        None => i64::MAX,
        Some(bytes) => i64::from_be_bytes(bytes.try_into().map_err(|_| ApiError::CursorInvalid)?),
    };
    let mut tx = core.store.operator().await?;
    let revisions = queries::list(&mut tx, before, paging.fetch()).await?;
    paging.page_by(&core, revisions, |revision| revision.global.rev.to_be_bytes().to_vec())
}
