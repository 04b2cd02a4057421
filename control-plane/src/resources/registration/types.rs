//! What a tenant says of clients that nobody has made.

use ids::EndpointId;
use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;
use url::Url;
use utoipa::ToSchema;

pub use super::hosts::HostPattern;
use crate::resources::fields::moment;

/// Hosts at most, and endpoints.
const MOST: usize = 64;

/// How clients may come to the tenant's issuer that nobody has made. Unless the tenant says otherwise they may not.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Registration {
    /// What can be changed.
    #[serde(flatten)]
    pub settings: RegistrationSettings,
    /// When it last changed; null: it never has.
    #[serde(with = "moment::option")]
    pub updated_at: Option<OffsetDateTime>,
}

/// What can be changed of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationSettings {
    /// Clients whose id is the URL of a document that describes them.
    #[serde(default)]
    pub documents: DocumentRegistration,
    /// Clients that register themselves (RFC 7591).
    #[serde(default)]
    pub dynamic: DynamicRegistration,
}

/// Clients whose id is the URL of a document that describes them (draft-ietf-oauth-client-id-metadata-document).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentRegistration {
    /// Where such documents may be.
    #[serde(default)]
    pub from: DocumentHosts,
    /// The hosts, where they are `listed`: a name, or `*.` and a name for all names under it; with `:` and a port where it is not 443.
    #[serde(default, deserialize_with = "few")]
    #[schema(value_type = Vec<String>, max_items = 64, example = json!(["app.example.com", "*.example.org"]))]
    pub hosts: Vec<HostPattern>,
    /// Endpoints that such a client may use from when it comes. Later changes are for those that come later.
    #[serde(default, deserialize_with = "few")]
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub endpoint_ids: Vec<EndpointId>,
}

/// Where documents may be that describe clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentHosts {
    /// Nowhere.
    #[default]
    Off,
    /// At the listed hosts.
    Listed,
    /// Anywhere that the tenant may reach.
    Any,
}

/// Clients that register themselves (RFC 7591).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamicRegistration {
    /// Who may.
    #[serde(default)]
    pub by: DynamicAdmission,
    /// Endpoints that such a client may use from when it comes. Later changes are for those that come later.
    #[serde(default, deserialize_with = "few")]
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub endpoint_ids: Vec<EndpointId>,
}

/// Who may register clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DynamicAdmission {
    /// Nobody.
    #[default]
    Off,
    /// Whoever presents an initial access token.
    Token,
    /// Anybody, within bounds; with an initial access token beyond them.
    Open,
}

impl DocumentHosts {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Listed => "listed",
            Self::Any => "any",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::Listed, Self::Any].into_iter().find(|own| own.name() == name)
    }
}

impl DynamicAdmission {
    /// As stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Token => "token",
            Self::Open => "open",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::Token, Self::Open].into_iter().find(|own| own.name() == name)
    }
}

impl DocumentRegistration {
    /// Whether a document at this URL may describe a client.
    #[must_use]
    pub fn admits(&self, url: &Url) -> bool {
        match self.from {
            DocumentHosts::Off => false,
            DocumentHosts::Listed => self.hosts.iter().any(|host| host.admits(url)),
            DocumentHosts::Any => true,
        }
    }
}

fn few<'de, D: Deserializer<'de>, T: Deserialize<'de> + PartialEq>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let all = Vec::<T>::deserialize(deserializer)?;
    let twice = all.iter().enumerate().any(|(n, one)| all[..n].contains(one));
    if all.len() > MOST || twice {
        return Err(de::Error::custom(format!("must be at most {MOST} different ones")));
    }
    Ok(all)
}
