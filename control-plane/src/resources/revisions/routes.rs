//! `/v1/tenants/{tenant}/revisions`.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use serde::Deserialize;

use super::{
    queries,
    types::{ProxyReport, Revision, RevisionReport},
};
use crate::{
    audit::Actor,
    http::{page::PageQuery, prelude::*, write::duration},
    publish::convergence::{self, Convergence},
};

/// Query parameters of one revision.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevisionQuery {
    /// Answer when every live proxy has applied or rejected the revision, or this time is up: such as `30s`, at most 60.
    #[serde(default, deserialize_with = "duration")]
    #[param(value_type = Option<String>, example = "30s")]
    pub wait: Option<Duration>,
}

/// The revision's number in the path. What is no number is answered like a revision that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct RevOfPath(i64);

impl FromRequestParts<Core> for RevOfPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, core).await.map_err(|_| ApiError::NotFound)?;
        let text = params.iter().find(|(name, _)| *name == "rev").map(|(_, value)| value).unwrap_or_default();
        number(text).map(Self).ok_or(ApiError::NotFound)
    }
}

/// One spelling for each number: digits alone, no leading zero.
fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

/// The revisions that are kept, the last 50, newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/revisions", operation_id = "list_revisions", tag = "revisions",
    params(TenantPath, PageQuery), responses((status = 200, description = "A page", body = Page<Revision>), Problems),
    security(("token" = ["revisions:read"])))]
pub async fn list(
    caller: InTenant<RevisionsRead>,
    State(core): State<Core>,
    Query(_page): Query<PageQuery>,
    paging: Paging,
) -> Result<Response, ApiError> {
    let before = match paging.after() {
        None => i64::MAX,
        Some(bytes) => i64::from_be_bytes(bytes.try_into().map_err(|_| ApiError::CursorInvalid)?),
    };
    let mut tx = core.store.tenant(caller.tenant).await?;
    let revisions = queries::list(&mut tx, before, paging.fetch()).await?;
    paging.page_by(&core, revisions, |revision| revision.rev.to_be_bytes().to_vec())
}

/// A revision, and how far the tenant's proxies are with it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/revisions/{rev}", operation_id = "get_revision", tag = "revisions",
    params(TenantPath, ("rev" = u64, Path, description = "The revision's number"), RevisionQuery),
    responses((status = 200, description = "The revision", body = RevisionReport), Problems),
    security(("token" = ["revisions:read"])))]
pub async fn get(
    caller: InTenant<RevisionsRead>,
    State(core): State<Core>,
    RevOfPath(rev): RevOfPath,
    Query(query): Query<RevisionQuery>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let revision = queries::get(&mut tx, rev).await?;
    // No connection is held while waiting.
    drop(tx);
    if let Some(within) = query.wait {
        convergence::wait(&core, caller.tenant, revision.rev, within).await?;
    }
    let mut tx = core.store.operator().await?;
    let proxies = queries::proxies(&mut tx, caller.tenant, core.clock.now().to_offset()).await?;
    drop(tx);
    let states: Vec<_> = proxies.iter().map(ProxyReport::state).collect();
    Reply::resource(&RevisionReport {
        convergence: Convergence::of(revision.rev, &states).into(),
        revision,
        proxies: matches!(caller.caller.actor, Actor::Operator(_)).then_some(proxies),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_one_spelling() {
        assert_eq!((number("1"), number("120")), (Some(1), Some(120)));
        for wrong in ["", "0", "01", "+1", "-1", "1.0", "99999999999999999999"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
