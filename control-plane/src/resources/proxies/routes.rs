//! `/v1/proxies`.

use ids::ProxyId;

use super::{
    queries::{self, GapPosition},
    types::{AuditGap, Proxy, ProxyTenant, StandingQuery},
};
use crate::{
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_operator,
};

/// All proxies that enrolled, revoked ones too, in the order in which they did.
#[utoipa::path(get, path = "/v1/proxies", operation_id = "list_proxies", tag = "proxies", params(PageQuery),
    responses((status = 200, description = "A page", body = Page<Proxy>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.operator().await?;
    let proxies = queries::list(&mut tx, now, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, proxies, |proxy| proxy.id)
}

/// A proxy.
#[utoipa::path(get, path = "/v1/proxies/{proxy}", operation_id = "get_proxy", tag = "proxies",
    params(("proxy" = String, Path, description = "Id (`px_…`)")),
    responses((status = 200, description = "The proxy", body = Proxy), Problems), security(("token" = ["operator"])))]
pub async fn get(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    Reply::resource(&queries::get(&mut tx, core.clock.now().to_offset(), id).await?)
}

/// How a proxy stands with each tenant of its pool, in order of the tenants' making.
#[utoipa::path(get, path = "/v1/proxies/{proxy}/tenants", operation_id = "list_proxy_tenants", tag = "proxies",
    params(("proxy" = String, Path, description = "Id (`px_…`)"), StandingQuery),
    responses((status = 200, description = "A page", body = Page<ProxyTenant>), Problems),
    security(("token" = ["operator"])))]
pub async fn tenants(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
    Query(query): Query<StandingQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let pool = queries::pool(&mut tx, id).await?;
    let (after, fetch) = (paging.after_id()?, paging.fetch());
    let tenants = queries::tenants(&mut tx, id, pool, query.differing, after, fetch).await?;
    paging.page(&core, tenants, |tenant| tenant.tenant_id)
}

/// Audit records that a proxy numbered and that never arrived.
#[utoipa::path(get, path = "/v1/proxies/{proxy}/audit-gaps", operation_id = "list_audit_gaps", tag = "proxies",
    params(("proxy" = String, Path, description = "Id (`px_…`)"), PageQuery),
    responses((status = 200, description = "A page", body = Page<AuditGap>), Problems),
    security(("token" = ["operator"])))]
pub async fn audit_gaps(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let after = paging.after().map(|bytes| GapPosition::from_bytes(bytes).ok_or(ApiError::CursorInvalid));
    let after = after.transpose()?.unwrap_or(GapPosition { boot: Vec::new(), from_seq: 0 });
    let mut tx = core.store.operator().await?;
    queries::pool(&mut tx, id).await?;
    let gaps = queries::gaps(&mut tx, id, &after, paging.fetch()).await?;
    paging.page_by(&core, gaps, |gap| GapPosition::of(gap).to_bytes())
}

impl GapPosition {
    fn of(gap: &AuditGap) -> Self {
        Self {
            boot: hex::decode(&gap.boot).unwrap_or_default(),
            from_seq: i64::try_from(gap.from_seq).unwrap_or(i64::MAX),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.from_seq.to_be_bytes(), self.boot.as_slice()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (from_seq, boot) = bytes.split_first_chunk()?;
        Some(Self { boot: boot.to_vec(), from_seq: i64::from_be_bytes(*from_seq) })
    }
}

/// Revokes a proxy: its streams end, its certificate is not renewed, and it no longer counts. To come back it has to enrol
/// with a new join token.
#[utoipa::path(delete, path = "/v1/proxies/{proxy}", operation_id = "revoke_proxy", tag = "proxies",
    params(IfMatch, ("proxy" = String, Path, description = "Id (`px_…`)")),
    responses((status = 204, description = "Revoked"), Problems), security(("token" = ["operator"])))]
pub async fn revoke(
    operator: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<ProxyId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.operator().await?;
    queries::lock(&mut tx, id).await?;
    if_match.check(&queries::get(&mut tx, now, id).await?)?;
    queries::revoke(&mut tx, id, now).await?;
    commit_operator(tx, &core, &operator.act("revoke_proxy", id), None).await?;
    Ok(Reply::nothing())
}
