//! Pages of other origins may call what clients call: these endpoints believe no cookie, so whose page it is makes no difference
//! (architecture.md: the sign-in and consent pages, which do, are not among them).

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::Response,
};

use crate::app::Core;

/// The routes, open to pages of every origin.
pub(super) fn open(routes: Router<Core>) -> Router<Core> {
    routes.layer(from_fn(answer))
}

/// What a browser asks before it calls: the layer answers, and for others there is nothing here.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn answer(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let preflight = request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            // The last is what browsers' MCP clients send with everything.
            HeaderValue::from_static("authorization, content-type, dpop, mcp-protocol-version"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    expose(headers);
    response
}

/// Never with credentials: `*` and cookies exclude each other.
fn expose(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("www-authenticate, dpop-nonce, retry-after"),
    );
}
