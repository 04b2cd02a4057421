//! Operators, also while Postgres is away.

use axum::{extract::FromRequestParts, http::request::Parts};
use crypto::{ExposeSecret as _, KeyKind, key};

use super::{Caller, Operator, address, bearer, ending, request_id};
use crate::{
    app::Core,
    audit::Actor,
    db::StoreError,
    http::{problem::ApiError, scope::Scopes},
};

/// As [`Operator`], and while Postgres is away the holder of the configured operator token, which is in memory: for what
/// must not wait. A token that was revoked in Postgres counts again while that is away, as long as it is configured.
#[derive(Debug, Clone)]
pub struct UrgentOperator {
    /// Who.
    pub caller: Caller,
    /// Postgres does not answer.
    pub without_store: bool,
}

impl FromRequestParts<Core> for UrgentOperator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        match tokio::time::timeout(core.kills.patience(), Operator::from_request_parts(parts, core)).await {
            Ok(Ok(Operator { caller })) => Ok(Self { caller, without_store: false }),
            Ok(Err(ApiError::Store(StoreError::Unavailable(_)))) | Err(_) => {
                Ok(Self { caller: configured(parts, core)?, without_store: true })
            }
            Ok(Err(error)) => Err(error),
        }
    }
}

/// The caller, if it presents the configured operator token. Every other credential is as unknown as Postgres is away.
fn configured(parts: &Parts, core: &Core) -> Result<Caller, ApiError> {
    let (presented, address) = (bearer(parts)?, address(parts));
    let unknown =
        || ApiError::Store(StoreError::Unavailable("only the configured token is known now".into()));
    let token = key::parse(KeyKind::OperatorToken, &presented).map_err(|_| ApiError::Unauthenticated)?;
    let held = core.config.operator_token.as_ref().ok_or_else(unknown)?;
    let held = key::parse(KeyKind::OperatorToken, held.expose_secret()).map_err(ApiError::internal)?;
    if !core.secrets.verify_token(&token, &core.secrets.hash_token(&held)) {
        core.authentication_failed(address);
        return Err(unknown());
    }
    // Which row it has cannot be asked now.
    let actor = Actor::Operator(ids::Uuid::nil());
    Ok(Caller {
        actor,
        scopes: Scopes::all(),
        not_after: None,
        address,
        request_id: request_id(parts),
        ending: ending(parts),
        browser: None,
    })
}
