//! `POST {issuer}/introspect` (RFC 7662): what a token is, for the client that it was given to. Of every other token, and of what is
//! none, nothing is said but that it is not active.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use crypto::claims::Claims;
use serde::Serialize;

use super::{
    access_token,
    client::{self, Origin, Shown},
    error::OAuthError,
    form::Form,
    issuer, queries, refresh_token,
};
use crate::app::Core;

#[derive(Serialize)]
struct Answer {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(flatten)]
    claims: Option<Claims>,
}

/// Says what the token is.
pub(super) async fn introspect(
    State(core): State<Core>,
    Path(slug): Path<String>,
    origin: Origin,
    form: Form,
) -> Result<Response, OAuthError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let token = form.need("token")?;
    let client = client::authenticate(&core, &issuer, &form, &origin).await?;
    if client.by == Shown::Nothing {
        return Err(OAuthError::Client { challenge: true });
    }
    if refresh_token::is_one(token) {
        return refresh_token::introspect(&core, &issuer, &client, token).await;
    }
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let read = access_token::read(&mut tx, &core, &issuer, token).await?;
    let mut claims = read.filter(|claims| claims.client_id == client.id);
    if let Some(found) = &claims {
        let stopped = core.kills.stop_client(issuer.tenant, client.id);
        if stopped || queries::is_revoked(&mut tx, found).await? {
            claims = None;
        }
    }
    let token_type = claims.as_ref().map(Claims::token_type);
    let mut response = Json(Answer { active: claims.is_some(), token_type, claims }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
