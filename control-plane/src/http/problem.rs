//! What the API answers when it cannot do what was asked, and the one place where it is rendered and logged.

use std::{error::Error, time::Duration};

use axum::response::{IntoResponse, Response};
use errors::{ErrorCode, Level, problem};
use http::{HeaderValue, StatusCode, header};
use listen::front::Untold;
use redis_link::CallError;

pub use errors::problem::{FieldError, Problem};

use crate::{
    db::StoreError,
    dns::LookUpError,
    publish::{CompileError, commit::CommitError},
};

/// Every error of the REST API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No credential, or not a valid one. Which of the two is not said.
    #[error("no valid credential")]
    Unauthenticated,
    /// The credential is good and lacks this scope.
    #[error("scope {scope} is missing")]
    Forbidden {
        /// The scope, or `operator`.
        scope: &'static str,
    },
    /// No such thing, or not for this caller: the answer is the same.
    #[error("not found")]
    NotFound,
    /// The path exists, not with this method.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(&'static str),
    /// The body is not JSON.
    #[error("body is not JSON: line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The request can be read and is wrong in these places.
    #[error("request is not valid")]
    Invalid(Vec<FieldError>),
    /// A browser sent it that may have been told to by another site.
    #[error("not sent by a page of this origin")]
    CrossSite,
    /// Who has signed in did so too long ago for this.
    #[error("signed in too long ago")]
    SignInTooOld,
    /// It clashes with what exists.
    #[error("{0}")]
    Conflict(&'static str),
    /// It would leave the tenant without an owner.
    #[error("the last owner")]
    LastOwner,
    /// `If-Match` names another state.
    #[error("precondition failed")]
    PreconditionFailed,
    /// A change of what others may have changed needs `If-Match`.
    #[error("If-Match is missing")]
    PreconditionRequired,
    /// The idempotency key was sent with another request before.
    #[error("idempotency key of another request")]
    KeyReused,
    /// A request with this idempotency key is running.
    #[error("a request with this idempotency key is running")]
    InProgress {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The token, or its tenant, has used up what it may ask.
    #[error("too many requests")]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The tenant has as many watches as it may have.
    #[error("too many watches")]
    WatchesLimited,
    /// The cursor was not made by this list.
    #[error("cursor is not valid")]
    CursorInvalid,
    /// The change does not compile.
    #[error("the change does not compile")]
    ConfigRejected(#[source] CompileError),
    /// The body's media type is another.
    #[error("content type is not {0}")]
    ContentType(&'static str),
    /// The body is over the limit.
    #[error("body too large")]
    TooLarge,
    /// The request took too long to arrive or to be answered.
    #[error("timed out")]
    Timeout,
    /// Too many requests from one address.
    #[error("too many requests from this address")]
    AddressLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The load balancer in front does not say whose the request is, or that it came over plain HTTP.
    #[error(transparent)]
    Untold(Untold),
    /// DNS does not have the record that proves a domain.
    #[error("the record is not in DNS")]
    DomainUnproven,
    /// Another tenant has proven the domain.
    #[error("the domain is another tenant's")]
    DomainTaken,
    /// DNS did not answer.
    #[error("DNS")]
    Dns(#[from] LookUpError),
    /// Postgres.
    #[error("store")]
    Store(#[source] StoreError),
    /// Redis.
    #[error("counters")]
    Counters(#[source] CallError),
    /// Anything that should not happen.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl ApiError {
    /// One wrong place. `pointer`: JSON Pointer into the body.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }

    /// Something that should not happen, with its cause for the log.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Its code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::Forbidden { .. } => ErrorCode::Forbidden,
            Self::NotFound => ErrorCode::NotFound,
            Self::MethodNotAllowed => ErrorCode::MethodNotAllowed,
            Self::Malformed(_) | Self::NotJson { .. } => ErrorCode::BadRequest,
            Self::Invalid(_) => ErrorCode::ValidationFailed,
            Self::Conflict(_) => ErrorCode::Conflict,
            Self::CrossSite => ErrorCode::CrossSiteRefused,
            Self::SignInTooOld => ErrorCode::SignInTooOld,
            Self::LastOwner => ErrorCode::LastOwner,
            Self::PreconditionFailed => ErrorCode::PreconditionFailed,
            Self::PreconditionRequired => ErrorCode::PreconditionRequired,
            Self::KeyReused => ErrorCode::IdempotencyKeyReused,
            Self::InProgress { .. } => ErrorCode::IdempotencyInProgress,
            Self::RateLimited { .. } => ErrorCode::ApiRateLimited,
            Self::WatchesLimited => ErrorCode::WatchesLimited,
            Self::CursorInvalid => ErrorCode::CursorInvalid,
            Self::ConfigRejected(_) => ErrorCode::ConfigRejected,
            Self::ContentType(_) => ErrorCode::ContentTypeRefused,
            Self::TooLarge => ErrorCode::RequestTooLarge,
            Self::Timeout => ErrorCode::RequestTimeout,
            Self::AddressLimited { .. } => ErrorCode::AddressLimited,
            Self::Untold(Untold::Address) => ErrorCode::ClientAddressUnknown,
            Self::Untold(Untold::Plain) => ErrorCode::TlsRequired,
            Self::DomainUnproven => ErrorCode::DomainUnproven,
            Self::DomainTaken => ErrorCode::DomainTaken,
            Self::Dns(_) => ErrorCode::DnsUnavailable,
            Self::Store(error) => error.code(),
            Self::Counters(_) => ErrorCode::CountersUnavailable,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    fn problem(&self) -> Problem {
        let problem = Problem::new(self.code());
        match self {
            Self::Forbidden { scope } => problem.with_detail(format!("needs scope `{scope}`")),
            Self::Malformed(detail) | Self::Conflict(detail) => problem.with_detail(*detail),
            Self::NotJson { line, column } => {
                problem.with_detail(format!("body is not JSON at line {line}, column {column}"))
            }
            Self::Invalid(errors) => problem.with_errors(errors.clone()),
            Self::ConfigRejected(error) => problem.with_errors(
                error
                    .faults
                    .iter()
                    .map(|fault| FieldError {
                        pointer: match fault.resource.as_str() {
                            "" => fault.pointer.clone(),
                            other => format!("/{other}{}", fault.pointer),
                        },
                        message: fault.message.to_string(),
                    })
                    .collect(),
            ),
            Self::ContentType(wanted) => problem.with_detail(format!("send `{wanted}`")),
            Self::AddressLimited { retry_after }
            | Self::InProgress { retry_after }
            | Self::RateLimited { retry_after } => problem.with_retry_after(*retry_after),
            Self::Store(StoreError::Conflict(constraint)) => match explain(constraint.name()) {
                ("", detail) => problem.with_detail(detail),
                (pointer, detail) => problem.with_detail(detail).with_errors(vec![FieldError {
                    pointer: pointer.to_owned(),
                    message: detail.to_owned(),
                }]),
            },
            _ => problem,
        }
    }

    /// The response, with its one log line.
    pub(super) fn render(&self, request_id: &str) -> Response {
        self.log();
        let problem = self.problem().with_request_id(request_id);
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, problem.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        if let Some(seconds) = problem.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::Unauthenticated) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn log(&self) {
        let entry = self.code().entry();
        let cause = self.source().map(causes).unwrap_or_default();
        match entry.level {
            Level::Debug => tracing::debug!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Info => tracing::info!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Warn => tracing::warn!(error.code = entry.slug, error.cause = cause, "request refused"),
            Level::Error => tracing::error!(error.code = entry.slug, error.cause = cause, "request failed"),
        }
    }
}

/// The chain of causes on one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Public text for a constraint that refused a write, and the field it is about.
fn explain(constraint: &str) -> (&'static str, &'static str) {
    match constraint {
        "tenants_slug_key"
        | "pools_slug_key"
        | "upstreams_tenant_id_slug_key"
        | "endpoints_tenant_id_slug_key" => ("/slug", "`slug` is taken"),
        "clients_tenant_id_name_key" | "roles_tenant_id_name_key" => ("/name", "`name` is taken"),
        "upstream_credentials_tenant_id_upstream_id_header_key" => {
            ("/header", "this upstream has a credential for this header")
        }
        "endpoint_upstreams_tenant_id_endpoint_id_upstream_id_key" => {
            ("/upstream_id", "this upstream is attached to this endpoint")
        }
        "endpoint_upstreams_tenant_id_endpoint_id_prefix_key" => {
            ("/prefix", "another upstream of this endpoint has this prefix")
        }
        "endpoint_upstreams_tenant_id_upstream_id_fkey" => {
            ("", "the upstream is attached to an endpoint; detach it first")
        }
        "limits_one_of_a_subject" => ("/subject", "there is a limit for this subject"),
        "domains_tenant_id_name_key" => ("/name", "the tenant has this domain"),
        "domains_tenant_id_endpoint_id_fkey" => ("", "a domain stands for the endpoint; delete it first"),
        "client_public_keys_tenant_id_client_id_kid_key" => ("/key/kid", "the client has a key of this name"),
        "tenants_pool_id_fkey" => ("", "the pool has tenants"),
        _ => ("", "another resource stands in the way"),
    }
}

/// Carried from a handler to the middleware that renders it.
#[derive(Debug, Clone)]
pub(super) struct Unrendered(pub(super) std::sync::Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code().entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Unrendered(std::sync::Arc::new(self)));
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            error => Self::Store(error),
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Rejected(error) => Self::ConfigRejected(error),
            CommitError::Store(error) => error.into(),
        }
    }
}
