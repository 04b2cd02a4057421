//! What anybody may read of an issuer: its metadata (RFC 8414, and where OpenID Connect looks for it) and its keys (RFC 7517).

use axum::{
    extract::{ConnectInfo, Extension, Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    issuer::{self, Issuer},
    keys::CACHED_FOR,
};
use crate::{
    app::Core,
    http::{problem::ApiError, serve::Peer},
};

#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: &'a [&'a str],
}

/// The issuer's metadata.
pub(super) async fn metadata(
    State(core): State<Core>,
    Path(slug): Path<String>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
) -> Result<Response, ApiError> {
    let issuer = issuer::find(&core, &slug, address(peer)).await?;
    let Issuer { url, .. } = &*issuer;
    let metadata =
        Metadata { issuer: url, jwks_uri: format!("{url}/jwks.json"), response_types_supported: &[] };
    Ok(public(serde_json::to_vec(&metadata).map_err(ApiError::internal)?, "application/json"))
}

/// The issuer's keys.
pub(super) async fn keys(
    State(core): State<Core>,
    Path(slug): Path<String>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
) -> Result<Response, ApiError> {
    let issuer = issuer::find(&core, &slug, address(peer)).await?;
    Ok(public(issuer.keys.clone(), "application/jwk-set+json"))
}

pub(super) fn address(peer: Option<Extension<ConnectInfo<Peer>>>) -> Option<std::net::IpAddr> {
    peer.map(|Extension(ConnectInfo(peer))| peer.address.ip())
}

/// Anybody may keep it, for a while, and pages of any origin may read it.
fn public(body: impl Into<axum::body::Body>, media_type: &'static str) -> Response {
    let mut response = body.into().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let kept = format!("public, max-age={}", CACHED_FOR.as_secs());
    if let Ok(kept) = HeaderValue::from_str(&kept) {
        headers.insert(header::CACHE_CONTROL, kept);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
