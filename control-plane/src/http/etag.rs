//! Entity tags and `If-Match` (RFC 9110 sections 8.8.3 and 13.1.1).

use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, Method, header, request::Parts},
};
use crypto::digest;
use serde::Serialize;
use utoipa::openapi::{
    ObjectBuilder, Required,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
};

use super::problem::ApiError;
use crate::app::Core;

/// A strong entity tag: a hash of the representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// The tag of what is sent as JSON.
    #[must_use]
    pub fn of_json(body: &[u8]) -> Self {
        Self(format!("\"{}\"", digest::hex(&digest::sha256(body)[..16])))
    }

    /// For the `ETag` header.
    #[must_use]
    pub fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The request's `If-Match`, if it has one: a PATCH must, and a PUT where it is
/// asked for, and say `*` where any state will do.
#[derive(Debug, Clone)]
pub struct IfMatch(Option<Vec<String>>);

impl utoipa::IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let description = "Entity tags of the state that the change is meant for; `*` for any";
        let parameter = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(text));
        vec![parameter.build()]
    }
}

impl FromRequestParts<Core> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Core) -> Result<Self, ApiError> {
        let values = parts.headers.get_all(header::IF_MATCH);
        let mut tags: Option<Vec<String>> = None;
        for value in values {
            let text = value.to_str().map_err(|_| ApiError::Malformed("If-Match is not text"))?;
            let listed = text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty());
            tags.get_or_insert_default().extend(listed);
        }
        // Both are made from what was read; two made from one state would undo each other.
        if tags.is_none() && matches!(parts.method, Method::PATCH | Method::PUT) {
            return Err(ApiError::PreconditionRequired);
        }
        Ok(Self(tags))
    }
}

impl IfMatch {
    /// Refuses unless the condition holds for the present state, which must be locked. A weak tag never matches.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`].
    pub fn check(&self, present: &impl Serialize) -> Result<(), ApiError> {
        let Some(tags) = &self.0 else { return Ok(()) };
        let body = serde_json::to_vec(present).map_err(ApiError::internal)?;
        let Etag(current) = Etag::of_json(&body);
        if tags.iter().any(|tag| tag == "*" || *tag == current) {
            Ok(())
        } else {
            Err(ApiError::PreconditionFailed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_state_matches() {
        let Etag(tag) = Etag::of_json(br#"{"a":1}"#);
        let present = serde_json::json!({"a": 1});
        let check = |tags: Option<Vec<String>>| IfMatch(tags).check(&present).is_ok();
        assert!(
            check(None) && check(Some(vec!["*".into()])) && check(Some(vec!["\"x\"".into(), tag.clone()]))
        );
        assert!(
            !check(Some(vec![]))
                && !check(Some(vec![format!("W/{tag}")]))
                && !check(Some(vec!["\"x\"".into()]))
        );
    }
}
