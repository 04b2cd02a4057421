//! The grant `client_credentials`: a token for the client itself, at one endpoint.

use super::{
    access_token::{self, Issued},
    audience,
    client::{Client, Origin},
    error::OAuthError,
    form::Form,
    issuer::Issuer,
    log,
};
use crate::app::Core;

/// The token, when its record is committed.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Issued, OAuthError> {
    // No grant names a scope yet, so every scope is one that does not exist.
    if form.get("scope").is_some_and(|scope| !scope.trim_matches(' ').is_empty()) {
        return Err(OAuthError::Scope);
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let audience = audience::choose(&mut tx, core, issuer, client.id, form.get("resource")).await?;
    let issued = access_token::issue(&mut tx, core, issuer, (client, made), &audience).await?;
    let what = format!("{} {audience} by {}", issued.id, client.by);
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    Ok(issued)
}
