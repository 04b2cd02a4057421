//! Refusals: every way a request can end without reaching the MCP server, and the one place that renders them.
//!
//! Three forms, because MCP clients read three things:
//! - before a JSON-RPC request is known, and for messages that get no JSON-RPC response: the real HTTP status with a
//!   problem document (RFC 9457); 401 and 403 for identity with a challenge (RFC 6750 section 3);
//! - where a protocol revision prescribes 400 or 404 for a parsed request: that status, with a JSON-RPC error;
//! - every other refusal of a parsed request: HTTP 200 with a JSON-RPC error: official clients drop bodies of other statuses.
//!
//! All carry `Portcullis-Refusal: <slug>` for monitors that see only HTTP.

use std::{borrow::Cow, time::Duration};

use ::mcp::{ProtocolError, envelope::ParseError};
use bytes::Bytes;
use errors::{ErrorCode, Level, jsonrpc, problem::Problem};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use limits::budget::Window;
use policy::Action;
use serde_json::json;
use telemetry::field;

use crate::{
    audit::spool::SpoolError,
    limiter::Counted,
    upstream::{Body, Shut, UpstreamError},
};

mod limit_name;

pub(crate) use limit_name::LimitName;

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
    ClientNotAllowed,
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
            Self::CredentialInvalid => ErrorCode::CredentialInvalid,
            Self::ClientNotAllowed => ErrorCode::ClientNotAllowed,
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
            Self::PolicyError { .. } => ErrorCode::PolicyError,
            Self::ToolNotApproved => ErrorCode::ToolNotApproved,
            Self::ToolQuarantined => ErrorCode::ToolQuarantined,
            Self::NoUpstream => ErrorCode::NoUpstream,
            Self::CircuitOpen { .. } => ErrorCode::UpstreamCircuitOpen,
            Self::AuditUnavailable(_) => ErrorCode::AuditUnavailable,
            Self::Upstream(error) => error.code(),
        }
    }

    /// Grants that decided on it.
    pub(crate) fn policies(&self) -> &[Box<str>] {
        match self {
            Self::NotGranted { policies, .. } | Self::PolicyError { policies } => policies,
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
            | Self::CircuitOpen { retry_after, .. } => *retry_after,
            Self::NotReady | Self::Draining | Self::ConcurrencyLimited { .. } => Duration::from_secs(1),
            Self::ConfigStale => Duration::from_secs(30),
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
            // Up to 2025-11-25: a session that is gone is 404, so that the client begins a new one.
            _ if code == ErrorCode::SessionNotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        (prescribed, code.entry().number)
    }

    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::CredentialMissing => Some(HeaderValue::from_static("Bearer")),
            Self::CredentialInvalid => Some(HeaderValue::from_static(r#"Bearer error="invalid_token""#)),
            Self::CredentialMalformed => Some(HeaderValue::from_static(r#"Bearer error="invalid_request""#)),
            Self::ClientNotAllowed => Some(HeaderValue::from_static(r#"Bearer error="insufficient_scope""#)),
            _ => None,
        }
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

/// A refusal in the form its addressee understands.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    content_type: &'static str,
    slug: &'static str,
    challenge: Option<HeaderValue>,
    allow: Option<&'static str>,
    retry_after_secs: Option<u64>,
}

/// Renders a refusal.
pub(crate) fn render(refusal: &Refusal, to: Addressee<'_>, request_id: &str) -> Rendered {
    let mut rendered = match to {
        Addressee::Http => http_form(refusal, request_id),
        Addressee::Request(id) => jsonrpc_form(refusal, id),
    };
    rendered.slug = refusal.code().slug();
    rendered
}

fn http_form(refusal: &Refusal, request_id: &str) -> Rendered {
    let mut problem = Problem::new(refusal.code()).with_request_id(request_id);
    problem.detail = refusal.detail();
    problem.retry_after = refusal.retry_after();
    let allow = match refusal {
        Refusal::MethodNotAllowed { allow } => Some(*allow),
        _ => None,
    };
    Rendered {
        status: status(problem.status()),
        body: Bytes::from(problem.to_json()),
        content_type: errors::problem::CONTENT_TYPE,
        slug: "",
        challenge: refusal.challenge(),
        allow,
        retry_after_secs: problem.retry_after_seconds(),
    }
}

fn jsonrpc_form(refusal: &Refusal, id: &[u8]) -> Rendered {
    let code = refusal.code();
    let (status, number) = refusal.jsonrpc_numbers();
    let retry_after_ms = refusal.retry_after().map(jsonrpc::retry_after_ms);
    let extra: &[(&str, serde_json::Value)] = match refusal {
        Refusal::RateLimited { limit, per_minute, remaining, counted, .. } => &[
            ("counted", json!(counted.as_str())),
            ("limit", json!(limit.as_str())),
            ("per_minute", json!(per_minute)),
            ("remaining", json!(remaining)),
        ],
        Refusal::BudgetExhausted { limit, window, allowed, remaining, counted, .. } => &[
            ("counted", json!(counted.as_str())),
            ("limit", json!(limit.as_str())),
            ("window", json!(if *window == Window::Day { "day" } else { "month" })),
            ("allowed", json!(allowed)),
            ("remaining", json!(remaining)),
        ],
        Refusal::ConcurrencyLimited { limit, allowed, counted } => &[
            ("counted", json!(counted.as_str())),
            ("limit", json!(limit.as_str())),
            ("allowed", json!(allowed)),
            ("remaining", json!(0)),
        ],
        Refusal::CircuitOpen { of, .. } => &[("of", json!(of.as_str()))],
        Refusal::Protocol(error) => error.extra(),
        _ => &[],
    };
    let body = jsonrpc::response_with_code(
        Some(id),
        number,
        code,
        refusal.detail().as_deref(),
        retry_after_ms,
        extra,
    );
    Rendered {
        status,
        body: Bytes::from(body),
        content_type: "application/json",
        slug: "",
        challenge: None,
        allow: None,
        retry_after_secs: None,
    }
}

impl Rendered {
    /// The HTTP response.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(REFUSAL_HEADER, HeaderValue::from_static(self.slug));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

#[cfg(test)]
mod tests;
