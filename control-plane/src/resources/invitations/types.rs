//! What an invitation looks like.

use ids::InvitationId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    people::email::Email,
    resources::{fields::moment, members::types::AdminRole},
};

/// An invitation that nobody has accepted yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invitation {
    /// Id.
    #[schema(value_type = String, example = "inv_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: InvitationId,
    /// Whom it is for.
    #[schema(value_type = String, example = "ann@example.com")]
    pub email: Email,
    /// What they may administer as a member.
    pub admin_role: AdminRole,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When it ends.
    #[serde(with = "moment")]
    pub expires_at: OffsetDateTime,
}

/// An invitation to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationNew {
    /// Whom it is for: an address in ASCII, in which case does not matter.
    #[schema(value_type = String, max_length = 254, example = "ann@example.com")]
    pub email: Email,
    /// What they may administer as a member. Nobody gives more than they may do themselves.
    pub admin_role: AdminRole,
}

/// An invitation just made. Its link is shown this once.
#[derive(Serialize, ToSchema)]
pub struct InvitationMade {
    /// The invitation's other fields.
    #[serde(flatten)]
    pub made: Invitation,
    /// Where the person joins. It is to reach nobody else: whoever has it can choose the password of a new account.
    pub link: String,
}

impl std::fmt::Debug for InvitationMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationMade").field("made", &self.made).finish_non_exhaustive()
    }
}
