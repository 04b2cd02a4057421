//! `/v1/tenants/{tenant}/endpoints/{endpoint}/upstreams`.

use http::StatusCode;
use ids::{AttachmentId, EndpointId};

use super::{
    queries,
    types::{Attachment, AttachmentNew},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit,
};

/// The endpoint's upstreams.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/upstreams", operation_id = "list_attachments",
    tag = "endpoints", params(TenantPath, ("endpoint" = String, Path, description = "Id (`ep_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<Attachment>), Problems),
    security(("token" = ["endpoints:read"])))]
pub async fn list(
    caller: InTenant<EndpointsRead>,
    State(core): State<Core>,
    OfPath(endpoint): OfPath<EndpointId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    queries::get(&mut tx, &core.config.urls.gateway, endpoint).await?;
    let attachments = queries::attachments(&mut tx, endpoint, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, attachments, |attachment| attachment.id)
}

/// Attaches an upstream.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/upstreams", operation_id = "attach_upstream",
    tag = "endpoints", params(TenantPath, ("endpoint" = String, Path, description = "Id (`ep_…`)"), Wait),
    request_body = AttachmentNew, responses((status = 201, description = "Attached", body = Attachment), Problems),
    security(("token" = ["endpoints:write"])))]
pub async fn create(
    caller: InTenant<EndpointsWrite>,
    State(core): State<Core>,
    OfPath(endpoint): OfPath<EndpointId>,
    Query(wait): Query<Wait>,
    Json(new): Json<AttachmentNew>,
) -> Result<Response, ApiError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    queries::lock(&mut tx, &core.config.urls.gateway, endpoint).await?;
    if !queries::upstream_exists(&mut tx, new.upstream_id).await? {
        return Err(ApiError::invalid("/upstream_id", "no such upstream"));
    }
    let attachment = Attachment {
        id: AttachmentId::from_parts(now.millis(), core.entropy.bytes()),
        endpoint_id: endpoint,
        upstream_id: new.upstream_id,
        prefix: new.prefix,
        created_at: now.to_offset(),
    };
    queries::insert_attachment(&mut tx, &attachment).await?;
    let published = commit(tx, &core, &caller.act("attach_upstream", attachment.id)).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::with(StatusCode::CREATED, &attachment)?)
        .await
}

/// An attachment.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/upstreams/{attachment}",
    operation_id = "get_attachment", tag = "endpoints",
    params(TenantPath, ("endpoint" = String, Path, description = "Id (`ep_…`)"),
        ("attachment" = String, Path, description = "Id (`att_…`)")),
    responses((status = 200, description = "The attachment", body = Attachment), Problems),
    security(("token" = ["endpoints:read"])))]
pub async fn get(
    caller: InTenant<EndpointsRead>,
    State(core): State<Core>,
    OfPath(endpoint): OfPath<EndpointId>,
    OfPath(id): OfPath<AttachmentId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    Reply::resource(&queries::attachment(&mut tx, endpoint, id).await?)
}

/// Detaches an upstream.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/upstreams/{attachment}",
    operation_id = "detach_upstream", tag = "endpoints",
    params(TenantPath, IfMatch, ("endpoint" = String, Path, description = "Id (`ep_…`)"),
        ("attachment" = String, Path, description = "Id (`att_…`)"), Wait),
    responses((status = 204, description = "Detached"), Problems), security(("token" = ["endpoints:write"])))]
pub async fn delete(
    caller: InTenant<EndpointsWrite>,
    State(core): State<Core>,
    OfPath(endpoint): OfPath<EndpointId>,
    OfPath(id): OfPath<AttachmentId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    if_match.check(&queries::attachment(&mut tx, endpoint, id).await?)?;
    queries::delete_attachment(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("detach_upstream", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}
