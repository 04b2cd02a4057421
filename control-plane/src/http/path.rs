//! Typed ids from the path.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use ids::{Id, Kind};

use super::problem::ApiError;
use crate::app::Core;

/// The id in the path segment that is named after its kind: `OfPath<UpstreamId>` reads `{upstream}`, and
/// `OfPath<AdminTokenId>` reads `{admin_token}`. A text that is no such id is answered like an id that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct OfPath<I>(pub I);

impl<K: Kind> FromRequestParts<Core> for OfPath<Id<K>> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, core).await.map_err(|_| ApiError::NotFound)?;
        let is_named =
            |name: &str| name.bytes().map(|b| if b == b'_' { b' ' } else { b }).eq(K::NOUN.bytes());
        let value = params.iter().find(|(name, _)| is_named(name)).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).map(Self).ok_or(ApiError::NotFound)
    }
}
