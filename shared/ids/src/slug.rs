use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A client-chosen, immutable name that appears in URLs: `[a-z0-9-]{3,40}`, no hyphen at either end, not reserved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(Box<str>);

/// Words a slug may not be: they are, or may become, path segments and host names of our own. A test derives from the routes what
/// has to be here; resources of a tenant, such as `tools`, need not, as no slug stands where they do.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "audit-records",
    "auth",
    "authorize",
    "callback",
    "certificate-authorities",
    "console",
    "credential-format",
    "discovery",
    "docs",
    "errors",
    "fleet",
    "gateway",
    "global",
    "health",
    "healthz",
    "join-tokens",
    "jwks",
    "kill-orders",
    "kills",
    "leaks",
    "livez",
    "login",
    "logout",
    "mcp",
    "metrics",
    "oauth",
    "openapi",
    "operator",
    "pools",
    "portcullis",
    "proxies",
    "ready",
    "readyz",
    "reference",
    "register",
    "review",
    "root",
    "server-card",
    "session",
    "startupz",
    "static",
    "system",
    "tenants",
    "token",
    "watch",
    "well-known",
    "www",
];

/// Why a text is not a slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Wrong length or characters.
    #[error("must match [a-z0-9-]{{3,40}} and neither begin nor end with a hyphen")]
    Shape,
    /// A word the product keeps for itself.
    #[error("is a reserved word; choose another")]
    Reserved,
}

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let shaped = (3..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !shaped {
            return Err(SlugError::Shape);
        }
        if RESERVED.contains(&text) {
            return Err(SlugError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
