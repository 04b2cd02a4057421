//! `/v1/tenants/{tenant}/upstreams/{upstream}/oauth`.

use crypto::{Aad, Purpose, digest};
use ids::UpstreamId;

use super::{
    admission::{self, Admitted},
    queries::{self, Sealed},
    types::{UpstreamOauth, UpstreamOauthNew},
};
use crate::{
    data_keys,
    db::TenantTx,
    http::prelude::*,
    publish::commit::commit,
    resources::upstreams::{self, egress_rules},
};

/// How proxies get access tokens for the upstream; 404 where they get none.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/upstreams/{upstream}/oauth", operation_id = "get_upstream_oauth",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)")),
    responses((status = 200, description = "How", body = UpstreamOauth), Problems),
    security(("token" = ["upstreams:read"])))]
pub async fn get(
    caller: InTenant<UpstreamsRead>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::get(&mut tx, upstream).await?)
}

/// Has proxies get access tokens for the upstream, or get them otherwise: tokens that they have are not used any more. The secret is
/// sealed and never shown.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/upstreams/{upstream}/oauth", operation_id = "replace_upstream_oauth",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    request_body = UpstreamOauthNew, responses((status = 200, description = "So it is", body = UpstreamOauth), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn replace(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    Query(wait): Query<Wait>,
    Json(new): Json<UpstreamOauthNew>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    upstreams::lock(&mut tx, upstream).await?;
    let admitted = admission::admit(new, &egress_rules(&mut tx).await?)?;
    let (fingerprint, sealed) = seal(&mut tx, &core, upstream, &admitted).await?;
    let updated_at = core.clock.now().to_offset();
    let oauth = UpstreamOauth { settings: admitted.settings, fingerprint, updated_at };
    queries::replace(&mut tx, upstream, &oauth, &sealed).await?;
    let published = commit(tx, &core, &caller.act("replace_upstream_oauth", upstream)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&oauth)?).await
}

/// Ends that, and the use of tokens that proxies have.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/upstreams/{upstream}/oauth", operation_id = "delete_upstream_oauth",
    tag = "upstreams", params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["upstreams:write"])))]
pub async fn delete(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    upstreams::lock(&mut tx, upstream).await?;
    if_match.check(&queries::get(&mut tx, upstream).await?)?;
    queries::delete(&mut tx, upstream).await?;
    let published = commit(tx, &core, &caller.act("delete_upstream_oauth", upstream)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn seal(
    tx: &mut TenantTx,
    core: &Core,
    upstream: UpstreamId,
    admitted: &Admitted,
) -> Result<(String, Sealed), ApiError> {
    let key = data_keys::current(tx, core).await?;
    let row = upstream.uuid();
    let aad = Aad { tenant: tx.tenant(), table: "upstream_oauth", column: "sealed", row: row.as_bytes() };
    let sealed = key.sealer().seal(&aad, &admitted.secret, &*core.entropy).map_err(ApiError::internal)?;
    let named: &[u8] = b"upstream oauth fingerprint v1\0";
    let mac = digest::hmac_sha256(&key.derive(Purpose::AuditMac), &[named, &admitted.secret]);
    let sealed = Sealed { algorithm: admitted.algorithm, data_key_id: key.id, sealed };
    Ok((digest::hex(&mac[..8]), sealed))
}
