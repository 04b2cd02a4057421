//! `/v1/tenants/{tenant}/credential-ages` and `/v1/tenants/{tenant}/rotation-schedule`.

use serde::Deserialize;

use super::{
    queries,
    types::{CredentialAge, RotationSchedule, RotationScheduleSettings},
};
use crate::{http::prelude::*, publish::commit::commit};

/// What of them is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AgesQuery {
    /// Only those that are to be replaced by now.
    #[serde(default)]
    pub overdue: bool,
    /// Items on a page: 1 to 200, 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// How old the tenant's credentials are that open something now or will, in order of creation, and when each is to be replaced.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/credential-ages", operation_id = "list_credential_ages",
    tag = "credential_ages", params(TenantPath, AgesQuery),
    responses((status = 200, description = "A page", body = Page<CredentialAge>), Problems),
    security(("token" = ["credential_ages:read"])))]
pub async fn list(
    caller: InTenant<CredentialAgesRead>,
    State(core): State<Core>,
    Query(asked): Query<AgesQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.tenant(caller.tenant).await?;
    let schedule = queries::schedule(&mut tx).await?.settings;
    let page = (paging.after_id()?, paging.fetch());
    let stored = queries::list(&mut tx, &schedule, (asked.overdue, now), page).await?;
    let ages: Vec<_> = stored.into_iter().map(|each| each.age(&schedule, now)).collect();
    paging.page_by(&core, ages, |age| age.position.as_bytes().to_vec())
}

/// After how long the tenant wants its credentials replaced.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/rotation-schedule", operation_id = "get_rotation_schedule",
    tag = "credential_ages", params(TenantPath),
    responses((status = 200, description = "Days by kind", body = RotationSchedule), Problems),
    security(("token" = ["credential_ages:read"])))]
pub async fn schedule(
    caller: InTenant<CredentialAgesRead>,
    State(core): State<Core>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::schedule(&mut tx).await?)
}

/// Changes that. Nothing ends by it: what is older is shown as overdue.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/rotation-schedule", operation_id = "update_rotation_schedule",
    tag = "credential_ages", params(TenantPath, IfMatch, Wait),
    request_body(content = RotationScheduleSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = RotationSchedule), Problems),
    security(("token" = ["credential_ages:write"])))]
pub async fn update_schedule(
    caller: InTenant<CredentialAgesWrite>,
    State(core): State<Core>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx).await?;
    if_match.check(&present)?;
    let settings: RotationScheduleSettings = patch.apply(&present.settings)?;
    settings.check()?;
    queries::replace(&mut tx, &settings, core.clock.now().to_offset()).await?;
    let changed = queries::schedule(&mut tx).await?;
    let published = commit(tx, &core, &caller.act("update_rotation_schedule", caller.tenant)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&changed)?).await
}
