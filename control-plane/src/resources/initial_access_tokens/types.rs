//! What an initial access token looks like.

use std::time::Duration;

use ids::InitialAccessTokenId;
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    http::problem::ApiError,
    resources::fields::{Name, moment},
};

/// A token is handed to somebody, who may lose it: it ends by itself.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Where no end was asked for.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Clients that can be registered with one.
const MAX_USES: u32 = 1_000;

/// An initial access token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct InitialAccessToken {
    /// Id.
    #[schema(value_type = String, example = "iat_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: InitialAccessTokenId,
    /// Name for people.
    #[schema(value_type = String)]
    pub name: Name,
    /// The token's public part, by which it can be recognised: the 12 characters after `pit_`.
    pub lookup: String,
    /// How many clients may be registered with it.
    pub max_uses: u32,
    /// How many were.
    pub uses: u32,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "moment")]
    pub not_after: OffsetDateTime,
    /// When a client was last registered with it; null: never.
    #[serde(with = "moment::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialAccessTokenNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// How many clients may be registered with it.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    pub max_uses: u32,
    /// When it stops working: within 90 days; a day from now if absent.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

const fn one() -> u32 {
    1
}

impl InitialAccessTokenNew {
    /// Until when it can be used.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if that is past, or too far away, or it could be used too often.
    pub fn end(&self, now: Timestamp) -> Result<OffsetDateTime, ApiError> {
        if !(1..=MAX_USES).contains(&self.max_uses) {
            return Err(ApiError::invalid("/max_uses", format!("must be 1 to {MAX_USES}")));
        }
        match self.not_after {
            None => Ok(now.plus(LIFE).to_offset()),
            Some(end) if end <= now.to_offset() => Err(ApiError::invalid("/not_after", "is past")),
            Some(end) if end > now.plus(LONGEST).to_offset() => {
                Err(ApiError::invalid("/not_after", "must be within 90 days"))
            }
            Some(end) => Ok(end),
        }
    }
}

/// A token just made. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct InitialAccessTokenMade {
    /// The token's other fields.
    #[serde(flatten)]
    pub made: InitialAccessToken,
    /// `pit_…`, to be presented as `Authorization: Bearer` where clients register.
    pub token: String,
}

impl std::fmt::Debug for InitialAccessTokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitialAccessTokenMade").field("made", &self.made).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_within_ninety_days_and_makes_a_bounded_number_of_clients() {
        let now = Timestamp::from_secs(1_795_600_000);
        let new = |days: i64, max_uses: u32| {
            let not_after = Some(now.to_offset() + time::Duration::days(days));
            InitialAccessTokenNew { name: Name::stored("n".into()), max_uses, not_after }.end(now)
        };
        let default: InitialAccessTokenNew = serde_json::from_str("{\"name\": \"n\"}").unwrap();
        assert_eq!(default.max_uses, 1);
        assert_eq!(default.end(now).unwrap(), now.plus(LIFE).to_offset());
        assert!(new(1, 1).is_ok() && new(90, 1_000).is_ok());
        for wrong in [new(0, 1), new(-1, 1), new(91, 1), new(1, 0), new(1, 1_001)] {
            assert!(wrong.is_err());
        }
    }
}
