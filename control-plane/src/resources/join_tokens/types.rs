//! What a join token looks like.

use std::time::Duration;

use ids::{JoinTokenId, ProxyId};
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    http::problem::ApiError,
    resources::{fields::moment, tenants::types::SHARED_POOL},
};

/// A token lies about in a file until it is used, so it has to end soon: this long can one be used, at most and unless less
/// was asked for.
const LIFE: Duration = Duration::from_secs(600);

/// A join token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct JoinToken {
    /// Id.
    #[schema(value_type = String, example = "jt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: JoinTokenId,
    /// Slug of the pool that a proxy joins with it.
    pub pool: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// Until when it can be used.
    #[serde(with = "moment")]
    pub not_after: OffsetDateTime,
    /// When it was used; null: it was not.
    #[serde(with = "moment::option")]
    pub used_at: Option<OffsetDateTime>,
    /// The proxy that used it.
    #[schema(value_type = Option<String>)]
    pub used_by: Option<ProxyId>,
}

/// A join token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenNew {
    /// Slug of the pool that a proxy joins with it.
    #[serde(default = "shared")]
    pub pool: String,
    /// Until when it can be used: at most 10 minutes, which it is if absent.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

fn shared() -> String {
    SHARED_POOL.to_owned()
}

impl JoinTokenNew {
    /// Until when the token can be used.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if that is past, or too far away.
    pub fn end(&self, now: Timestamp) -> Result<OffsetDateTime, ApiError> {
        match self.not_after {
            None => Ok(now.plus(LIFE).to_offset()),
            Some(end) if end <= now.to_offset() => Err(ApiError::invalid("/not_after", "is past")),
            Some(end) if end > now.plus(LIFE).to_offset() => {
                Err(ApiError::invalid("/not_after", "must be within 10 minutes"))
            }
            Some(end) => Ok(end),
        }
    }
}

/// A token just made. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct JoinTokenMade {
    /// The token's other fields.
    #[serde(flatten)]
    pub made: JoinToken,
    /// `pjt_…`, for `portcullis proxy --join-token-file`.
    pub token: String,
}

impl std::fmt::Debug for JoinTokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinTokenMade").field("made", &self.made).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_within_ten_minutes() {
        let now = Timestamp::from_secs(1_795_600_000);
        let end = |seconds: i64| {
            let not_after = Some(now.to_offset() + time::Duration::seconds(seconds));
            JoinTokenNew { pool: shared(), not_after }.end(now)
        };
        let default: JoinTokenNew = serde_json::from_str("{}").unwrap();
        assert_eq!(default.pool, "shared");
        assert_eq!(default.end(now).unwrap(), now.plus(Duration::from_secs(600)).to_offset());
        assert!(end(1).is_ok() && end(600).is_ok());
        assert!(end(0).is_err() && end(-1).is_err() && end(601).is_err());
    }
}
