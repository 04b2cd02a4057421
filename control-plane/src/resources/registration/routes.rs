//! `/v1/tenants/{tenant}/registration`.

use super::{
    queries,
    types::{Registration, RegistrationSettings},
};
use crate::{http::prelude::*, oauth::keys, publish::commit::commit};

/// How clients may come to the tenant's issuer that nobody has made.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/registration", operation_id = "get_registration", tag = "registration",
    params(TenantPath), responses((status = 200, description = "What the tenant says", body = Registration), Problems),
    security(("token" = ["registration:read"])))]
pub async fn get(caller: InTenant<RegistrationRead>, State(core): State<Core>) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx).await?)
}

/// Changes it. Who came before stays a client: delete or disable these one by one. Those that came by a document at a host that is no
/// longer admitted are refused meanwhile.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/registration", operation_id = "update_registration", tag = "registration",
    params(TenantPath, IfMatch, Wait),
    request_body(content = RegistrationSettings, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "Changed", body = Registration), Problems),
    security(("token" = ["registration:write"])))]
pub async fn update(
    caller: InTenant<RegistrationWrite>,
    State(core): State<Core>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    patch: MergePatch,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx).await?;
    if_match.check(&present)?;
    let settings: RegistrationSettings = patch.apply(&present.settings)?;
    for (way, endpoints) in
        [("documents", &settings.documents.endpoint_ids), ("dynamic", &settings.dynamic.endpoint_ids)]
    {
        if let Some(place) = queries::missing(&mut tx, endpoints).await? {
            return Err(ApiError::invalid(format!("/{way}/endpoint_ids/{place}"), "no such endpoint"));
        }
    }
    queries::replace(&mut tx, &settings, core.clock.now().to_offset()).await?;
    // Whoever comes is given tokens: the issuer needs a key to sign them.
    keys::ensure(&mut tx, &core).await?;
    let made = queries::get(&mut tx).await?;
    let published = commit(tx, &core, &caller.act("update_registration", caller.tenant)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&made)?).await
}
