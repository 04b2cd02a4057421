//! What the client is told, in the URL to which the person is sent back. Every answer says who it is from (RFC 9207).

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{Zeroizing, digest};
use errors::ErrorCode;
use url::Url;

use super::request::Asked;
use crate::{
    app::Core,
    oauth::issuer::Issuer,
    people::page::{PageError, see_other},
};

/// Why a client that may be told is given nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    Request,
    ResponseType,
    Scope,
    Target,
    /// It has not said that it would ask for codes.
    Client,
    /// The person has said no, or may not say yes.
    Refused,
    LoginRequired,
    ConsentRequired,
    Killed,
}

impl Denied {
    /// As RFC 6749 section 4.1.2.1, or the extension that it comes from, names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "invalid_request",
            Self::ResponseType => "unsupported_response_type",
            Self::Scope => "invalid_scope",
            // RFC 8707.
            Self::Target => "invalid_target",
            Self::Client => "unauthorized_client",
            Self::Refused => "access_denied",
            // OpenID Connect Core section 3.1.2.6.
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::Killed => "temporarily_unavailable",
        }
    }

    const fn code(self) -> ErrorCode {
        match self {
            Self::Request => ErrorCode::OauthRequestInvalid,
            Self::ResponseType => ErrorCode::OauthResponseTypeUnsupported,
            Self::Scope => ErrorCode::OauthScopeInvalid,
            Self::Target => ErrorCode::OauthTargetInvalid,
            Self::Client => ErrorCode::OauthClientUnauthorized,
            Self::Refused => ErrorCode::AccessDenied,
            Self::LoginRequired | Self::ConsentRequired => ErrorCode::AuthorizationNeedsPerson,
            Self::Killed => ErrorCode::Killed,
        }
    }
}

/// A code, before it is sent. Shows nothing in `Debug`.
pub(super) struct Code(Zeroizing<String>);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Code {
    pub(super) fn new(core: &Core) -> Self {
        let bytes = Zeroizing::new(core.entropy.bytes::<32>());
        Self(Zeroizing::new(format!("pcc_{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()))))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_bytes())
    }
}

/// Sends the person back with a code.
pub(super) fn code(issuer: &Issuer, asked: &Asked, code: &Code) -> Result<Response, PageError> {
    back(&asked.redirect_uri, asked.state.as_deref(), &issuer.url, &[("code", code.text())])
}

/// Sends the person back with what went wrong.
pub(super) fn denied(issuer: &Issuer, asked: &Asked, denied: Denied) -> Result<Response, PageError> {
    let entry = denied.code().entry();
    tracing::info!(error.code = entry.slug, client.id = %asked.client.id, "authorization was not given");
    let answer = [("error", denied.name()), ("error_description", entry.title)];
    back(&asked.redirect_uri, asked.state.as_deref(), &issuer.url, &answer)
}

/// Sends the person back with an answer of the issuer.
pub(super) fn back(
    redirect_uri: &str,
    state: Option<&str>,
    issuer: &str,
    answer: &[(&str, &str)],
) -> Result<Response, PageError> {
    let mut location = Url::parse(redirect_uri).map_err(PageError::internal)?;
    {
        let mut pairs = location.query_pairs_mut();
        pairs.extend_pairs(answer);
        if let Some(state) = state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", issuer);
    }
    see_other(location.as_str(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_has_the_name_that_its_standard_gives_it_and_a_page() {
        for (denied, name, code) in [
            (Denied::Request, "invalid_request", ErrorCode::OauthRequestInvalid),
            (Denied::ResponseType, "unsupported_response_type", ErrorCode::OauthResponseTypeUnsupported),
            (Denied::Scope, "invalid_scope", ErrorCode::OauthScopeInvalid),
            (Denied::Target, "invalid_target", ErrorCode::OauthTargetInvalid),
            (Denied::Client, "unauthorized_client", ErrorCode::OauthClientUnauthorized),
            (Denied::Refused, "access_denied", ErrorCode::AccessDenied),
            (Denied::LoginRequired, "login_required", ErrorCode::AuthorizationNeedsPerson),
            (Denied::ConsentRequired, "consent_required", ErrorCode::AuthorizationNeedsPerson),
            (Denied::Killed, "temporarily_unavailable", ErrorCode::Killed),
        ] {
            assert_eq!((denied.name(), denied.code()), (name, code));
        }
    }
}
