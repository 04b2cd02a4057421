//! What a refusal looks like on the wire.

use bytes::Bytes;
use errors::{jsonrpc, problem::Problem};
use http::{HeaderValue, Response, StatusCode, header};
use limits::budget::Window;
use serde_json::json;

use super::{Addressee, NONCE_HEADER, REFUSAL_HEADER, Refusal, status};
use crate::{
    resource::Pointer,
    upstream::{Body, UpstreamError},
};

/// A refusal in the form its addressee understands.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    content_type: &'static str,
    slug: &'static str,
    challenges: Vec<HeaderValue>,
    nonce: Option<HeaderValue>,
    allow: Option<&'static str>,
    retry_after_secs: Option<u64>,
}

/// Renders a refusal. `pointer`: where whoever is not let in finds out how.
pub(crate) fn render(
    refusal: &Refusal,
    to: Addressee<'_>,
    request_id: &str,
    pointer: Option<&Pointer>,
) -> Rendered {
    let mut rendered = match to {
        Addressee::Http => http_form(refusal, request_id, pointer),
        Addressee::Request(id) => jsonrpc_form(refusal, id, pointer),
    };
    rendered.slug = refusal.code().slug();
    rendered
}

fn http_form(refusal: &Refusal, request_id: &str, pointer: Option<&Pointer>) -> Rendered {
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
        challenges: refusal.challenges(pointer),
        nonce: refusal.nonce(),
        allow,
        retry_after_secs: problem.retry_after_seconds(),
    }
}

fn jsonrpc_form(refusal: &Refusal, id: &[u8], pointer: Option<&Pointer>) -> Rendered {
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
        Refusal::ScopesLacking { scopes, .. } => &[("scopes", json!(scopes.to_string()))],
        Refusal::CircuitOpen { of, .. } => &[("of", json!(of.as_str()))],
        Refusal::UpstreamCrowded { reason, .. } => &[("reason", json!(reason.as_str()))],
        Refusal::Upstream(UpstreamError::Token(error)) => &[("reason", json!(error.reason()))],
        Refusal::Upstream(UpstreamError::Timeout(waiting)) => &[("waited_for", json!(waiting.as_str()))],
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
        // Of a parsed request only what can be had by asking for more is answered with a challenge.
        challenges: if status == StatusCode::FORBIDDEN { refusal.challenges(pointer) } else { Vec::new() },
        nonce: None,
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
        for challenge in self.challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = self.nonce {
            headers.insert(NONCE_HEADER, nonce);
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
