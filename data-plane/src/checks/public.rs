//! Public answers: the complete list of what an anonymous caller can get from the gateway listener. It has two
//! entries: the CORS preflight, which a browser sends without credentials, and the endpoint's metadata as a protected resource, which
//! says where credentials are had.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{Counted, EndpointEvidence, Exchange, Reached};
use crate::resource;

const METHODS: &str = "POST, GET, DELETE";
const HEADERS: &str = "Authorization, DPoP, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, \
     Mcp-Method, Mcp-Name, X-Request-Id, traceparent, tracestate";
/// How long a browser may keep the answer, in seconds. A removed origin is refused at once all the same: every request
/// is checked.
const MAX_AGE: &str = "600";

/// The answer to a preflight, and to whoever asks for the endpoint's metadata; `None` for everything else.
pub(crate) fn answer(
    exchange: &Exchange,
    place: &EndpointEvidence,
    reached: &Reached,
    counted: &Counted<'_>,
) -> Option<Response<Bytes>> {
    if let Some(answer) = preflight(exchange, reached) {
        counted.charge();
        return Some(answer);
    }
    let reads = matches!(exchange.head().method, Method::GET | Method::HEAD);
    if !(place.is_for_metadata() && reads) {
        return None;
    }
    let metadata = resource::metadata(exchange, place)?;
    counted.charge();
    let length = HeaderValue::from(metadata.len());
    let reads = exchange.head().method == Method::GET;
    let mut response = Response::new(if reads { metadata } else { Bytes::new() });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(resource::KEPT));
    Some(response)
}

/// The answer to a preflight (Fetch standard, "CORS-preflight fetch"). It says nothing about the endpoint but that this origin is
/// accepted, which row 4 has already told.
fn preflight(exchange: &Exchange, reached: &Reached) -> Option<Response<Bytes>> {
    let asked = exchange.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD);
    if exchange.head().method != Method::OPTIONS || asked.is_none() {
        return None;
    }
    reached.origin()?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(exchange));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    Some(response)
}

/// The fixed list, and of what the browser asks for every `Mcp-Param-…`: those names come from tools' schemas.
fn allowed_headers(exchange: &Exchange) -> HeaderValue {
    let asked =
        exchange.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok());
    let mut list = String::from(HEADERS);
    for name in asked.unwrap_or_default().split(',').map(str::trim) {
        if name.get(..10).is_some_and(|prefix| prefix.eq_ignore_ascii_case("mcp-param-")) {
            list.push_str(", ");
            list.push_str(name);
        }
    }
    HeaderValue::try_from(list).unwrap_or_else(|_| HeaderValue::from_static(HEADERS))
}
