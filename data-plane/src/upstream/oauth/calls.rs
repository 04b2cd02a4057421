//! Tokens of calls: the one that is held, another in good time, another where the upstream refuses it.

use std::{rc::Rc, sync::Arc};

use super::{
    super::{error::UpstreamError, pool::Pool},
    Means, Token,
};
use crate::snapshot::index::{TenantIndex, UpstreamIndex};

/// The token that a call to the upstream shows; `None` where it shows none.
pub(in super::super) async fn token(
    pool: &Rc<Pool>,
    tenant: &TenantIndex,
    upstream: &UpstreamIndex,
) -> Result<Option<Arc<Token>>, UpstreamError> {
    let Some(oauth) = &upstream.auth.oauth else { return Ok(None) };
    let now = pool.parts.clock.monotonic();
    let Some(token) = oauth.held(now) else {
        return Ok(Some(oauth.token(&means(pool, tenant)).await?));
    };
    if oauth.is_due(&token, now) {
        let (oauth, means) = (oauth.clone(), means(pool, tenant));
        (pool.parts.spawn)(Box::pin(async move { Box::pin(oauth.refresh(&means)).await }));
    }
    Ok(Some(token))
}

/// Whether a call that was answered so is sent once more, with another token: it was refused for the one it showed, so nothing of it was
/// done (RFC 9110 section 15.5.2).
pub(in super::super) fn is_followed(
    pool: &Rc<Pool>,
    upstream: &UpstreamIndex,
    token: Option<&Arc<Token>>,
    error: &UpstreamError,
) -> bool {
    let (Some(oauth), Some(token)) = (&upstream.auth.oauth, token) else { return false };
    matches!(error, UpstreamError::Unauthorized(401)) && oauth.refused(token, pool.parts.clock.monotonic())
}

fn means(pool: &Rc<Pool>, tenant: &TenantIndex) -> Means {
    Means {
        rules: tenant.egress.clone(),
        resolver: pool.parts.resolver.clone(),
        clock: pool.parts.clock.clone(),
        entropy: pool.parts.entropy.clone(),
    }
}
