//! `POST {issuer}/revoke` (RFC 7009): a client ends a token of its own, everywhere within the kill switch's bound.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use wire::kill::Credential;

use super::{
    access_token,
    client::{self, Origin},
    error::OAuthError,
    form::Form,
    issuer, log, queries, refresh_token,
};
use crate::app::Core;

/// Tokens of one tenant that are revoked and have not ended: every proxy is told of each. Whoever needs to revoke more disables
/// the client, or revokes the key that has signed them.
pub(super) const MOST: i64 = 4_096;

/// Ends the token. What is no token of this issuer, or has ended, is answered the same.
pub(super) async fn revoke(
    State(core): State<Core>,
    Path(slug): Path<String>,
    origin: Origin,
    form: Form,
) -> Result<Response, OAuthError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let token = form.need("token")?;
    let client = client::authenticate(&core, &issuer, &form, &origin).await?;
    if refresh_token::is_one(token) {
        refresh_token::revoke(&core, &issuer, (&client, &origin), token).await?;
        return Ok(done());
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    if let Some(claims) = access_token::read(&mut tx, &core, &issuer, token).await? {
        if claims.client_id != client.id {
            let error = OAuthError::NotForThisClient;
            drop(tx);
            log::refused(&core, &issuer, (&client, &origin), "revoke_token", error.code()).await?;
            return Err(error);
        }
        if !queries::is_revoked(&mut tx, &claims).await? {
            let now = core.clock.now();
            if queries::revoked_tokens(&mut tx, now).await? >= MOST {
                return Err(OAuthError::Limited { retry_after: super::keys::LONGEST_LIFE });
            }
            let dead = Credential::Token(issuer.tenant, claims.jti);
            log::revoked(tx, &core, (&client, &origin), dead, claims.jti.to_string()).await?;
        }
    }
    Ok(done())
}

fn done() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
