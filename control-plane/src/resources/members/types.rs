//! What a member looks like.

use ids::MemberId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{people::email::Email, resources::fields::moment};

/// What a person may administer in a tenant: the scopes of each stand in `may.rs`. What their agents may call, roles and grants say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    /// Everything. A tenant that has had one always has one.
    Owner,
    /// Everything but what is the owners'.
    Admin,
    /// Policy, limits, kills and the audit log.
    Security,
    /// Sees everything, without what is sealed in the audit log, and changes nothing.
    Auditor,
    /// Upstreams, endpoints, tools and clients.
    Developer,
    /// Sees configuration.
    ReadOnly,
    /// Nothing.
    User,
}

impl AdminRole {
    const ALL: [Self; 7] = [
        Self::Owner,
        Self::Admin,
        Self::Security,
        Self::Auditor,
        Self::Developer,
        Self::ReadOnly,
        Self::User,
    ];

    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Security => "security",
            Self::Auditor => "auditor",
            Self::Developer => "developer",
            Self::ReadOnly => "read_only",
            Self::User => "user",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A person who belongs to a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Member {
    /// Id.
    #[schema(value_type = String, example = "mem_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: MemberId,
    /// The address under which they sign in.
    #[schema(value_type = String, example = "ann@example.com")]
    pub email: Email,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: MemberSettings,
    /// When they joined.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of a member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberSettings {
    /// What they may administer.
    pub admin_role: AdminRole,
    /// One who is disabled signs in to nothing of the tenant, and what was given to clients for them has ended.
    pub enabled: bool,
}

impl MemberSettings {
    /// Whether who has them is an owner that may sign in.
    #[must_use]
    pub fn is_live_owner(&self) -> bool {
        self.enabled && self.admin_role == AdminRole::Owner
    }
}

/// A link by which a member chooses another password. Shown this once.
#[derive(Serialize, ToSchema)]
pub struct PasswordReset {
    /// Where they choose it. It is to reach nobody else.
    pub link: String,
    /// When it ends.
    #[serde(with = "moment")]
    pub expires_at: OffsetDateTime,
}

impl std::fmt::Debug for PasswordReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordReset").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
