//! Bodies and queries: closed (unknown fields are refused), and told where they are wrong by JSON Pointer.

use std::error::Error as _;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::LengthLimitError;
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::Segment;

use super::problem::{ApiError, FieldError};
use crate::app::Core;

/// Largest body of a request, bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Largest body that is held before anybody is asked whose it is: an order to stop something is a few hundred bytes.
pub const MAX_ORDER: usize = 16 * 1024;

/// The same request with all of its body here, which may have so many bytes.
///
/// # Errors
/// As for every body.
pub async fn whole(core: &Core, request: Request, most: usize) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(core.config.api_limits.body_time, axum::body::to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, body.into())),
        Ok(Err(error)) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Err(ApiError::TooLarge)
        }
        Ok(Err(_)) => Err(ApiError::Malformed("the body was cut short")),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// A JSON body (RFC 8259) that is exactly a `T`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Core> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, core: &Core) -> Result<Self, ApiError> {
        let body = read(request, core, "application/json").await?;
        from_slice(&body).map(Json)
    }
}

/// A JSON merge patch (RFC 7396), to be laid over the present state.
#[derive(Debug)]
pub struct MergePatch(serde_json::Map<String, serde_json::Value>);

impl FromRequest<Core> for MergePatch {
    type Rejection = ApiError;

    async fn from_request(request: Request, core: &Core) -> Result<Self, ApiError> {
        let body = read(request, core, "application/merge-patch+json").await?;
        match from_slice(&body)? {
            serde_json::Value::Object(patch) => Ok(Self(patch)),
            _ => Err(ApiError::invalid("", "must be an object")),
        }
    }
}

impl MergePatch {
    /// The patched state. A field set to `null` gets the value a new resource would have without it.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the places that are no longer a `T`.
    pub fn apply<T: Serialize + DeserializeOwned>(self, present: &T) -> Result<T, ApiError> {
        let mut value = serde_json::to_value(present).map_err(ApiError::internal)?;
        merge(&mut value, serde_json::Value::Object(self.0));
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = pointer(error.path());
            invalid(path, &error.into_inner().to_string())
        })
    }
}

fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = serde_json::Value::Object(serde_json::Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(serde_json::Value::Null), value);
        }
    }
}

/// Query parameters that are exactly a `T`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Core> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Core) -> Result<Self, ApiError> {
        let text = parts.uri.query().unwrap_or_default();
        if url::form_urlencoded::parse(text.as_bytes()).any(|(_, value)| value.contains('\0')) {
            return Err(ApiError::Malformed("a query parameter contains NUL"));
        }
        let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Query).map_err(|error| {
            let path = pointer(error.path());
            match invalid(path, &error.into_inner().to_string()) {
                ApiError::Invalid(errors) => ApiError::Invalid(
                    errors
                        .into_iter()
                        .map(|e| FieldError { pointer: format!("?{}", e.pointer), ..e })
                        .collect(),
                ),
                other => other,
            }
        })
    }
}

async fn read(request: Request, core: &Core, media_type: &'static str) -> Result<Bytes, ApiError> {
    if !is(request.headers(), media_type) {
        return Err(ApiError::ContentType(media_type));
    }
    match tokio::time::timeout(core.config.api_limits.body_time, Bytes::from_request(request, core)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::TooLarge)
        }
        Ok(Err(_)) => Err(ApiError::Malformed("the body was cut short")),
        Err(_) => Err(ApiError::Timeout),
    }
}

fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if has_nul(body) {
        return Err(ApiError::Malformed("a text contains NUL"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            invalid(path, &error.to_string())
        } else if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
            // What serde_json reports of an enum with a second member.
            ApiError::invalid(path, "is not of the form that is expected here")
        } else {
            not_json(&error)
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Whether a text of this JSON contains NUL, which Postgres cannot store: it occurs only escaped.
fn has_nul(body: &[u8]) -> bool {
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        if rest[at..].starts_with(br"\u0000") {
            return true;
        }
        // What follows may be an escaped backslash.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::NotJson { line: error.line(), column: error.column() }
}

/// serde names a missing or unknown field only in its text; the pointer should lead to the field itself.
fn invalid(mut pointer: String, message: &str) -> ApiError {
    let message = match message.rfind(" at line ") {
        Some(end) => &message[..end],
        None => message,
    };
    for prefix in ["unknown field `", "missing field `", "duplicate field `"] {
        let field = message.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
        if let Some(field) = field
            && let step = format!("/{}", escape(field))
            && !pointer.ends_with(&step)
        {
            pointer.push_str(&step);
        }
    }
    ApiError::invalid(pointer, message)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                out.push('/');
                out.push_str(&escape(key));
            }
            // Enums with contents are objects with the variant as their one member.
            Segment::Enum { variant } => {
                out.push('/');
                out.push_str(&escape(variant));
            }
            Segment::Unknown => {}
        }
    }
    out
}

/// RFC 6901 section 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
