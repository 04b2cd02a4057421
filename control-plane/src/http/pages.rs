//! What anybody may read: the pages that problem documents point to, and the API's description.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::digest;
use errors::ErrorCode;

use super::{openapi, problem::ApiError, reference};

/// The page of an error code.
#[utoipa::path(get, path = "/errors/{slug}", operation_id = "get_error_page", tag = "reference",
    params(("slug" = String, Path, description = "Stable code")),
    responses((status = 200, description = "Markdown", body = String, content_type = "text/markdown"), (status = 404, description = "No such code")))]
pub(crate) async fn error_page(Path(slug): Path<String>) -> Result<Response, ApiError> {
    let code = ErrorCode::from_slug(&slug).ok_or(ApiError::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, "text/markdown; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    Ok((headers, errors::page(code)).into_response())
}

/// The API's description: OpenAPI 3.1.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "get_openapi", tag = "reference",
    responses((status = 200, description = "OpenAPI 3.1 document", content_type = "application/json")))]
pub(super) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::document);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=60")];
    (headers, DOCUMENT.as_str()).into_response()
}

/// The API's reference, for people.
#[utoipa::path(get, path = "/v1/reference", operation_id = "get_reference", tag = "reference",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")))]
pub(super) async fn reference() -> Response {
    static PAGE: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
        let api = serde_json::from_str(&openapi::document()).unwrap_or_default();
        let style = STANDARD.encode(digest::sha256(reference::STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        );
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        (reference::page(&api), policy)
    });
    let (page, policy) = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
        (header::CONTENT_SECURITY_POLICY, policy.clone()),
    ];
    (headers, page.as_str()).into_response()
}
