//! `POST {issuer}/token`: tokens for grants (RFC 6749 section 3.2). Each grant type is a file.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use ids::Scopes;
use serde::Serialize;

use super::{
    access_token::Issued,
    authorization_code,
    client::{self, Client, Origin, Shown},
    client_credentials,
    device::{self, DEVICE_CODE},
    error::OAuthError,
    exchange::{self, ACCESS_TOKEN, TOKEN_EXCHANGE},
    form::Form,
    issuer::{self, Issuer},
    log, proof,
    refresh_token::{self, Refresh},
    registration,
    trusted::{
        id_jag,
        workload::{self, JWT_BEARER},
    },
};
use crate::app::Core;

/// A way to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantType {
    /// RFC 6749 section 4.4: the client's own.
    ClientCredentials,
    /// RFC 7523 section 2.1: what an issuer has signed that the tenant trusts.
    JwtBearer,
    /// RFC 8693.
    TokenExchange,
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 section 4.1: what a member has agreed to.
    AuthorizationCode,
    /// RFC 6749 section 6: the same again.
    RefreshToken,
}

impl GrantType {
    /// All that there are.
    pub const ALL: [Self; 6] = [
        Self::ClientCredentials,
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::JwtBearer,
        Self::TokenExchange,
        Self::DeviceCode,
    ];

    /// As in requests and in the metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => JWT_BEARER,
            Self::TokenExchange => TOKEN_EXCHANGE,
            Self::DeviceCode => DEVICE_CODE,
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
        }
    }

    /// Whether a member has said yes to it.
    const fn is_for_users(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::RefreshToken | Self::DeviceCode)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.name() == name)
    }
}

/// RFC 6749 section 5.1.
#[derive(Serialize)]
struct Answer {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    /// RFC 8693 section 2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Scopes::is_empty")]
    scope: Scopes,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Refresh>,
}

/// Gives a token, if the grant is good.
pub(super) async fn token(
    State(core): State<Core>,
    Path(slug): Path<String>,
    origin: Origin,
    form: Form,
) -> Result<Response, OAuthError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    // A request that cannot be meant is not asked who sent it.
    let grant = form.need("grant_type")?;
    let client = match workload::presented(&form, grant) {
        Some(assertion) => workload::authenticate(&core, &issuer, (&form, assertion), &origin).await?,
        None => client::authenticate(&core, &issuer, &form, &origin).await?,
    };
    match issue(&core, &issuer, (&client, &origin), grant, &form).await {
        Ok((issued, refresh_token)) => {
            let expires_in = issued.lifetime().as_secs();
            let token_type = issued.claims.token_type();
            let (access_token, scope) = (issued.token, issued.claims.scope);
            let issued_token_type = (grant == TOKEN_EXCHANGE).then_some(ACCESS_TOKEN);
            let answer =
                Answer { access_token, token_type, expires_in, scope, issued_token_type, refresh_token };
            let mut response = Json(answer).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Err(error) => {
            // A device that waits asks again and again.
            if !error.is_waiting() {
                log::refused(&core, &issuer, (&client, &origin), "issue_token", error.code()).await?;
            }
            Err(error)
        }
    }
}

async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    grant: &str,
    form: &Form,
) -> Result<(Issued, Option<Refresh>), OAuthError> {
    if core.kills.stop_client(issuer.tenant, client.id) {
        return Err(OAuthError::Killed);
    }
    let grant = GrantType::from_name(grant).ok_or(OAuthError::Grant)?;
    let client =
        &Client { confirmation: proof::bound(core, issuer, client.id, form).await?, ..client.clone() };
    let registered = registration::may(core, issuer, client.id, grant.name()).await?;
    // What it has itself, nobody is given who only says that they are it.
    if client.by == Shown::Nothing && !grant.is_for_users() {
        return Err(OAuthError::NotForThisClient);
    }
    let by = (client, origin);
    let issued = match grant {
        GrantType::ClientCredentials => (client_credentials::issue(core, issuer, by, form).await?, None),
        GrantType::AuthorizationCode => authorization_code::issue(core, issuer, by, form).await?,
        GrantType::RefreshToken => refresh_token::issue(core, issuer, by, form).await?,
        // A workload has become a client: what it gets is the client's own.
        GrantType::JwtBearer if matches!(client.by, Shown::Workload(_)) => {
            (client_credentials::issue(core, issuer, by, form).await?, None)
        }
        GrantType::JwtBearer => (id_jag::issue(core, issuer, by, form).await?, None),
        GrantType::TokenExchange => (exchange::issue(core, issuer, by, form).await?, None),
        GrantType::DeviceCode => (device::issue(core, issuer, by, form).await?, None),
    };
    // Whoever has brought a proof is given nothing that is good without: a grant that forgets it gives nothing.
    let (access, _) = &issued;
    if access.claims.cnf != client.confirmation {
        return Err(OAuthError::internal("a token is not bound to what was shown"));
    }
    registration::used(core, issuer, client.id, registered).await?;
    Ok(issued)
}
