//! What a client looks like.

use ids::{ClientId, EndpointId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    oauth::redirect::{self, RedirectUri},
    resources::fields::{Name, moment},
};

/// An OAuth client or machine identity.
#[derive(Debug, Serialize, ToSchema)]
pub struct Client {
    /// Id.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ClientId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ClientSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be chosen and changed of a client.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// Name for people and for the audit log; unique in the tenant.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// A disabled client's credentials are refused.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// How long an access token lives that the tenant's issuer gives the client, seconds.
    #[serde(default = "token_lifetime", deserialize_with = "token_lifetime_within")]
    #[schema(minimum = 900, maximum = 3600, default = 900)]
    pub token_lifetime_seconds: u32,
    /// Where its users may be sent back to when they have signed in: `https`, `http` on a loopback address or `localhost`, or a scheme
    /// of its own with a period in it. Compared letter by letter, but for the port of a loopback address.
    #[serde(default, deserialize_with = "redirect::several")]
    #[schema(value_type = Vec<String>, max_items = 20, example = json!(["https://app.example.com/callback"]))]
    pub redirect_uris: Vec<RedirectUri>,
    /// Whether it runs where a secret cannot be kept, such as on its users' machines: it has none then, and authenticates by the
    /// method `none`.
    #[serde(default)]
    pub public: bool,
    /// Whether each token that it is given has to be bound to a key of its own (DPoP, RFC 9449), so that whoever steals one cannot use it.
    #[serde(default)]
    #[schema(default = false)]
    pub dpop_bound_access_tokens: bool,
}

const fn enabled() -> bool {
    true
}

const fn token_lifetime() -> u32 {
    900
}

fn token_lifetime_within<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(deserializer)?;
    if (900..=3600).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(serde::de::Error::custom("must be 900 to 3600"))
    }
}

/// An endpoint that a client may use.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientEndpoint {
    /// The endpoint.
    #[schema(value_type = String, example = "ep_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub endpoint_id: EndpointId,
    /// Since when.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
}
