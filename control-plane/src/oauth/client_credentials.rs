//! The grant `client_credentials`: a token for the client itself, at one endpoint.

use crypto::claims::Subject;

use super::{
    access_token::{self, Asked, Issued},
    audience,
    client::{Client, Origin},
    error::OAuthError,
    form::Form,
    issuer::Issuer,
    log, scopes,
};
use crate::app::Core;

/// The token, when its record is committed.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Issued, OAuthError> {
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let audience = audience::choose(&mut tx, core, issuer, client.id, form.get("resource")).await?;
    let scopes = scopes::asked(&mut tx, form).await?;
    let asked = Asked {
        subject: Subject::Client(client.id),
        client: client.id,
        made,
        lifetime: client.lifetime,
        audience,
        scopes,
        confirmation: client.confirmation,
        auth_time: None,
        actor: None,
    };
    let issued = access_token::issue(&mut tx, core, issuer, asked).await?;
    let what = format!("{} {} by {}", issued.id(), issued.claims.aud, client.by);
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    Ok(issued)
}
