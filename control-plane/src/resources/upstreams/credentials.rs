//! `/v1/tenants/{tenant}/upstreams/{upstream}/credentials`.

use crypto::{Aad, ExposeSecret, Purpose, SecretString, digest};
use http::StatusCode;
use ids::{CredentialId, TenantId, UpstreamId};

use super::{
    admission,
    queries::{self, SealedValue},
    types::{Credential, CredentialNew, CredentialValue},
};
use crate::{
    data_keys,
    db::TenantTx,
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// The upstream's header credentials, without their values.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/upstreams/{upstream}/credentials", operation_id = "list_credentials",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<Credential>), Problems),
    security(("token" = ["upstreams:read"])))]
pub async fn list(
    caller: InTenant<UpstreamsRead>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    queries::get(&mut tx, upstream).await?;
    let credentials = queries::credentials(&mut tx, upstream, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, credentials, |credential| credential.id)
}

/// Makes a header credential. Its value is sealed and never shown.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/upstreams/{upstream}/credentials", operation_id = "create_credential",
    tag = "upstreams", params(TenantPath, ("upstream" = String, Path, description = "Id (`ups_…`)"), Wait),
    request_body = CredentialNew, responses((status = 201, description = "Made", body = Credential), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn create(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    Query(wait): Query<Wait>,
    Json(new): Json<CredentialNew>,
) -> Result<Response, ApiError> {
    let header = admission::header_name(&new.header)?;
    admission::header_value(new.value.expose_secret())?;
    let now = core.clock.now();
    let id = CredentialId::from_parts(now.millis(), core.entropy.bytes());
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::lock(&mut tx, upstream).await?;
    let value = seal(&mut tx, &core, caller.tenant, id, &new.value).await?;
    let credential = Credential {
        id,
        upstream_id: upstream,
        header,
        fingerprint: value.fingerprint.clone(),
        created_at: now.to_offset(),
        updated_at: now.to_offset(),
    };
    queries::insert_credential(&mut tx, &credential, &value).await?;
    let published = commit(tx, &core, &caller.act("create_credential", id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &credential)?)
        .await
}

/// Replaces a credential's value, for calls that begin from then on.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/upstreams/{upstream}/credentials/{credential}",
    operation_id = "replace_credential", tag = "upstreams",
    params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"),
        ("credential" = String, Path, description = "Id (`crd_…`)"), Wait),
    request_body = CredentialValue, responses((status = 200, description = "Replaced", body = Credential), Problems),
    security(("token" = ["upstreams:write"])))]
pub async fn replace(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    OfPath(id): OfPath<CredentialId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
    Json(new): Json<CredentialValue>,
) -> Result<Response, ApiError> {
    admission::header_value(new.value.expose_secret())?;
    let now = core.clock.now().to_offset();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::credential(&mut tx, upstream, id).await?;
    if_match.check(&present)?;
    let value = seal(&mut tx, &core, caller.tenant, id, &new.value).await?;
    queries::replace_credential(&mut tx, id, &value, now).await?;
    let credential = Credential { fingerprint: value.fingerprint, updated_at: now, ..present };
    let published = commit(tx, &core, &caller.act("replace_credential", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&credential)?).await
}

/// Deletes a credential.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/upstreams/{upstream}/credentials/{credential}",
    operation_id = "delete_credential", tag = "upstreams",
    params(TenantPath, IfMatch, ("upstream" = String, Path, description = "Id (`ups_…`)"),
        ("credential" = String, Path, description = "Id (`crd_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["upstreams:write"])))]
pub async fn delete(
    caller: InTenant<UpstreamsWrite>,
    State(core): State<Core>,
    OfPath(upstream): OfPath<UpstreamId>,
    OfPath(id): OfPath<CredentialId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::credential(&mut tx, upstream, id).await?)?;
    queries::delete_credential(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_credential", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

async fn seal(
    tx: &mut TenantTx,
    core: &Core,
    tenant: TenantId,
    id: CredentialId,
    value: &SecretString,
) -> Result<SealedValue, ApiError> {
    let key = data_keys::current(tx, core).await?;
    let row = id.uuid();
    let aad = Aad { tenant, table: "upstream_credentials", column: "sealed", row: row.as_bytes() };
    let plain = value.expose_secret().as_bytes();
    let sealed = key.sealer().seal(&aad, plain, &*core.entropy).map_err(ApiError::internal)?;
    let mac = digest::hmac_sha256(&key.derive(Purpose::AuditMac), &[b"credential fingerprint v1\0", plain]);
    Ok(SealedValue { data_key_id: key.id, sealed, fingerprint: digest::hex(&mac[..8]) })
}
