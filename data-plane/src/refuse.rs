//! Refusals: every way a request can end without reaching the MCP server, and the one place that renders them.
//!
//! Three forms, because MCP clients read three things:
//! - before a JSON-RPC request is known, and for messages that get no JSON-RPC response: the real HTTP status with a
//!   problem document (RFC 9457); 401 and 403 for identity with a challenge (RFC 6750 section 3);
//! - where a protocol revision prescribes 400, 403 or 404 for a parsed request: that status, with a JSON-RPC error;
//! - every other refusal of a parsed request: HTTP 200 with a JSON-RPC error: official clients drop bodies of other statuses.
//!
//! All carry `Portcullis-Refusal: <slug>` for monitors that see only HTTP.

use std::{borrow::Cow, sync::Arc, time::Duration};

use ::mcp::{ProtocolError, envelope::ParseError};
use errors::{ErrorCode, Level};
use http::{HeaderName, HeaderValue, StatusCode};
use ids::Scopes;
use limits::budget::Window;
use policy::Action;
use telemetry::field;

use crate::{
    audit::spool::SpoolError,
    issuers::Keys,
    limiter::Counted,
    upstream::{Crowded, Shut, UpstreamError},
};

mod challenge;
mod limit_name;
mod render;

pub(crate) use limit_name::LimitName;
pub(crate) use render::{Rendered, render};

/// RFC 9449 section 8.2.
const NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");
/// Slug of the refusal, on every refused response.
pub(crate) const REFUSAL_HEADER: HeaderName = HeaderName::from_static("portcullis-refusal");

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    // Row 1: edge.
    NotReady,
    Draining,
    HeadersTooLarge,
    RequestTooLarge,
    RequestTimeout,
    ContentEncoding,
    QueryToken,
    /// The body ended before its announced length, or its framing is wrong.
    BodyBroken,
    /// The balancer in front does not say whose it is,
    SourceUntold,
    /// or says that it came over plain HTTP.
    PlainHttp,
    // Rows 2 to 5.
    EndpointNotFound,
    /// At row 3 or 9.
    Killed,
    HostRefused,
    OriginRefused,
    AddressRefused,
    AddressLimited {
        retry_after: Duration,
    },
    /// Nobody has confirmed the configuration for too long.
    ConfigStale,
    // Row 6: identity.
    CredentialMissing,
    CredentialMalformed,
    CredentialInvalid,
    /// The key is good, and not accepted from there, or not now.
    CredentialRestricted,
    /// The token's issuer has no such key, as far as is known; `away`: nothing is known of its keys.
    KeyAwaited {
        keys: Arc<Keys>,
        away: bool,
    },
    /// The token is good, and nobody's here.
    CallerNotMapped,
    ClientNotAllowed,
    /// No proof of possession for this request, or one that was taken before.
    ProofInvalid,
    /// It says that it was made at another time, or brings a nonce that is not good: with this one it may be.
    ProofNonce {
        nonce: Option<String>,
    },
    // Row 7: protocol.
    MethodNotAllowed {
        allow: &'static str,
    },
    ContentType,
    NotAcceptable,
    /// Not one JSON-RPC 2.0 message.
    Unparsable(ParseError),
    /// A message that breaks a rule of its revision.
    Protocol(ProtocolError),
    MethodClosed,
    // Row 8: session and state handles.
    SessionRequired,
    SessionNotFound,
    StateInvalid,
    // Row 10: limits.
    RateLimited {
        limit: LimitName,
        per_minute: u32,
        remaining: u32,
        retry_after: Duration,
        counted: Counted,
    },
    ConcurrencyLimited {
        limit: LimitName,
        allowed: u32,
        counted: Counted,
    },
    BudgetExhausted {
        limit: LimitName,
        window: Window,
        allowed: u32,
        remaining: u32,
        retry_after: Duration,
        counted: Counted,
    },
    // Rows 11 and 12: policy and pins.
    /// No grant permits it, or these forbid it.
    NotGranted {
        action: Action,
        policies: Vec<Box<str>>,
    },
    /// These would permit it, if the token had one of the scopes that they ask for.
    ScopesLacking {
        /// What the call takes, and what the token has.
        scopes: Scopes,
        policies: Vec<Box<str>>,
    },
    /// These could not be evaluated.
    PolicyError {
        policies: Vec<Box<str>>,
    },
    ToolNotApproved,
    ToolQuarantined,
    // Forwarding.
    NoUpstream,
    /// The server, or a tool of it, has failed too often.
    CircuitOpen {
        of: Shut,
        retry_after: Duration,
    },
    /// The server has as many calls as it is given.
    UpstreamCrowded {
        reason: Crowded,
        retry_after: Duration,
    },
    AuditUnavailable(SpoolError),
    Upstream(UpstreamError),
}

