//! How callers show who they are, as rows.

use ids::{MemberId, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::v1;

use crate::{db::Unreadable, oauth::keys::StoredKey};

/// The tenant's issuer of access tokens.
#[derive(Debug, Clone)]
pub struct IssuerRow {
    /// Exactly as in `iss`.
    pub url: String,
    /// The gateway's origin, without a slash at its end.
    pub gateway: String,
    /// Scopes that callers are told to ask for at first, in order.
    pub baseline: Vec<Scope>,
    /// What its keys signed is accepted.
    pub keys: Vec<StoredKey>,
}

/// `members`, as far as calls go.
#[derive(Debug, Clone, Copy)]
pub struct MemberRow {
    /// Id.
    pub id: MemberId,
    /// Whether anybody may call for them.
    pub enabled: bool,
}

/// By what a caller shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// An API key.
    ApiKey,
    /// An access token of the tenant's own issuer.
    AccessToken,
    /// A token of an issuer of others, which the endpoint names in `external_issuers`.
    ExternalToken,
    /// A client certificate of an authority that the endpoint names in `client_authorities`.
    ClientCertificate,
    /// A client's id and one of its API keys, as user and password (RFC 7617). Weak: programs keep and send passwords carelessly.
    Basic,
}

impl CredentialKind {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::ApiKey, Self::AccessToken, Self::ExternalToken, Self::ClientCertificate, Self::Basic];
    /// What an endpoint accepts that says nothing.
    pub const USUAL: [Self; 2] = [Self::ApiKey, Self::AccessToken];

    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::AccessToken => "access_token",
            Self::ExternalToken => "external_token",
            Self::ClientCertificate => "client_certificate",
            Self::Basic => "basic",
        }
    }

    /// What is offered for callers that know nothing better.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Basic)
    }

    /// As proxies and audit records know it.
    #[must_use]
    pub const fn wire(self) -> v1::CredentialKind {
        match self {
            Self::ApiKey => v1::CredentialKind::ApiKey,
            Self::AccessToken => v1::CredentialKind::AccessToken,
            Self::ExternalToken => v1::CredentialKind::ExternalToken,
            Self::ClientCertificate => v1::CredentialKind::ClientCertificate,
            Self::Basic => v1::CredentialKind::Basic,
        }
    }

    /// From its number in audit records.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.wire() as i32 == number)
    }

    /// From a stored list. One that is not known is not left out: without it the list might mean more than it did.
    pub(crate) fn read(names: &[String]) -> Result<Vec<Self>, Unreadable> {
        let known = |name: &String| Self::ALL.into_iter().find(|kind| kind.name() == name);
        names.iter().map(|name| known(name).ok_or(Unreadable("accepts"))).collect()
    }
}
