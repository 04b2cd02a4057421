//! `/v1/tenants/{tenant}/roles/{role}/grants`: all grants of a role as one document.

use ids::{GrantId, RoleId};
use serde::{Deserialize, Serialize};

use super::{
    queries,
    routes::check_references,
    types::{Grant, GrantSettings, GrantSubject},
};
use crate::{http::prelude::*, publish::commit::commit};

/// Grants in one document.
const MAX: usize = 100;

/// All grants of a role.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleGrants {
    /// In order of creation.
    pub grants: Vec<Grant>,
}

/// What the grants of a role are to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleGrantsNew {
    /// A grant that says the same as one there is stays what it is, with its id.
    #[schema(max_items = 100)]
    pub grants: Vec<GrantSettings>,
}

/// All grants of a role.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/roles/{role}/grants", operation_id = "get_role_grants", tag = "grants",
    params(TenantPath, ("role" = String, Path, description = "Id (`rol_…`)")),
    responses((status = 200, description = "The grants", body = RoleGrants), Problems),
    security(("token" = ["grants:read"])))]
pub async fn get(
    caller: InTenant<GrantsRead>,
    State(core): State<Core>,
    OfPath(role): OfPath<RoleId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&RoleGrants { grants: queries::of_role(&mut tx, role).await? })
}

/// Replaces all grants of a role as one revision. What is wrong with one is said at its place, and nothing is changed.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/roles/{role}/grants", operation_id = "replace_role_grants", tag = "grants",
    params(TenantPath, IfMatch, ("role" = String, Path, description = "Id (`rol_…`)"), Wait), request_body = RoleGrantsNew,
    responses((status = 200, description = "Replaced", body = RoleGrants), Problems),
    security(("token" = ["grants:write"])))]
pub async fn replace(
    caller: InTenant<GrantsWrite>,
    State(core): State<Core>,
    OfPath(role): OfPath<RoleId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    Json(new): Json<RoleGrantsNew>,
) -> Result<Response, ApiError> {
    if new.grants.len() > MAX {
        return Err(ApiError::invalid("/grants", format!("must be at most {MAX} grants")));
    }
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let mut present = RoleGrants { grants: queries::of_role(&mut tx, role).await? };
    if_match.check(&present)?;
    let (subject, mut errors) = (GrantSubject::Role(role), Vec::new());
    for (index, settings) in new.grants.into_iter().enumerate() {
        if let Some(kept) = present.grants.iter().position(|grant| grant.settings == settings) {
            present.grants.swap_remove(kept);
            continue;
        }
        let id = GrantId::from_parts(now.millis(), core.entropy.bytes());
        let checked = match settings.check(id, subject) {
            Ok(()) => check_references(&mut tx, &settings).await,
            wrong => wrong,
        };
        match checked {
            Ok(()) => queries::insert(&mut tx, id, subject, &settings, now.to_offset()).await?,
            Err(ApiError::Invalid(places)) => {
                errors.extend(places.into_iter().map(|place| FieldError {
                    pointer: format!("/grants/{index}{}", place.pointer),
                    ..place
                }));
            }
            Err(error) => return Err(error),
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    // What no new grant says.
    for grant in &present.grants {
        queries::delete(&mut tx, grant.id).await?;
    }
    let grants = RoleGrants { grants: queries::of_role(&mut tx, role).await? };
    let published = commit(tx, &core, &caller.act("replace_role_grants", role)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&grants)?).await
}
