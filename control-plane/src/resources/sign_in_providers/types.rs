//! What a sign-in provider looks like.

use crypto::SecretString;
use ids::{RoleId, SignInProviderId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::{
    fields::{Name, moment},
    members::types::AdminRole,
};

/// An OpenID provider by which the tenant's own people sign in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInProvider {
    /// Id.
    #[schema(value_type = String, example = "sip_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: SignInProviderId,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: SignInProviderSettings,
    /// Tells client secrets apart, and tells nothing else.
    pub client_secret_fingerprint: String,
    /// Where the provider has to send people back to: register it there.
    pub redirect_uri: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be chosen and changed of a sign-in provider.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInProviderSettings {
    /// Name for people: it stands on the page of sign-in.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// The provider's issuer, letter by letter: an https URL, under which its metadata is. Those whom it has let in are its own: with
    /// another issuer or client id everybody comes as somebody new.
    #[schema(max_length = 1024, example = "https://login.example.com")]
    pub issuer: String,
    /// By what the provider knows this tenant.
    #[schema(min_length = 1, max_length = 256)]
    pub client_id: String,
    /// The secret for it. Sealed, and never shown; it stays as it is where it is not sent.
    #[serde(default, skip_serializing)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024, write_only)]
    pub client_secret: Option<SecretString>,
    /// By a disabled one nobody signs in.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Domains of the e-mail addresses that it stands for: it says nothing about others.
    #[schema(min_items = 1, max_items = 64, example = json!(["example.com"]))]
    pub email_domains: Vec<String>,
    /// Whether people become members when they first come; otherwise they need an invitation for their address.
    #[serde(default)]
    pub creates_members: bool,
    /// Whether members with addresses of these domains may sign in with a password as well.
    #[serde(default = "yes")]
    pub passwords: bool,
    /// The claim of the id token that names somebody's groups.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, example = "groups")]
    pub groups_claim: Option<String>,
    /// What groups give, each time somebody comes. Where some rule names an `admin_role`, it is the highest of those that fit, or `user`;
    /// roles that no rule names are left alone.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub rules: Vec<GroupRule>,
}

/// What a group gives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    /// The group, letter by letter.
    #[schema(min_length = 1, max_length = 256)]
    pub group: String,
    /// What its members may administer.
    #[serde(default)]
    pub admin_role: Option<AdminRole>,
    /// What their agents may call.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 16)]
    pub role_ids: Vec<RoleId>,
}

const fn yes() -> bool {
    true
}