impl Refusal {
    /// The catalogue's code.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotReady => ErrorCode::NotReady,
            Self::ConfigStale => ErrorCode::ConfigStale,
            Self::Draining => ErrorCode::Draining,
            Self::HeadersTooLarge => ErrorCode::HeadersTooLarge,
            Self::RequestTooLarge => ErrorCode::RequestTooLarge,
            Self::RequestTimeout => ErrorCode::RequestTimeout,
            Self::ContentEncoding => ErrorCode::ContentEncodingRefused,
            Self::QueryToken => ErrorCode::QueryTokenRefused,
            Self::SourceUntold => ErrorCode::ClientAddressUnknown,
            Self::PlainHttp => ErrorCode::TlsRequired,
            Self::EndpointNotFound => ErrorCode::EndpointNotFound,
            Self::Killed => ErrorCode::Killed,
            Self::HostRefused => ErrorCode::HostRefused,
            Self::OriginRefused => ErrorCode::OriginRefused,
            Self::AddressRefused => ErrorCode::AddressRefused,
            Self::AddressLimited { .. } => ErrorCode::AddressLimited,
            Self::CredentialMissing => ErrorCode::CredentialMissing,
            Self::CredentialMalformed => ErrorCode::CredentialMalformed,
            Self::CredentialInvalid | Self::KeyAwaited { away: false, .. } => ErrorCode::CredentialInvalid,
            Self::KeyAwaited { away: true, .. } => ErrorCode::IssuerKeysUnavailable,
            Self::CallerNotMapped => ErrorCode::CallerNotMapped,
            Self::CredentialRestricted => ErrorCode::CredentialRestricted,
            Self::ClientNotAllowed => ErrorCode::ClientNotAllowed,
            Self::ProofInvalid => ErrorCode::ProofInvalid,
            Self::ProofNonce { .. } => ErrorCode::ProofNonceRequired,
            Self::MethodNotAllowed { .. } => ErrorCode::MethodNotAllowed,
            Self::ContentType => ErrorCode::ContentTypeRefused,
            Self::NotAcceptable => ErrorCode::NotAcceptable,
            Self::BodyBroken => ErrorCode::ParseError,
            Self::Unparsable(error) => error.code(),
            Self::Protocol(error) => error.code(),
            Self::MethodClosed => ErrorCode::MethodClosed,
            Self::SessionRequired => ErrorCode::SessionRequired,
            Self::SessionNotFound => ErrorCode::SessionNotFound,
            Self::StateInvalid => ErrorCode::StateInvalid,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::ConcurrencyLimited { .. } => ErrorCode::ConcurrencyLimited,
            Self::BudgetExhausted { .. } => ErrorCode::BudgetExhausted,
            Self::NotGranted { action, .. } => match action {
                Action::CallTool => ErrorCode::ToolNotGranted,
                Action::GetPrompt => ErrorCode::PromptNotGranted,
                Action::ReadResource | Action::Subscribe => ErrorCode::ResourceNotGranted,
                Action::Complete | Action::UseTasks => ErrorCode::ActionNotGranted,
            },
            Self::ScopesLacking { .. } => ErrorCode::ScopeInsufficient,
            Self::PolicyError { .. } => ErrorCode::PolicyError,
            Self::ToolNotApproved => ErrorCode::ToolNotApproved,
            Self::ToolQuarantined => ErrorCode::ToolQuarantined,
            Self::NoUpstream => ErrorCode::NoUpstream,
            Self::CircuitOpen { .. } => ErrorCode::UpstreamCircuitOpen,
            Self::UpstreamCrowded { .. } => ErrorCode::UpstreamCrowded,
            Self::AuditUnavailable(_) => ErrorCode::AuditUnavailable,
            Self::Upstream(error) => error.code(),
        }
    }

    /// Grants that decided on it.
    pub(crate) fn policies(&self) -> &[Box<str>] {
        match self {
            Self::NotGranted { policies, .. }
            | Self::ScopesLacking { policies, .. }
            | Self::PolicyError { policies } => policies,
            _ => &[],
        }
    }

    /// A thing that no grant names.
    pub(crate) const fn not_granted(action: Action) -> Self {
        Self::NotGranted { action, policies: Vec::new() }
    }

    /// Public particulars of this occurrence.
    fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::BodyBroken => {
                Some(Cow::Borrowed("the body is shorter than announced, or its framing is wrong"))
            }
            Self::Unparsable(error) => Some(Cow::Owned(error.to_string())),
            Self::Protocol(error) => Some(Cow::Borrowed(error.detail())),
            _ => None,
        }
    }

    /// When the same request may succeed; `None` where no waiting helps.
    fn retry_after(&self) -> Option<Duration> {
        let wait = match self {
            Self::AddressLimited { retry_after }
            | Self::RateLimited { retry_after, .. }
            | Self::BudgetExhausted { retry_after, .. }
            | Self::CircuitOpen { retry_after, .. }
            | Self::UpstreamCrowded { retry_after, .. } => *retry_after,
            Self::NotReady | Self::Draining | Self::ConcurrencyLimited { .. } => Duration::from_secs(1),
            Self::ConfigStale => Duration::from_secs(30),
            Self::KeyAwaited { away: true, .. } => Duration::from_secs(10),
            _ => limits::NEVER,
        };
        (wait != limits::NEVER).then_some(wait)
    }

    /// HTTP status and `error.code` of a refused JSON-RPC request: what its revision prescribes, else 200 and the
    /// catalogue's number.
    fn jsonrpc_numbers(&self) -> (StatusCode, i64) {
        let code = self.code();
        let prescribed = match self {
            Self::Protocol(error) => return (status(error.status()), error.number()),
            Self::StateInvalid => return (StatusCode::OK, -32602),
            Self::SessionRequired => StatusCode::BAD_REQUEST,
            // Clients step up by the status and its challenge.
            Self::ScopesLacking { .. } => StatusCode::FORBIDDEN,
            // Up to 2025-11-25: a session that is gone is 404, so that the client begins a new one.
            _ if code == ErrorCode::SessionNotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        (prescribed, code.entry().number)
    }

    /// By which the next proof shows that it is new.
    fn nonce(&self) -> Option<HeaderValue> {
        let Self::ProofNonce { nonce: Some(nonce) } = self else { return None };
        HeaderValue::try_from(nonce).ok()
    }

    /// Writes the one log line of this refusal, at the catalogue's level. Refusals of callers who are not known, which
    /// anyone can cause in any number, are counted instead and are seen only by who debugs.
    pub(crate) fn log(&self, request_id: &str, caller_known: bool) {
        let code = self.code();
        let cause: Option<&dyn std::error::Error> = match self {
            Self::Upstream(error) => Some(error),
            Self::AuditUnavailable(error) => Some(error),
            _ => None,
        };
        let slug = code.slug();
        let level = if caller_known { code.entry().level } else { Level::Debug };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    { field::REFUSAL_CODE } = slug,
                    { field::REQUEST_ID } = request_id,
                    cause,
                    "request refused"
                )
            };
        }
        match level {
            Level::Debug => line!(debug),
            Level::Info => line!(info),
            Level::Warn => line!(warn),
            Level::Error => line!(error),
        }
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Who is told, and so in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Addressee<'a> {
    /// Somebody who sent no JSON-RPC request, or none that is known yet.
    Http,
    /// The sender of a JSON-RPC request, by its raw id.
    Request(&'a [u8]),
}

#[cfg(test)]
mod tests;
