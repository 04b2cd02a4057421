//! What is said of assertions to an upstream.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// Assertions to an upstream: with each request it is shown a signed statement (JWT, ES256, good for 30 seconds) of who calls what
/// through which gateway. It is to check signature, `typ` (`portcullis-assertion+jwt`), `iss`, `aud` and `exp`, that `jti` is new, and
/// the body's digest.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamAssertion {
    /// What can be changed.
    #[serde(flatten)]
    pub settings: UpstreamAssertionSettings,
    /// `iss`, exactly.
    #[schema(example = "https://auth.example.com/t/acme/assertions")]
    pub issuer: String,
    /// Where the keys are that sign (RFC 7517).
    #[schema(example = "https://auth.example.com/t/acme/assertions/jwks.json")]
    pub jwks_uri: String,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamAssertionSettings {
    /// `aud`: names the server to itself; null: its URL, exactly as configured.
    #[serde(default)]
    #[schema(max_length = 2048, example = "https://mcp.example.com/mcp")]
    pub audience: Option<String>,
    /// Where it is sent.
    #[serde(default)]
    pub sent_as: SentAs,
    /// With a digest of the body (`body_sha256`), so that it vouches for no other.
    #[serde(default = "with_digest")]
    #[schema(default = true)]
    pub body_digest: bool,
}

/// Where an assertion is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentAs {
    /// In `Portcullis-Assertion`, beside any other credential.
    #[default]
    Header,
    /// In `Authorization: Bearer`: the upstream has no other credential there.
    Bearer,
}

impl SentAs {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Bearer => "bearer",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Header, Self::Bearer].into_iter().find(|value| value.name() == name)
    }
}

const fn with_digest() -> bool {
    true
}
