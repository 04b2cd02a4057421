//! What an external issuer looks like.

use std::collections::BTreeMap;

use ids::{ClientId, ExternalIssuerId, RoleId, Scope};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::{
    fields::{Name, moment},
    signing_keys::types::SigningAlgorithm,
};

/// An issuer of others whose tokens are accepted by endpoints that name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExternalIssuer {
    /// Id.
    #[schema(value_type = String, example = "exi_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ExternalIssuerId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ExternalIssuerSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be chosen and changed of an external issuer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuerSettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// `iss` of its tokens, letter by letter: an https URL. Endpoints' metadata names it among their authorization servers.
    #[schema(max_length = 1024, example = "https://login.example.com")]
    pub issuer: String,
    /// A disabled one's tokens are refused.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Where its keys are: an https URL, which proxies fetch from where the tenant's egress rules allow it.
    #[schema(max_length = 2048)]
    pub jwks_uri: String,
    /// Certificates that are trusted there instead of the public roots, PEM.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// Algorithms by which it may sign.
    #[serde(default = "algorithms")]
    #[schema(min_items = 1, max_items = 3)]
    pub algorithms: Vec<SigningAlgorithm>,
    /// What its tokens may say they are (`typ`).
    #[serde(default = "token_types")]
    #[schema(min_items = 1, max_items = 2)]
    pub token_types: Vec<TokenType>,
    /// `aud` of tokens that are taken at every endpoint that names the issuer. Where there are none, a token has to be for the endpoint at
    /// which it is shown, by one of that endpoint's URLs.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub audiences: Vec<String>,
    /// What a token has to claim beside.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub required_claims: Vec<ClaimText>,
    /// Seconds by which its clock may be ahead.
    #[serde(default = "minute")]
    #[schema(minimum = 0, maximum = 300, default = 60)]
    pub leeway_seconds: u32,
    /// How long its tokens may live, from `iat` to `exp`, seconds.
    #[serde(default = "hour")]
    #[schema(minimum = 60, maximum = 86400, default = 3600)]
    pub max_lifetime_seconds: u32,
    /// Which client a token speaks for: the first of these rules that fits says so, and where none does the token is refused.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub callers: Vec<CallerRule>,
    /// Which roles a token gives its client beside its own, and which scopes it has: all that fit.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub entitlements: Vec<Entitlement>,
}

/// What a token may say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum TokenType {
    /// An access token (RFC 9068).
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// Not said, or nothing but a JWT: for issuers that do not call their access tokens so.
    #[serde(rename = "JWT")]
    Jwt,
}

/// A claim and a text that it has to have, or that has to be among those it has; of `scope` and `scp` one of their words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimText {
    /// The claim.
    #[schema(example = "tid")]
    pub claim: String,
    /// The text, exactly.
    pub value: String,
}

/// Tokens and the client that they speak for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerRule {
    /// Claims that all have to have exactly these texts; at least one.
    #[schema(example = json!({"azp": "deployer"}))]
    pub claims: BTreeMap<String, String>,
    /// The client.
    #[schema(value_type = String, example = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub client_id: ClientId,
}

/// What a claim gives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Entitlement {
    /// The claim.
    #[schema(example = "groups")]
    pub claim: String,
    /// The text that it has, or that is among those it has.
    pub value: String,
    /// Roles.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16)]
    pub roles: Vec<RoleId>,
    /// Scopes, by name.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16)]
    pub scopes: Vec<Scope>,
}

const fn yes() -> bool {
    true
}

const fn minute() -> u32 {
    60
}

const fn hour() -> u32 {
    3_600
}

fn algorithms() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa]
}

fn token_types() -> Vec<TokenType> {
    vec![TokenType::AtJwt]
}
