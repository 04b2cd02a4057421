//! What is said of credentials' ages.

use ids::{
    AdminTokenId, ClientId, ClientSecretId, CredentialId, Id, KeyId, PublicKeyId, SigningKeyId, UpstreamId,
    Uuid,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    http::problem::{ApiError, FieldError},
    resources::fields::moment,
};

/// Longest time that a credential may be left as it is: ten years.
const MOST_DAYS: u16 = 3_650;

/// A credential that opens something now or will, and its age.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialAge {
    /// What it is.
    pub kind: AgingKind,
    /// Id of it, of its kind.
    #[schema(example = "key_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: String,
    /// Its name; of an upstream's credential, the header; of a signing key, the algorithm.
    pub name: String,
    /// The client whose it is.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
    /// The upstream to which it is shown.
    #[schema(value_type = Option<String>)]
    pub upstream_id: Option<UpstreamId>,
    /// When it was made, or last given another value.
    #[serde(with = "moment")]
    pub made_at: OffsetDateTime,
    /// When it was used last, to within a minute or two; null: not since that is noted, or that is not noted of its kind.
    #[serde(with = "moment::option")]
    pub last_used_at: Option<OffsetDateTime>,
    /// When it ends by itself; null: never.
    #[serde(with = "moment::option")]
    pub ends_at: Option<OffsetDateTime>,
    /// When it is to be replaced by the tenant's schedule.
    #[serde(with = "moment")]
    pub rotate_by: OffsetDateTime,
    /// Whether that is over.
    pub overdue: bool,
    #[serde(skip)]
    pub(super) position: Uuid,
}

/// Kinds of credentials that have a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgingKind {
    /// For a tenant's part of the admin API.
    AdminToken,
    /// Of a client, for endpoints.
    ApiKey,
    /// Of a client, for the tenant's issuer.
    ClientSecret,
    /// With which a client signs who it is.
    PublicKey,
    /// With which the tenant's issuer signs tokens; replaced by itself.
    SigningKey,
    /// Shown to an upstream.
    UpstreamCredential,
}

impl AgingKind {
    const ALL: [Self; 6] = [
        Self::AdminToken,
        Self::ApiKey,
        Self::ClientSecret,
        Self::PublicKey,
        Self::SigningKey,
        Self::UpstreamCredential,
    ];

    /// Its name in queries.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token",
            Self::ApiKey => "api_key",
            Self::ClientSecret => "client_secret",
            Self::PublicKey => "public_key",
            Self::SigningKey => "signing_key",
            Self::UpstreamCredential => "upstream_credential",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn id(self, id: Uuid) -> String {
        match self {
            Self::AdminToken => AdminTokenId::from_uuid(id).to_string(),
            Self::ApiKey => KeyId::from_uuid(id).to_string(),
            Self::ClientSecret => ClientSecretId::from_uuid(id).to_string(),
            Self::PublicKey => PublicKeyId::from_uuid(id).to_string(),
            Self::SigningKey => SigningKeyId::from_uuid(id).to_string(),
            Self::UpstreamCredential => CredentialId::from_uuid(id).to_string(),
        }
    }
}

/// After how long a tenant wants its credentials replaced.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotationSchedule {
    /// By kind.
    #[serde(flatten)]
    pub settings: RotationScheduleSettings,
    /// When it was changed last; null: these are the usual ones.
    #[serde(with = "moment::option")]
    pub updated_at: Option<OffsetDateTime>,
}

/// Days, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotationScheduleSettings {
    /// Of admin tokens.
    #[schema(minimum = 1, maximum = 3650, default = 30)]
    pub admin_token_days: u16,
    /// Of API keys.
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    pub api_key_days: u16,
    /// Of client secrets.
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    pub client_secret_days: u16,
    /// Of clients' public keys.
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    pub public_key_days: u16,
    /// Of the issuer's signing keys; longer than they sign, for they are replaced by themselves.
    #[schema(minimum = 1, maximum = 3650, default = 100)]
    pub signing_key_days: u16,
    /// Of what is shown to upstreams.
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    pub upstream_credential_days: u16,
}

impl Default for RotationScheduleSettings {
    /// Monthly for what may change everything, quarterly for the rest.
    fn default() -> Self {
        Self {
            admin_token_days: 30,
            api_key_days: 90,
            client_secret_days: 90,
            public_key_days: 90,
            signing_key_days: 100,
            upstream_credential_days: 90,
        }
    }
}

impl RotationScheduleSettings {
    /// Days after which one of a kind is to be replaced.
    #[must_use]
    pub const fn of(&self, kind: AgingKind) -> u16 {
        match kind {
            AgingKind::AdminToken => self.admin_token_days,
            AgingKind::ApiKey => self.api_key_days,
            AgingKind::ClientSecret => self.client_secret_days,
            AgingKind::PublicKey => self.public_key_days,
            AgingKind::SigningKey => self.signing_key_days,
            AgingKind::UpstreamCredential => self.upstream_credential_days,
        }
    }

    /// Refuses what would not be stored.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each.
    pub fn check(&self) -> Result<(), ApiError> {
        let wrong = AgingKind::ALL.into_iter().filter(|kind| !(1..=MOST_DAYS).contains(&self.of(*kind)));
        let errors: Vec<_> = wrong
            .map(|kind| FieldError {
                pointer: format!("/{}_days", kind.name()),
                message: format!("must be 1 to {MOST_DAYS}"),
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }
}

/// What is stored of a credential, of whatever kind.
pub(super) struct Stored {
    pub(super) kind: AgingKind,
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) client: Option<Uuid>,
    pub(super) upstream: Option<Uuid>,
    pub(super) made_at: OffsetDateTime,
    pub(super) last_used_at: Option<OffsetDateTime>,
    pub(super) ends_at: Option<OffsetDateTime>,
}

impl Stored {
    pub(super) fn age(self, schedule: &RotationScheduleSettings, now: OffsetDateTime) -> CredentialAge {
        let Self { kind, id, name, client, upstream, made_at, last_used_at, ends_at } = self;
        let rotate_by = made_at + time::Duration::days(schedule.of(kind).into());
        CredentialAge {
            kind,
            id: kind.id(id),
            name,
            client_id: client.map(Id::from_uuid),
            upstream_id: upstream.map(Id::from_uuid),
            made_at,
            last_used_at,
            ends_at,
            rotate_by,
            overdue: rotate_by <= now,
            position: id,
        }
    }
}
