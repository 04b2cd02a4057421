//! `/v1/tenants/{tenant}/kills`: a tenant's own kill switch.

use http::StatusCode;
use ids::{KillId, MemberId};
use seams::Timestamp;
use wire::kill::Target;

use super::{
    queries,
    types::{Kill, KillDetail, KillLift, KillNew, Level},
};
use crate::{
    db::{StoreError, TenantTx},
    http::{page::PageQuery, prelude::*},
    kills::{self, Acknowledgement},
    people::admin,
    publish::commit::commit_unpublished,
    resources::members::routes::may_touch,
};

/// The tenant's kills, lifted ones and operators' too, in the order in which they were made.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/kills", operation_id = "list_kills", tag = "kills",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Kill>), Problems),
    security(("token" = ["kills:read"])))]
pub async fn list(
    caller: InTenant<KillsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let kills = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, kills, |kill| kill.id)
}

/// Stops the tenant, or something of it, at once and everywhere: calls are refused, running ones and streams are cut. It stays
/// stopped until it is lifted.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/kills", operation_id = "create_kill", tag = "kills",
    params(TenantPath, Wait), request_body = KillNew,
    responses((status = 201, description = "Ordered", body = KillDetail), Problems),
    security(("token" = ["kills:write"])))]
pub async fn create(
    caller: InTenant<KillsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(new): Json<KillNew>,
) -> Result<Response, ApiError> {
    let KillNew { level, target, reason, drill } = new;
    let target = parse(level, Some(caller.tenant), target.as_deref())?;
    if level == Level::Tenant {
        caller.caller.just_signed_in(&core)?;
    }
    let now = core.clock.now();
    let id = KillId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant(caller.tenant).await?;
    // Who stops a person keeps them from administering too.
    if let Target::Principal(_, name) = &target
        && let Ok(member) = name.parse::<MemberId>()
        && let Some(role) = admin::role(&mut tx, member).await?
    {
        may_touch(&caller, role)?;
        caller.caller.just_signed_in(&core)?;
    }
    if !queries::has(&mut tx, &target).await? {
        return Err(nothing_there());
    }
    room(&core, &mut tx).await?;
    let act = caller.act("create_kill", format_args!("{id} {reason}"));
    let epoch = kills::raise_in_tenant(&mut tx, &core.kills).await?;
    // Others that were under way are counted from here on.
    room(&core, &mut tx).await?;
    let kill = Kill::new(id, &target, drill, reason.to_string(), now, Some(epoch));
    queries::insert(&mut tx, &kill, kills::level_name(target.level()), &act.actor.to_string()).await?;
    commit_unpublished(tx, &core, &act).await?;
    core.kills.changed(&core).await;
    let wait = wait.unless(act.ending.is_roll_back());
    ordered(&core, kill, &wait, Audience::Tenant).await
}

/// A kill, and how far the proxies are with it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/kills/{kill}", operation_id = "get_kill", tag = "kills",
    params(TenantPath, ("kill" = String, Path, description = "Id (`kill_…`)")),
    responses((status = 200, description = "The kill", body = KillDetail), Problems),
    security(("token" = ["kills:read"])))]
pub async fn get(
    caller: InTenant<KillsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<KillId>,
) -> Result<Reply, ApiError> {
    let kill = queries::get(&mut core.store.tenant(caller.tenant).await?, id).await?;
    Reply::resource(&detail(&core, kill, Audience::Tenant).await?)
}

/// Lifts a kill that the tenant's own tokens made. May be repeated: proxies that were away long then hear of it again.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/kills/{kill}/lift", operation_id = "lift_kill", tag = "kills",
    params(TenantPath, ("kill" = String, Path, description = "Id (`kill_…`)"), Wait), request_body = KillLift,
    responses((status = 200, description = "Lifted", body = KillDetail), Problems),
    security(("token" = ["kills:write"])))]
pub async fn lift(
    caller: InTenant<KillsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<KillId>,
    Query(wait): Query<Wait>,
    Json(lift): Json<KillLift>,
) -> Result<Response, ApiError> {
    caller.caller.just_signed_in(&core)?;
    let mut tx = core.store.tenant(caller.tenant).await?;
    let mut kill = queries::get(&mut tx, id).await?;
    if kill.epoch != Some(lift.epoch) {
        return Err(ApiError::PreconditionFailed);
    }
    if kill.by_operator {
        return Err(ApiError::Conflict("an operator made this kill, and operators lift it, at `/v1/kills`"));
    }
    let now = core.clock.now().to_offset();
    let act = caller.act("lift_kill", format_args!("{id} {}", lift.reason));
    let epoch = kills::raise_in_tenant(&mut tx, &core.kills).await?;
    queries::lift(&mut tx, id, (lift.reason.as_str(), &act.actor.to_string()), epoch, now).await?;
    commit_unpublished(tx, &core, &act).await?;
    core.kills.changed(&core).await;
    kill.lifted(&lift, epoch, now);
    let wait = wait.unless(act.ending.is_roll_back());
    lifted(&core, kill, &wait, Audience::Tenant).await
}

