//! What anybody may read of an issuer: its metadata (RFC 8414, and where OpenID Connect looks for it) and its keys (RFC 7517).

use axum::{
    extract::{ConnectInfo, Extension, Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use crypto::jwt::Algorithm;
use ids::Scope;
use serde::Serialize;

use super::{
    issuer::{self, Issuer},
    keys::CACHED_FOR,
    token::GrantType,
    trusted::id_jag::PROFILE,
};
use crate::{
    app::Core,
    http::{problem::ApiError, serve::Peer},
};

/// How clients authenticate, at each endpoint where they do.
const METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
/// Where who has proven nothing is told nothing.
const PROVING: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// RFC 8414 section 2. What there is none of yet is absent, as the standard asks.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    /// RFC 8628 section 4.
    device_authorization_endpoint: String,
    grant_types_supported: Vec<&'static str>,
    dpop_signing_alg_values_supported: [&'static str; 3],
    /// RFC 7591, where the tenant lets clients register themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    /// draft-ietf-oauth-client-id-metadata-document, where the tenant admits such clients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
    /// What of others is taken as a grant, where the tenant trusts somebody for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_grant_profiles_supported: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "<[Scope]>::is_empty")]
    scopes_supported: &'a [Scope],
    authorization_endpoint: String,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
}

/// The issuer's metadata.
pub(super) async fn metadata(
    State(core): State<Core>,
    Path(slug): Path<String>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
) -> Result<Response, ApiError> {
    let issuer = issuer::find(&core, &slug, address(peer)).await?;
    let Issuer { url, scopes, .. } = &*issuer;
    let algorithms = Algorithm::ALL.map(Algorithm::name);
    let metadata = Metadata {
        issuer: url,
        jwks_uri: format!("{url}/jwks.json"),
        token_endpoint: issuer.token_endpoint(),
        token_endpoint_auth_methods_supported: METHODS,
        token_endpoint_auth_signing_alg_values_supported: algorithms,
        revocation_endpoint: format!("{url}/revoke"),
        revocation_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
        introspection_endpoint: format!("{url}/introspect"),
        introspection_endpoint_auth_methods_supported: PROVING,
        introspection_endpoint_auth_signing_alg_values_supported: algorithms,
        device_authorization_endpoint: format!("{url}/device_authorization"),
        grant_types_supported: GrantType::ALL.map(GrantType::name).to_vec(),
        registration_endpoint: issuer.dynamic.then(|| format!("{url}/register")),
        client_id_metadata_document_supported: issuer.documents,
        authorization_grant_profiles_supported: issuer.identities.then_some([PROFILE]),
        scopes_supported: scopes,
        authorization_endpoint: format!("{url}/authorize"),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        dpop_signing_alg_values_supported: algorithms,
    };
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

/// The keys of what the tenant's proxies assert to upstreams: never those of access tokens.
pub(super) async fn assertion_keys(
    State(core): State<Core>,
    Path(slug): Path<String>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
) -> Result<Response, ApiError> {
    let issuer = issuer::find(&core, &slug, address(peer)).await?;
    Ok(public(issuer.assertion_keys.clone(), "application/jwk-set+json"))
}

pub(super) fn address(peer: Option<Extension<ConnectInfo<Peer>>>) -> Option<std::net::IpAddr> {
    peer.map(|Extension(ConnectInfo(peer))| peer.address.ip())
}

/// Anybody may keep it, for a while.
fn public(body: impl Into<axum::body::Body>, media_type: &'static str) -> Response {
    let mut response = body.into().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let kept = format!("public, max-age={}", CACHED_FOR.as_secs());
    if let Ok(kept) = HeaderValue::from_str(&kept) {
        headers.insert(header::CACHE_CONTROL, kept);
    }
    response
}
