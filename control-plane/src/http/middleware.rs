//! Everything a request of the API passes before its route, in order.

use std::time::Duration;

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use ids::RequestId as Id;
use listen::front::Untold;
use telemetry::{field, metric};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{
    body::{self, MAX_BODY},
    deprecation::{LEAVING, announce},
    ending,
    problem::{ApiError, Unrendered},
    quota::Standing,
    serve::Peer,
};
use crate::app::Core;

/// Longer than the longest `?wait=applied`.
const REQUEST_TIME: Duration = Duration::from_secs(75);

/// No form that an authorization server takes is larger.
const MAX_PUBLIC_BODY: usize = 32 * 1024;

/// The stack. The last `layer` is the outermost: read from the bottom up.
pub fn stack(routes: Router<Core>, core: &Core) -> Router {
    routes
        // 12. Authentication and authorization: extractors in the handlers' signatures (auth.rs).
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        // 11. Dry runs and idempotency keys.
        .layer(from_fn_with_state(core.clone(), ending::end))
        // 10. An order to stop something is carried out also when whoever gave it does not stay for the answer.
        .layer(from_fn_with_state(core.clone(), to_the_end))
        // 9. No body is read beyond this.
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // 8. Nobody holds a connection for ever.
        .layer(from_fn(time_limit))
        // 7. A panic in one request is that request's 500.
        .layer(from_fn(catch_panic))
        // 6. Whose a request is has to be known: limits and audit go by it.
        .layer(from_fn(source_known))
        // 5. Errors get their document here, and their one log line.
        .layer(from_fn(problems))
        // 4. What is on its way out says so.
        .layer(from_fn_with_state(LEAVING, announce))
        // 3. Headers of every answer.
        .layer(from_fn(answer_headers))
        // 2. The trace span and the request's metrics.
        .layer(from_fn_with_state(core.clone(), observe))
        // 1. The id by which everything after knows the request.
        .layer(from_fn_with_state(core.clone(), request_id))
        .with_state(core.clone())
}

/// The stack of the authorization servers, as [`stack`]: who calls there has no admin token, so nothing here asks for one.
pub fn public(routes: Router<Core>, core: &Core) -> Router {
    routes
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY))
        .layer(from_fn(time_limit))
        .layer(from_fn(catch_panic))
        .layer(from_fn(source_known))
        .layer(from_fn(problems))
        .layer(from_fn(answer_headers))
        .layer(from_fn_with_state(core.clone(), observe))
        .layer(from_fn_with_state(core.clone(), request_id))
        .with_state(core.clone())
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of the request: the caller's own, where it is harmless, else one of ours.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl RequestId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

async fn request_id(State(core): State<Core>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    let id = given.map_or_else(
        || Id::from_parts(core.clock.now().millis(), core.entropy.bytes()).to_string(),
        ToOwned::to_owned,
    );
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert(X_REQUEST_ID, header);
    }
    response
}

async fn observe(State(core): State<Core>, request: Request, next: Next) -> Response {
    let started = core.clock.monotonic();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let id = request.extensions().get::<RequestId>().cloned();
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.address.ip());
    let span = tracing::info_span!(
        "rest",
        { field::HTTP_REQUEST_METHOD } = %method,
        { field::HTTP_ROUTE } = route,
        { field::HTTP_RESPONSE_STATUS_CODE } = tracing::field::Empty,
        { field::REQUEST_ID } = id.as_ref().map_or("", RequestId::as_str),
        { field::CLIENT_ADDRESS } = peer.map(tracing::field::display),
    );
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = core.clock.monotonic().since(started);
    span.record(field::HTTP_RESPONSE_STATUS_CODE, status);
    span.in_scope(|| tracing::info!({ field::DURATION_US } = took.as_micros() as u64, "request answered"));
    metrics::histogram!(
        metric::HTTP_SERVER_REQUEST,
        "http_request_method" => method_label(&method),
        "http_route" => route,
        "http_response_status_code" => status.to_string(),
    )
    .record(took.as_secs_f64());
    response
}

/// A closed set: anybody can send any method.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "_OTHER",
    }
}

async fn answer_headers(mut request: Request, next: Next) -> Response {
    let standing = Standing::default();
    request.extensions_mut().insert(standing.clone());
    let tls = request.extensions().get::<ConnectInfo<Peer>>().is_some_and(|info| info.0.tls);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    standing.write(headers);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    listen::headers::protect(headers);
    if tls {
        listen::headers::stay_encrypted(headers);
    }
    response
}

async fn problems(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Unrendered>() {
        Some(Unrendered(error)) => {
            let mut rendered = error.render(id.as_ref().map_or("", RequestId::as_str));
            // Of a 405: what would have been allowed.
            if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
                rendered.headers_mut().insert(header::ALLOW, allow);
            }
            rendered
        }
        None => response,
    }
}

async fn source_known(request: Request, next: Next) -> Response {
    match request.extensions().get::<Untold>() {
        Some(untold) => ApiError::Untold(*untold).into_response(),
        None => next.run(request).await,
    }
}

async fn catch_panic(request: Request, next: Next) -> Response {
    let running = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
    // The panic's own message went to the log when it happened.
    running.await.unwrap_or_else(|_| ApiError::internal("a handler panicked").into_response())
}

/// Where [`to_the_end`] applies.
const KILLS: &str = "/v1/kills";

/// A caller that hangs up takes its request along, and an order waits for Postgres, which may not answer: so it becomes a task of
/// its own as soon as all of it is here, before anybody is asked anything.
async fn to_the_end(State(core): State<Core>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if request.method() != Method::POST || route != Some(KILLS) {
        return next.run(request).await;
    }
    let request = match body::whole(&core, request, body::MAX_ORDER).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let (answer, answered) = oneshot::channel();
    let running = async move {
        // Nobody waits for it any more: it was done all the same.
        let _gone = answer.send(next.run(request).await);
    };
    core.tasks.spawn("order to stop", running.in_current_span());
    answered.await.unwrap_or_else(|_| ApiError::internal("an order to stop did not end").into_response())
}

async fn time_limit(request: Request, next: Next) -> Response {
    let running = tokio::time::timeout(REQUEST_TIME, next.run(request));
    running.await.unwrap_or_else(|_| ApiError::Timeout.into_response())
}
