//! What is said of an upstream's access tokens.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::fields::moment;

/// How proxies get access tokens for an upstream: as a client of its issuer, for themselves (client credentials, RFC 6749 section 4.4).
/// They are sent as `Authorization: Bearer`, held in memory alone, and renewed before they end.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamOauth {
    /// What was said.
    #[serde(flatten)]
    pub settings: UpstreamOauthSettings,
    /// The same for the same secret; tells nothing about it.
    pub fingerprint: String,
    /// When it was last replaced.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What of it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UpstreamOauthSettings {
    /// Where tokens are given; null: where the issuer's metadata says.
    pub token_endpoint: Option<String>,
    /// Whose metadata says where tokens are given (RFC 8414), and says the same issuer.
    pub issuer: Option<String>,
    /// Who the gateway is there.
    pub client_id: String,
    /// How it shows that.
    pub authentication: UpstreamAuthentication,
    /// Name of the key, of `private_key_jwt`.
    pub key_id: Option<String>,
    /// Scopes that are asked for, parted by spaces; empty: none is asked for.
    pub scope: String,
    /// `resource` (RFC 8707); null: the upstream's URL; empty: none is named.
    pub resource: Option<String>,
    /// PEM certificates trusted instead of the public roots where tokens are given.
    pub ca_pem: Option<String>,
}

/// How the gateway shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamAuthentication {
    /// In `Authorization: Basic`.
    ClientSecretBasic,
    /// In the request's body.
    ClientSecretPost,
    /// By a signed assertion (RFC 7523).
    PrivateKeyJwt,
}

impl UpstreamAuthentication {
    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt]
            .into_iter()
            .find(|value| value.name() == name)
    }
}

/// How tokens are to be got from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamOauthNew {
    /// Where tokens are given. Either this or `issuer`.
    #[serde(default)]
    #[schema(max_length = 2048, example = "https://auth.example.com/token")]
    pub token_endpoint: Option<String>,
    /// Whose metadata says where.
    #[serde(default)]
    #[schema(max_length = 2048, example = "https://auth.example.com")]
    pub issuer: Option<String>,
    /// Who the gateway is there.
    #[schema(min_length = 1, max_length = 255)]
    pub client_id: String,
    /// How it shows that.
    pub authentication: UpstreamAuthentication,
    /// The client's secret, or for `private_key_jwt` a private key in PEM (PKCS#8; P-256 or Ed25519). Never shown again.
    #[schema(value_type = String, min_length = 1, max_length = 8192)]
    pub secret: secrecy::SecretString,
    /// Name of the key, of `private_key_jwt`.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub key_id: Option<String>,
    /// Scopes that are asked for, parted by spaces; empty: none is asked for.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub scope: String,
    /// `resource` (RFC 8707); null: the upstream's URL; empty: none is named.
    #[serde(default)]
    #[schema(max_length = 2048)]
    pub resource: Option<String>,
    /// PEM certificates trusted instead of the public roots where tokens are given.
    #[serde(default)]
    pub ca_pem: Option<String>,
}
