//! What an API key looks like.

use ids::{ClientId, KeyId};
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::snapshot::{MAX_KEY_HOURS, MAX_KEY_NETWORKS};

use super::hours::Hours;
use crate::{
    http::problem::{ApiError, FieldError},
    publish::check,
    resources::fields::{Name, moment},
};

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Id.
    #[schema(value_type = String, example = "key_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: KeyId,
    /// Whose it is.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: KeySettings,
    /// The key's public part, by which it can be recognised: the 12 characters after `pck_`.
    pub lookup: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The key that takes this one's place.
    #[schema(value_type = Option<String>)]
    pub rotated_to: Option<KeyId>,
}

impl Key {
    /// Whether it was revoked or has ended.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.revoked_at.is_some() || self.settings.not_after.is_some_and(|end| end <= now.to_offset())
    }
}

/// What can be changed of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// When it stops working; null: never.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
    /// Networks that it is accepted from; empty: every address that its endpoints accept.
    #[serde(default)]
    #[schema(example = json!(["203.0.113.0/24"]), max_items = 64)]
    pub allow: Vec<String>,
    /// When it is accepted; empty: always.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub hours: Vec<Hours>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyNew {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// When it stops working; null: never.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
    /// Networks that it is accepted from; empty: every address that its endpoints accept.
    #[serde(default)]
    #[schema(example = json!(["203.0.113.0/24"]), max_items = 64)]
    pub allow: Vec<String>,
    /// When it is accepted; empty: always.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub hours: Vec<Hours>,
}

impl From<KeyNew> for KeySettings {
    fn from(new: KeyNew) -> Self {
        let KeyNew { name, not_after, allow, hours } = new;
        Self { name, not_after, allow, hours }
    }
}

impl KeySettings {
    /// Refuses what a proxy would not accept.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each.
    pub fn check(&self) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        let mut fault = |pointer: String, message: String| errors.push(FieldError { pointer, message });
        let lists =
            [("/allow", self.allow.len(), MAX_KEY_NETWORKS), ("/hours", self.hours.len(), MAX_KEY_HOURS)];
        for (pointer, _, most) in lists.into_iter().filter(|(_, length, most)| length > most) {
            fault(pointer.to_owned(), format!("must have at most {most} entries"));
        }
        for (place, network) in self.allow.iter().enumerate() {
            if let Err(message) = check::network(network) {
                fault(format!("/allow/{place}"), message.to_owned());
            }
        }
        for (place, hours) in self.hours.iter().enumerate() {
            if hours.days.is_empty() {
                fault(format!("/hours/{place}/days"), "must name a day".to_owned());
            }
            if hours.from >= hours.until {
                let message =
                    "must be after `from`; hours over midnight are two: until 24:00, and from 00:00";
                fault(format!("/hours/{place}/until"), message.to_owned());
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }
}

/// How a key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// How long the old key goes on working beside the new one, seconds.
    #[serde(default = "one_day")]
    #[schema(minimum = 0, maximum = 2592000, default = 86400)]
    pub overlap_seconds: u32,
    /// When the new key stops working.
    #[serde(default, with = "moment::option")]
    pub not_after: Option<OffsetDateTime>,
}

const fn one_day() -> u32 {
    86_400
}

/// A key just made. The secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// The key's other fields.
    #[serde(flatten)]
    pub made: Key,
    /// `pck_…`, to be presented as `Authorization: Bearer`.
    pub key: String,
}

impl std::fmt::Debug for KeyMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("made", &self.made).finish_non_exhaustive()
    }
}
