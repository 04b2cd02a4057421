//! What the caller looks like.

use ids::{MemberId, TenantId};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::resources::{fields::moment, members::types::AdminRole};

/// Who is calling, and what they may.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// Who, as in audit records: an operator, an admin token (`adm_…`) or a member (`mem_…`).
    #[schema(example = "mem_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub actor: String,
    /// The tenant in which; `null` for operators.
    pub tenant: Option<SessionTenant>,
    /// What they may: `*` stands for everything, `*:read` for all that only reads.
    pub scopes: Vec<String>,
    /// Of a member who has signed in.
    pub member: Option<SessionMember>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionTenant {
    /// Id.
    #[schema(value_type = String, example = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: TenantId,
    /// Slug.
    pub slug: String,
}

/// A member who has signed in.
#[derive(Serialize, ToSchema)]
pub struct SessionMember {
    /// Id.
    #[schema(value_type = String, example = "mem_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: MemberId,
    /// The address under which they sign in.
    pub email: String,
    /// What they may administer.
    pub admin_role: AdminRole,
    /// When they signed in. What is dangerous they may for ten minutes from then on.
    #[serde(with = "moment")]
    pub signed_in_at: OffsetDateTime,
    /// To be sent with every write, as `Portcullis-CSRF`.
    pub csrf_token: String,
    /// Of which tenants they are a member with the same account. They go to another by `/session/sign-in?tenant={slug}`.
    pub tenants: Vec<SessionTenant>,
}

impl std::fmt::Debug for SessionMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionMember").field("id", &self.id).finish_non_exhaustive()
    }
}
