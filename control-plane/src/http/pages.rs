//! What anybody may read: the pages that problem documents point to, and the API's description.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use errors::ErrorCode;

use super::{openapi, problem::ApiError};

/// The page of an error code.
#[utoipa::path(get, path = "/errors/{slug}", operation_id = "get_error_page", tag = "reference",
    params(("slug" = String, Path, description = "Stable code")),
    responses((status = 200, description = "Markdown", body = String, content_type = "text/markdown"), (status = 404, description = "No such code")))]
pub(super) async fn error_page(Path(slug): Path<String>) -> Result<Response, ApiError> {
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