async fn room(core: &Core, tx: &mut TenantTx) -> Result<(), ApiError> {
    let own = usize::try_from(queries::in_force(tx).await?).unwrap_or(usize::MAX);
    if core.kills.has_room_for(own) {
        return Ok(());
    }
    Err(ApiError::Conflict("too many kills are in force; kill what these are part of, or lift some"))
}

/// Who is told how far the proxies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Operator,
    Tenant,
}

impl Audience {
    pub(super) fn shown(self, found: Acknowledgement) -> Acknowledgement {
        match self {
            Self::Operator => found,
            Self::Tenant => found.counted(),
        }
    }
}

/// What the request names, if it names exactly what its level needs.
pub(super) fn parse(
    level: Level,
    tenant: Option<ids::TenantId>,
    target: Option<&str>,
) -> Result<Target, ApiError> {
    let level = level.wire().filter(|level| tenant.is_none() || *level != wire::v1::KillLevel::Fleet);
    let level =
        level.ok_or_else(|| ApiError::invalid("/level", "is none of those that can be killed here"))?;
    let parsed = Target::parse(level, tenant, target);
    parsed.ok_or_else(|| {
        ApiError::invalid("/target", "must be what the level names, and absent where it names nothing")
    })
}

pub(super) fn nothing_there() -> ApiError {
    ApiError::invalid("/target", "names nothing that exists here")
}

impl Kill {
    pub(super) fn new(
        id: KillId,
        target: &Target,
        drill: bool,
        reason: String,
        now: Timestamp,
        epoch: Option<u64>,
    ) -> Self {
        Self {
            id,
            level: target.level().into(),
            tenant_id: target.tenant(),
            target: target.subject(),
            drill,
            reason,
            by_operator: false,
            created_at: now.to_offset(),
            epoch,
            lifted_at: None,
            lift_reason: None,
            lift_epoch: None,
        }
    }

    pub(super) fn lifted(&mut self, lift: &KillLift, epoch: u64, now: time::OffsetDateTime) {
        self.lifted_at = Some(now);
        self.lift_reason = Some(lift.reason.to_string());
        self.lift_epoch = Some(epoch);
    }

    fn since(&self) -> Timestamp {
        Timestamp::from_offset(self.created_at)
    }
}

/// A stored kill with how far the proxies are.
pub(super) async fn detail(core: &Core, kill: Kill, audience: Audience) -> Result<KillDetail, StoreError> {
    let found =
        kills::acknowledgement(core, kill.tenant_id, kill.epoch.unwrap_or_default(), kill.since()).await?;
    let lift = match kill.lift_epoch.zip(kill.lifted_at) {
        Some((epoch, at)) => {
            Some(kills::acknowledgement(core, kill.tenant_id, epoch, Timestamp::from_offset(at)).await?)
        }
        None => None,
    };
    Ok(KillDetail {
        kill,
        acknowledgement: audience.shown(found),
        lift_acknowledgement: lift.map(|lift| audience.shown(lift)),
    })
}

/// Answers a kill, after the proxies if `wait` says so.
pub(super) async fn ordered(
    core: &Core,
    kill: Kill,
    wait: &Wait,
    audience: Audience,
) -> Result<Response, ApiError> {
    let (tenant, epoch, since) = (kill.tenant_id, kill.epoch.unwrap_or_default(), kill.since());
    let waited = match wait.within() {
        Some(within) => Some(kills::wait(core, tenant, epoch, since, within).await?),
        None => None,
    };
    answer(StatusCode::CREATED, &detail(core, kill, audience).await?, waited)
}

/// Answers a lifting.
pub(super) async fn lifted(
    core: &Core,
    kill: Kill,
    wait: &Wait,
    audience: Audience,
) -> Result<Response, ApiError> {
    let waited = match (wait.within(), kill.lift_epoch.zip(kill.lifted_at)) {
        (Some(within), Some((epoch, at))) => {
            Some(kills::wait(core, kill.tenant_id, epoch, Timestamp::from_offset(at), within).await?)
        }
        _ => None,
    };
    answer(StatusCode::OK, &detail(core, kill, audience).await?, waited)
}

pub(super) fn answer(
    status: StatusCode,
    detail: &KillDetail,
    waited: Option<Acknowledgement>,
) -> Result<Response, ApiError> {
    use axum::response::IntoResponse as _;
    let reply = Reply::with(status, detail)?;
    Ok(match waited {
        Some(found) => reply.converged(&found.header()).into_response(),
        None => reply.into_response(),
    })
}
