//! `/v1/global/rollout`.

use std::time::Duration;

use super::types::{GlobalRevert, GlobalRollout, GlobalRolloutAct, GlobalRolloutSettings};
use crate::{
    audit::Act,
    db::OperatorTx,
    global::{
        State as Phase, queries as rows,
        rollout::{self, Rollout},
    },
    http::prelude::*,
};

const MAX_SOAK: u32 = 86_400;

async fn shown(core: &Core, tx: &mut OperatorTx, rollout: &Rollout) -> Result<GlobalRollout, ApiError> {
    Ok(GlobalRollout::new(rollout, &rows::fleet(tx, core.clock.now()).await?))
}

/// The row, if it is what the caller looked at.
async fn looked_at(tx: &mut OperatorTx, target_rev: u64) -> Result<Rollout, ApiError> {
    let rollout = rows::lock(tx).await?;
    if rollout.target_rev == target_rev { Ok(rollout) } else { Err(ApiError::PreconditionFailed) }
}

async fn done(core: &Core, mut tx: OperatorTx, rollout: &Rollout, act: &Act) -> Result<Reply, ApiError> {
    let shown = shown(core, &mut tx, rollout).await?;
    rollout::commit(tx, core, act).await?;
    Reply::resource(&shown)
}

/// How far the newest revision of the fleet's configuration is.
#[utoipa::path(get, path = "/v1/global/rollout", operation_id = "get_global_rollout", tag = "global",
    responses((status = 200, description = "The rollout", body = GlobalRollout), Problems),
    security(("token" = ["operator"])))]
pub async fn get(_: Operator, State(core): State<Core>) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let rollout = rows::rollout(&mut tx).await?;
    Reply::resource(&shown(&core, &mut tx, &rollout).await?)
}

/// Changes how long each stage has to hold, from the present one on.
#[utoipa::path(patch, path = "/v1/global/rollout", operation_id = "update_global_rollout", tag = "global",
    params(IfMatch), request_body(content = GlobalRolloutSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = GlobalRollout), Problems),
    security(("token" = ["operator"])))]
pub async fn update(
    operator: Operator,
    State(core): State<Core>,
    if_match: IfMatch,
    patch: MergePatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let mut rollout = rows::lock(&mut tx).await?;
    if_match.check(&shown(&core, &mut tx, &rollout).await?)?;
    let present =
        GlobalRolloutSettings { soak_seconds: u32::try_from(rollout.soak.as_secs()).unwrap_or(MAX_SOAK) };
    let settings: GlobalRolloutSettings = patch.apply(&present)?;
    if settings.soak_seconds > MAX_SOAK {
        return Err(ApiError::invalid("/soak_seconds", "must be at most 86400"));
    }
    rollout.soak = Duration::from_secs(u64::from(settings.soak_seconds));
    rows::store(&mut tx, &rollout).await?;
    let act = operator.act("update_global_rollout", format_args!("soak {} s", settings.soak_seconds));
    done(&core, tx, &rollout, &act).await
}

/// Goes on to the next stage at once, whether or not the present one has held; also from where it was halted. After the last
/// stage the revision is complete.
#[utoipa::path(post, path = "/v1/global/rollout/promote", operation_id = "promote_global_rollout", tag = "global",
    request_body = GlobalRolloutAct,
    responses((status = 200, description = "Promoted", body = GlobalRollout), Problems),
    security(("token" = ["operator"])))]
pub async fn promote(
    operator: Operator,
    State(core): State<Core>,
    Json(asked): Json<GlobalRolloutAct>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let mut rollout = looked_at(&mut tx, asked.target_rev).await?;
    if !rollout.state.is_under_way() {
        return Err(ApiError::Conflict("no revision is on its way"));
    }
    rollout::promote(&mut tx, &mut rollout, core.clock.now()).await?;
    let target = format!("{} {} % {}", asked.target_rev, rollout.stage.percent, asked.reason);
    done(&core, tx, &rollout, &operator.act("promote_global_rollout", target)).await
}

/// Keeps the rollout where it is. It goes on when it is promoted.
#[utoipa::path(post, path = "/v1/global/rollout/halt", operation_id = "halt_global_rollout", tag = "global",
    request_body = GlobalRolloutAct,
    responses((status = 200, description = "Halted", body = GlobalRollout), Problems),
    security(("token" = ["operator"])))]
pub async fn halt(
    operator: Operator,
    State(core): State<Core>,
    Json(asked): Json<GlobalRolloutAct>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let mut rollout = looked_at(&mut tx, asked.target_rev).await?;
    if !rollout.state.is_under_way() {
        return Err(ApiError::Conflict("no revision is on its way"));
    }
    (rollout.state, rollout.reason) = (Phase::Halted, Some(asked.reason.to_string()));
    rows::store(&mut tx, &rollout).await?;
    let target = format!("{} {}", asked.target_rev, asked.reason);
    done(&core, tx, &rollout, &operator.act("halt_global_rollout", target)).await
}

/// Makes a revision with the content of an earlier one. While a rollout is under way it takes back, at once, the proxies that
/// the stage reaches; otherwise it goes in stages as any other, unless every proxy has that content already.
#[utoipa::path(post, path = "/v1/global/rollout/revert", operation_id = "revert_global", tag = "global",
    request_body = GlobalRevert,
    responses((status = 200, description = "Reverted", body = GlobalRollout), Problems),
    security(("token" = ["operator"])))]
pub async fn revert(
    operator: Operator,
    State(core): State<Core>,
    Json(asked): Json<GlobalRevert>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let mut rollout = looked_at(&mut tx, asked.target_rev).await?;
    let act = operator.act("revert_global", format_args!("{} {}", asked.target_rev, asked.reason));
    let now = core.clock.now();
    match (rollout.state.is_under_way(), asked.rev) {
        (true, None) => {
            let reason = asked.reason.to_string();
            rollout::roll_back(&mut tx, &mut rollout, reason, act.actor, now).await?;
        }
        (true, Some(_)) => {
            return Err(ApiError::Conflict("a revision is on its way; revert that first, without `rev`"));
        }
        (false, None) => return Err(ApiError::invalid("/rev", "is needed while no revision is on its way")),
        (false, Some(rev)) => {
            if rev == 0 || rev > rollout.target_rev {
                return Err(ApiError::invalid("/rev", "is no revision"));
            }
            let content = rows::revision(&mut tx, rev).await?.snapshot;
            rollout::begin(&mut tx, &mut rollout, content, Some(rev), act.actor, now).await?;
        }
    }
    done(&core, tx, &rollout, &act).await
}
