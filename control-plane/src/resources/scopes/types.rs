//! What a scope looks like.

use ids::ScopeId;
use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::{Name, moment};

/// A scope of access tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct Scope {
    /// Id.
    #[schema(value_type = String, example = "scp_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ScopeId,
    /// As in grants and tokens; never changes.
    #[schema(value_type = String, example = "files:read")]
    pub name: ScopeName,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ScopeSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of a scope.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeSettings {
    /// What it is for, for the people who are asked to consent.
    #[schema(value_type = String, max_length = 100)]
    pub description: Name,
    /// Callers are told to ask for it at first; every other one they are told of where a call takes it.
    #[serde(default)]
    #[schema(default = false)]
    pub baseline: bool,
}

/// A scope to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeNew {
    /// As in grants and tokens (RFC 6749 section 3.3): printable ASCII without space, `"` and `\`; neither `openid` nor `offline_access`.
    #[schema(value_type = String, min_length = 1, max_length = 64, example = "files:read")]
    pub name: ScopeName,
    /// What it is for, for the people who are asked to consent.
    #[schema(value_type = String, max_length = 100)]
    pub description: Name,
    /// Callers are told to ask for it at first; every other one they are told of where a call takes it.
    #[serde(default)]
    #[schema(default = false)]
    pub baseline: bool,
}

/// The name of a scope that a tenant may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ScopeName(ids::Scope);

/// They mean something else wherever OAuth is spoken.
const TAKEN: [&str; 2] = ["openid", "offline_access"];

impl ScopeName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// From the database, where only valid names are.
    #[must_use]
    pub const fn stored(scope: ids::Scope) -> Self {
        Self(scope)
    }
}

impl<'de> Deserialize<'de> for ScopeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scope = ids::Scope::deserialize(deserializer)?;
        if TAKEN.contains(&scope.as_str()) {
            return Err(de::Error::custom("is a word of OAuth's own; choose another"));
        }
        Ok(Self(scope))
    }
}
