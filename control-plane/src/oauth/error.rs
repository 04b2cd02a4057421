//! What an authorization server answers when it cannot do what was asked: RFC 6749 section 5.2, and the one log line.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use errors::{ErrorCode, Level, oauth};
use http::{HeaderValue, StatusCode, header};

use super::registration::ResolveError;
use crate::{db::StoreError, hashing::HashingError, http::problem::ApiError};

/// Every error of the endpoints that clients authenticate at.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The request cannot be read, says something twice, or lacks something.
    #[error("{0}")]
    Request(&'static str),
    /// The body is over the limit.
    #[error("body too large")]
    TooLarge,
    /// The body did not arrive in time.
    #[error("body did not arrive in time")]
    Slow,
    /// No client authentication, or none that is good. Which of the two is not said, nor what is wrong with it.
    #[error("client is not authenticated")]
    Client {
        /// It was tried by `Authorization: Basic`, or not at all.
        challenge: bool,
    },
    /// A grant type that does not exist here.
    #[error("grant type is not supported")]
    Grant,
    /// A code or refresh token that is none, has ended, was used, or is somebody else's. Which of these is not said.
    #[error("code or refresh token is not good")]
    GrantInvalid,
    /// A scope that does not exist, or that the client may not have.
    #[error("scope is not valid")]
    Scope,
    /// The assertion, or whatever else is the grant, is not good.
    #[error("{0}")]
    Assertion(&'static str),
    /// What a device is told that asks for its token.
    #[error("the device gets no token now")]
    Device(DeviceError),
    /// The document that is to describe the client is not good.
    #[error("{0}")]
    Document(&'static str),
    /// The keys by which an assertion is checked cannot be had now.
    #[error("a trusted issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The resource is none that the client may use, or it has to be named, or more than one was.
    #[error("{0}")]
    Target(&'static str),
    /// No proof of possession for this request, or one that was taken before.
    #[error("proof of possession is not valid")]
    Proof,
    /// It was made at another time: with this nonce the next may be good.
    #[error("proof of possession needs a nonce")]
    ProofNonce {
        /// It.
        nonce: Option<String>,
    },
    /// The client may not do this, such as revoking another's token.
    #[error("the client may not do this")]
    NotForThisClient,
    /// The kill switch has stopped the client or what it belongs to.
    #[error("stopped by the kill switch")]
    Killed,
    /// Too many requests, or too many that failed.
    #[error("too many requests")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// There is no such issuer, or it cannot be looked for now.
    #[error(transparent)]
    Issuer(#[from] ApiError),
    /// Postgres.
    #[error("store")]
    Store(#[from] StoreError),
    /// Anything that should not happen.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a device is told that asks for its token (RFC 8628 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceError {
    /// Nobody has decided yet.
    Pending,
    /// It asks too often.
    SlowDown,
    /// Its code has ended.
    Expired,
    /// Whoever was asked has said no, or may say nothing.
    Denied,
}

impl OAuthError {
    /// Something that should not happen, with its cause for the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Whether somebody waits and is to ask again, so that nobody was refused anything.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, Self::Device(DeviceError::Pending | DeviceError::SlowDown))
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Request(_) => ErrorCode::OauthRequestInvalid,
            Self::TooLarge => ErrorCode::RequestTooLarge,
            Self::Slow => ErrorCode::RequestTimeout,
            Self::Client { .. } => ErrorCode::OauthClientInvalid,
            Self::Grant => ErrorCode::OauthGrantUnsupported,
            Self::GrantInvalid => ErrorCode::OauthGrantInvalid,
            Self::Scope => ErrorCode::OauthScopeInvalid,
            Self::Assertion(_) => ErrorCode::OauthAssertionInvalid,
            Self::Device(DeviceError::Pending) => ErrorCode::OauthAuthorizationPending,
            Self::Device(DeviceError::SlowDown) => ErrorCode::OauthSlowDown,
            Self::Device(DeviceError::Expired) => ErrorCode::OauthDeviceCodeExpired,
            Self::Device(DeviceError::Denied) => ErrorCode::OauthDeviceDenied,
            Self::Document(_) => ErrorCode::OauthClientDocumentInvalid,
            Self::KeysUnavailable => ErrorCode::OauthKeysUnavailable,
            Self::Target(_) => ErrorCode::OauthTargetInvalid,
            Self::Proof => ErrorCode::OauthProofInvalid,
            Self::ProofNonce { .. } => ErrorCode::OauthProofNonceRequired,
            Self::NotForThisClient => ErrorCode::OauthClientUnauthorized,
            Self::Killed => ErrorCode::Killed,
            Self::Limited { .. } => ErrorCode::TokenRequestsLimited,
            Self::Issuer(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// As RFC 6749, or the extension that it comes from, names it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::TooLarge | Self::Slow => "invalid_request",
            Self::Client { .. } | Self::Document(_) => "invalid_client",
            Self::Grant => "unsupported_grant_type",
            Self::GrantInvalid => "invalid_grant",
            Self::Scope => "invalid_scope",
            Self::Assertion(_) => "invalid_grant",
            // RFC 8628 section 3.5.
            Self::Device(DeviceError::Pending) => "authorization_pending",
            Self::Device(DeviceError::SlowDown) => "slow_down",
            Self::Device(DeviceError::Expired) => "expired_token",
            Self::Device(DeviceError::Denied) => "access_denied",
            // RFC 8707.
            Self::Target(_) => "invalid_target",
            // RFC 9449.
            Self::Proof => "invalid_dpop_proof",
            Self::ProofNonce { .. } => "use_dpop_nonce",
            Self::NotForThisClient => "unauthorized_client",
            Self::Killed
            | Self::KeysUnavailable
            | Self::Limited { .. }
            | Self::Store(StoreError::Unavailable(_)) => "temporarily_unavailable",
            Self::Issuer(_) | Self::Store(_) | Self::Internal(_) => "server_error",
        }
    }

    fn log(&self) {
        let entry = self.code().entry();
        let cause = std::error::Error::source(self).map(ToString::to_string).unwrap_or_default();
        match entry.level {
            Level::Debug => tracing::debug!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Info => tracing::info!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Warn => tracing::warn!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Error => tracing::error!(error.code = entry.slug, error.cause = cause, "request failed"),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        // That there is none is no matter of OAuth.
        if let Self::Issuer(error) = self {
            return error.into_response();
        }
        self.log();
        let status = StatusCode::from_u16(self.code().entry().status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = match self {
            Self::Request(detail)
            | Self::Assertion(detail)
            | Self::Document(detail)
            | Self::Target(detail) => Some(detail),
            _ => None,
        };
        let mut response = (status, oauth::error(self.code(), self.name(), detail)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(oauth::CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Client { challenge: true } => {
                let challenge = HeaderValue::from_static("Basic realm=\"token\", charset=\"UTF-8\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::ProofNonce { nonce: Some(nonce) } => {
                if let Ok(nonce) = HeaderValue::try_from(nonce) {
                    headers.insert("dpop-nonce", nonce);
                }
            }
            Self::Limited { retry_after } => {
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            _ => {}
        }
        response
    }
}

impl From<ResolveError> for OAuthError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Unknown => Self::Client { challenge: false },
            ResolveError::Limited { retry_after } => Self::Limited { retry_after },
            ResolveError::Store(error) => Self::Store(error),
            error @ ResolveError::Commit(_) => Self::internal(error),
            error => Self::Document(error.detail().unwrap_or("it is not accepted")),
        }
    }
}

impl From<HashingError> for OAuthError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Crowded => Self::Limited { retry_after: HashingError::RETRY_AFTER },
            error @ HashingError::Ended(_) => Self::internal(error),
        }
    }
}
