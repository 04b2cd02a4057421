//! `/v1/certificate-authorities`.

use http::StatusCode;
use ids::AuthorityId;

use super::{queries, types::Authority};
use crate::{
    fleet::{FleetError, ca},
    http::{page::PageQuery, prelude::*},
    publish::commit::commit_operator,
};

fn problem(error: FleetError) -> ApiError {
    match error {
        FleetError::Store(error) => error.into(),
        error => ApiError::internal(error),
    }
}

/// All certificate authorities of the fleet, retired ones too, in order of creation.
#[utoipa::path(get, path = "/v1/certificate-authorities", operation_id = "list_certificate_authorities", tag = "proxies",
    params(PageQuery), responses((status = 200, description = "A page", body = Page<Authority>), Problems),
    security(("token" = ["operator"])))]
pub async fn list(
    _: Operator,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let mut tx = core.store.operator().await?;
    let authorities = queries::list(&mut tx, paging.after_id()?, paging.fetch()).await?;
    paging.page(&core, authorities, |authority| authority.id)
}

/// Begins a rotation: makes a certificate authority, which is trusted beside the one there is. Some seconds later it issues, and proxies
/// that are connected renew by themselves. Conflicts while there are two already.
#[utoipa::path(post, path = "/v1/certificate-authorities", operation_id = "create_certificate_authority", tag = "proxies",
    responses((status = 201, description = "Made", body = Authority), Problems), security(("token" = ["operator"])))]
pub async fn create(operator: Operator, State(core): State<Core>) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let made = ca::rotate(&core, &mut tx).await.map_err(problem)?;
    let id = made.ok_or_else(|| ApiError::Conflict("there are two already; retire the older one first"))?;
    let authority = queries::get(&mut tx, id).await?;
    commit_operator(tx, &core, &operator.act("create_certificate_authority", id), None).await?;
    Reply::with(StatusCode::CREATED, &authority)
}

/// A certificate authority.
#[utoipa::path(get, path = "/v1/certificate-authorities/{certificate_authority}",
    operation_id = "get_certificate_authority", tag = "proxies",
    params(("certificate_authority" = String, Path, description = "Id (`ca_…`)")),
    responses((status = 200, description = "The authority", body = Authority), Problems),
    security(("token" = ["operator"])))]
pub async fn get(
    _: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<AuthorityId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    Reply::resource(&queries::get(&mut tx, id).await?)
}

/// Ends a rotation: retires a certificate authority, whose certificates nobody accepts any more. Conflicts while it is the only one that
/// issues, and while a proxy has a certificate of it: one that will not come back has to be revoked first.
#[utoipa::path(delete, path = "/v1/certificate-authorities/{certificate_authority}",
    operation_id = "retire_certificate_authority", tag = "proxies",
    params(IfMatch, ("certificate_authority" = String, Path, description = "Id (`ca_…`)")),
    responses((status = 204, description = "Retired"), Problems), security(("token" = ["operator"])))]
pub async fn retire(
    operator: Operator,
    State(core): State<Core>,
    OfPath(id): OfPath<AuthorityId>,
    if_match: IfMatch,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.operator().await?;
    let authority = queries::get(&mut tx, id).await?;
    if_match.check(&authority)?;
    if authority.retired_at.is_none() {
        if !ca::retire(&core, &mut tx, id).await.map_err(problem)? {
            return Err(ApiError::Conflict(
                "no other authority issues yet, or proxies have certificates of this one",
            ));
        }
        commit_operator(tx, &core, &operator.act("retire_certificate_authority", id), None).await?;
    }
    Ok(Reply::nothing())
}
