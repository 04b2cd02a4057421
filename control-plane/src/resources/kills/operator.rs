//! `/v1/kills`: the installation's kill switch. Kills need no Postgres: without it they go out at once and are stored later.

use http::StatusCode;
use ids::KillId;
use wire::kill;

use super::{
    queries,
    routes::{Audience, answer, detail, lifted, nothing_there, ordered, parse},
    types::{Kill, KillDetail, KillLift, Level, OperatorKillNew},
};
use crate::{
    audit::Act,
    db::StoreError,
    http::{page::PageQuery, prelude::*},
    kills::{self, Unsaved},
    publish::commit::commit_operator,
};

/// All kills, lifted ones and tenants' too, in the order in which they were made.
#[utoipa::path(get, path = "/v1/kills", operation_id = "list_all_kills", tag = "kills", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<Kill>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let kills = queries::list_all(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, kills, |kill| kill.id)
}

/// Stops anything, up to the whole fleet, at once and everywhere. While Postgres is away the configured operator token is
/// enough, what is named is not looked up, and the answer is 202: the kill is on its way, its row will be written. Once the
/// request has arrived whole, the kill is ordered also if its caller does not stay for the answer.
#[utoipa::path(post, path = "/v1/kills", operation_id = "create_any_kill", tag = "kills", params(Wait),
    request_body = OperatorKillNew,
    responses((status = 201, description = "Ordered", body = KillDetail),
        (status = 202, description = "Ordered, and not stored yet", body = KillDetail), Problems),
    security(("token" = ["operator"])))]
pub async fn create(
    operator: UrgentOperator,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<OperatorKillNew>,
) -> Result<Response, ApiError> {
    let OperatorKillNew { level, tenant_id, target, reason, drill } = new;
    let target = if level == Level::Fleet && tenant_id.is_none() && target.is_none() {
        kill::Target::Fleet
    } else {
        let tenant = tenant_id.ok_or_else(|| ApiError::invalid("/tenant_id", "is needed at this level"))?;
        parse(level, Some(tenant), target.as_deref())?
    };
    let now = core.clock.now();
    let id = KillId::from_parts(now.millis(), core.entropy.bytes());
    let act = operator.caller.act(kills::ORDERED_BY, format_args!("{id} {reason}"));
    let dry_run = act.ending.is_roll_back();
    let wait = wait.unless(dry_run);
    let kill = kill::Kill { id, target, drill, at: now };
    let stored = if operator.without_store {
        Err(StoreError::Unavailable("the caller could not be looked up".into()))
    } else {
        let storing = store(&core, &kill, reason.to_string(), &act);
        let patience = tokio::time::timeout(core.kills.patience(), storing).await;
        patience.unwrap_or_else(|_| Err(StoreError::Unavailable("it took too long".into())))
    };
    match stored {
        Ok(Some(kill)) => ordered(&core, kill, &wait, Audience::Operator).await,
        Ok(None) => Err(nothing_there()),
        // Whatever is wrong with the store: an operator's kill goes out. Its id makes storing it twice harmless.
        Err(error @ (StoreError::Unavailable(_) | StoreError::Bug(_))) if !dry_run => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(kill = %id, error.cause = cause, %error, "a kill is pushed without being stored");
            let ordering = core.kills.order_now(kill, reason.to_string(), act, &*core.entropy);
            ordering.await.map_err(|kills::Full| {
                ApiError::Conflict("too many kills wait for Postgres; kill what these are part of")
            })?;
            pushed(&core, id, &wait).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `None` if the tenant has nothing of that name.
async fn store(
    core: &Core,
    kill: &kill::Kill,
    reason: String,
    act: &Act,
) -> Result<Option<Kill>, StoreError> {
    if let Some(tenant) = kill.target.tenant() {
        let mut tx = core.store.operator().await?;
        if !queries::tenant_exists(&mut tx, tenant).await?
            || !queries::has(&mut tx.enter(tenant).await?, &kill.target).await?
        {
            return Ok(None);
        }
    }
    let mut tx = core.store.operator().await?;
    let epoch = kills::raise_as_operator(&mut tx, &core.kills).await?;
    let mut made = Kill::new(kill.id, &kill.target, kill.drill, reason, kill.at, Some(epoch));
    made.by_operator = true;
    queries::insert_any(&mut tx, &made, kills::level_name(kill.target.level()), &act.actor.to_string())
        .await?;
    commit_operator(tx, core, act, None).await?;
    core.kills.changed(core).await;
    Ok(Some(made))
}

/// Answers a kill that has no row yet.
async fn pushed(core: &Core, id: KillId, wait: &Wait) -> Result<Response, ApiError> {
    let unsaved = core.kills.unsaved(id).ok_or(ApiError::NotFound)?;
    let waited = match wait.within() {
        Some(within) => Some(core.kills.wait_here(core, &unsaved, within).await),
        None => None,
    };
    answer(StatusCode::ACCEPTED, &unsaved_detail(core, &unsaved), waited)
}

fn unsaved_detail(core: &Core, unsaved: &Unsaved) -> KillDetail {
    let ordered = &unsaved.kill;
    let mut kill =
        Kill::new(ordered.id, &ordered.target, ordered.drill, unsaved.reason.clone(), ordered.at, None);
    kill.by_operator = true;
    let acknowledgement = core.kills.acknowledgement_here(unsaved);
    KillDetail { kill, acknowledgement, lift_acknowledgement: None }
}

/// A kill, and how far each proxy is with it. Of one that has no row yet, the proxies connected to this control plane.
#[utoipa::path(get, path = "/v1/kills/{kill}", operation_id = "get_any_kill", tag = "kills",
    params(("kill" = String, Path, description = "Id (`kill_…`)")),
    responses((status = 200, description = "The kill", body = KillDetail), Problems),
    security(("token" = ["operator"])))]
