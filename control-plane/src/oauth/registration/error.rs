//! What is answered where a client cannot be registered, or its registration not be managed: RFC 7591 section 3.2.2, RFC 7592 section 2,
//! and RFC 6750 where a token is wrong.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use errors::{ErrorCode, oauth};
use http::{HeaderValue, StatusCode, header};

use super::said::SaidError;
use crate::{db::StoreError, hashing::HashingError, http::problem::ApiError, publish::commit::CommitError};

/// Every error of registration.
#[derive(Debug, thiserror::Error)]
pub(in crate::oauth) enum RegistrationError {
    /// What the client says of itself is not accepted.
    #[error(transparent)]
    Said(#[from] SaidError),
    /// The body is no JSON of a size that is read.
    #[error("{0}")]
    Body(&'static str),
    /// Over the limit.
    #[error("body too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("body did not arrive in time")]
    Slow,
    /// The token is missing, or none that is good for this. Which of the two, and for whom, is not said.
    #[error("the token is not good for this")]
    Token,
    /// The tenant lets nobody register clients.
    #[error("nobody may register clients here")]
    Closed,
    /// Too many came.
    #[error("too many registrations")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// There is no such issuer.
    #[error(transparent)]
    Issuer(#[from] ApiError),
    /// Postgres.
    #[error("store")]
    Store(#[from] StoreError),
    /// Anything that should not happen.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RegistrationError {
    /// Its code.
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::Said(SaidError::Redirect(_)) => ErrorCode::OauthRedirectUriInvalid,
            Self::Said(SaidError::Metadata(_)) | Self::Body(_) => ErrorCode::OauthClientMetadataInvalid,
            Self::TooLarge => ErrorCode::RequestTooLarge,
            Self::Slow => ErrorCode::RequestTimeout,
            Self::Token => ErrorCode::OauthRegistrationTokenInvalid,
            Self::Closed => ErrorCode::OauthRegistrationClosed,
            Self::Limited { .. } => ErrorCode::TokenRequestsLimited,
            Self::Issuer(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Said(SaidError::Redirect(_)) => "invalid_redirect_uri",
            Self::Said(SaidError::Metadata(_)) | Self::Body(_) => "invalid_client_metadata",
            Self::TooLarge | Self::Slow => "invalid_request",
            Self::Token => "invalid_token",
            Self::Closed => "access_denied",
            Self::Limited { .. } | Self::Store(StoreError::Unavailable(_)) => "temporarily_unavailable",
            Self::Issuer(_) | Self::Store(_) | Self::Internal(_) => "server_error",
        }
    }
}

impl IntoResponse for RegistrationError {
    fn into_response(self) -> Response {
        if let Self::Issuer(error) = self {
            return error.into_response();
        }
        let entry = self.code().entry();
        let cause = std::error::Error::source(&self).map(ToString::to_string).unwrap_or_default();
        match entry.level {
            errors::Level::Error => {
                tracing::error!(error.code = entry.slug, error.cause = cause, "registration failed");
            }
            _ => tracing::info!(error.code = entry.slug, error.cause = cause, "registration refused"),
        }
        let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = match self {
            Self::Said(SaidError::Redirect(detail) | SaidError::Metadata(detail)) | Self::Body(detail) => {
                Some(detail)
            }
            _ => None,
        };
        let mut response = (status, oauth::error(self.code(), self.name(), detail)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(oauth::CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Token => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
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

impl From<HashingError> for RegistrationError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Crowded => Self::Limited { retry_after: HashingError::RETRY_AFTER },
            error @ HashingError::Ended(_) => Self::Internal(error.into()),
        }
    }
}

impl From<CommitError> for RegistrationError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            error @ CommitError::Rejected(_) => Self::Internal(error.into()),
        }
    }
}
