//! Which scopes a token gets: those that are asked for. What they are worth to whoever has them, grants say.

use ids::Scopes;

use super::{error::OAuthError, form::Form};
use crate::{db::TenantTx, resources::scopes::queries};

/// The scopes that `scope` names, each of which has to exist; none where it is absent.
///
/// # Errors
/// [`OAuthError::Scope`].
pub(super) async fn asked(tx: &mut TenantTx, form: &Form) -> Result<Scopes, OAuthError> {
    let scopes: Scopes = form.get("scope").unwrap_or_default().parse().map_err(|_| OAuthError::Scope)?;
    if scopes.is_empty() {
        return Ok(scopes);
    }
    let all = queries::all(tx).await?;
    let known = |scope: &ids::Scope| all.iter().any(|(own, _)| own == scope);
    if scopes.iter().all(known) { Ok(scopes) } else { Err(OAuthError::Scope) }
}