pub async fn get(
    operator: UrgentOperator,
    State(core): State<Core>,
    OfPath(id): OfPath<KillId>,
) -> Result<Reply, ApiError> {
    if let Some(unsaved) = core.kills.unsaved(id) {
        return Reply::resource(&unsaved_detail(&core, &unsaved));
    }
    if operator.without_store {
        return Err(StoreError::Unavailable("the caller could not be looked up".into()).into());
    }
    let kill = queries::get_any(&mut core.store.operator().await?, id).await?;
    Reply::resource(&detail(&core, kill, Audience::Operator).await?)
}

/// Lifts any kill. May be repeated: proxies that were away long then hear of it again. A kill that came to proxies by
/// offline order is not known here; it is lifted by its id, with epoch 0.
#[utoipa::path(post, path = "/v1/kills/{kill}/lift", operation_id = "lift_any_kill", tag = "kills",
    params(("kill" = String, Path, description = "Id (`kill_…`)"), Wait), request_body = KillLift,
    responses((status = 200, description = "Lifted", body = KillDetail), Problems),
    security(("token" = ["operator"])))]
pub async fn lift(
    operator: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<KillId>,
    Query(wait): Query<Wait>,
    Json(lift): Json<KillLift>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let act = operator.act("lift_any_kill", format_args!("{id} {}", lift.reason));
    let actor = act.actor.to_string();
    let mut tx = core.store.operator().await?;
    let mut kill = match queries::get_any(&mut tx, id).await {
        Ok(kill) => kill,
        Err(StoreError::NotFound) if lift.epoch == 0 => {
            let mut kill =
                Kill::new(id, &kill::Target::Fleet, false, "by offline order".to_owned(), now, Some(0));
            (kill.level, kill.by_operator) = (Level::Order, true);
            queries::insert_any(&mut tx, &kill, "order", &actor).await?;
            kill
        }
        Err(error) => return Err(error.into()),
    };
    if kill.epoch != Some(lift.epoch) {
        return Err(ApiError::PreconditionFailed);
    }
    let epoch = kills::raise_as_operator(&mut tx, &core.kills).await?;
    queries::lift_any(&mut tx, id, (lift.reason.as_str(), &actor), epoch, now.to_offset()).await?;
    commit_operator(tx, &core, &act, None).await?;
    core.kills.changed(&core).await;
    kill.lifted(&lift, epoch, now.to_offset());
    let wait = wait.unless(act.ending.is_roll_back());
    lifted(&core, kill, &wait, Audience::Operator).await
}
