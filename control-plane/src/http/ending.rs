//! What holds for every write and is asked for beside it: `dry_run=true`, and `Idempotency-Key`. Handlers know of
//! neither; their acts carry how the transaction ends.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use serde_json::Value;

use super::{idempotency, problem::ApiError, write::SecretField};
use crate::{app::Core, audit::ending::Ending};

pub(super) const DRY_RUN: &str = "dry_run";
const DRY_RUN_MARK: HeaderName = HeaderName::from_static("portcullis-dry-run");
/// Stands where a dry run would have shown a secret. No parser of ours takes it for one.
const NO_SECRET: &str = "dry_run";

/// Whether a request with this method may change something.
pub(super) fn is_write(method: &Method) -> bool {
    !method.is_safe()
}

/// The layer.
///
/// # Errors
/// [`ApiError`] for what the request asks for wrongly.
pub async fn end(State(core): State<Core>, request: Request, next: Next) -> Result<Response, ApiError> {
    // What has no route is answered as such.
    if !is_write(request.method()) || request.extensions().get::<MatchedPath>().is_none() {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let key = idempotency::Key::of(&parts)?;
    // It stores nothing, so a key is good or bad and nothing else.
    if take_dry_run(&mut parts)? {
        parts.extensions.insert(Ending::RollBack);
        return shown(next.run(Request::from_parts(parts, body)).await).await;
    }
    match key {
        Some(key) => idempotency::once(core, key, parts, body, next).await,
        None => Ok(next.run(Request::from_parts(parts, body)).await),
    }
}

/// Takes `dry_run` out of the query: what is left is the handler's.
fn take_dry_run(parts: &mut Parts) -> Result<bool, ApiError> {
    let Some(query) = parts.uri.query() else { return Ok(false) };
    let (asked, rest): (Vec<_>, Vec<_>) =
        url::form_urlencoded::parse(query.as_bytes()).partition(|(name, _)| name == DRY_RUN);
    let dry_run = match asked.as_slice() {
        [] => return Ok(false),
        [(_, value)] if value == "true" => true,
        [(_, value)] if value == "false" => false,
        _ => return Err(ApiError::invalid("?/dry_run", "must be `true` or `false`, once")),
    };
    let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
    let path = parts.uri.path();
    let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(target.parse().map_err(|_| ApiError::Malformed("the query cannot be read"))?);
    parts.uri = uri.try_into().map_err(ApiError::internal)?;
    Ok(dry_run)
}

/// The answer of a dry run: the write's own, marked, and without a secret that opens nothing.
async fn shown(response: Response) -> Result<Response, ApiError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (mut parts, mut body) = response.into_parts();
    parts.headers.insert(DRY_RUN_MARK, HeaderValue::from_static("true"));
    if let Some(SecretField(field)) = parts.extensions.remove::<SecretField>() {
        let mut shown: Value = serde_json::from_slice(&whole(body).await?).map_err(ApiError::internal)?;
        shown[field] = Value::from(NO_SECRET);
        body = Body::from(serde_json::to_vec(&shown).map_err(ApiError::internal)?);
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response::from_parts(parts, body))
}

/// The bytes of an answer of ours, which is in memory already.
pub(super) async fn whole(body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, usize::MAX).await.map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(uri: &str) -> (Option<bool>, String) {
        let (mut parts, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        let asked = take_dry_run(&mut parts).ok();
        (asked, parts.uri.to_string())
    }

    #[test]
    fn dry_run_is_taken_out_of_the_query() {
        assert_eq!(taken("/a?wait=applied&dry_run=true"), (Some(true), "/a?wait=applied".to_owned()));
        assert_eq!(taken("/a?dry_run=false"), (Some(false), "/a".to_owned()));
        assert_eq!(taken("/a?x=%20b%26"), (Some(false), "/a?x=%20b%26".to_owned()));
        for wrong in ["/a?dry_run=", "/a?dry_run=1", "/a?dry_run=true&dry_run=true"] {
            assert_eq!(taken(wrong).0, None, "{wrong}");
        }
    }
}
