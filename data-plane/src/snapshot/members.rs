//! Members of the tenant, as far as calls go that are made for them.

use std::sync::{Arc, OnceLock};

use crypto::Holder;
use ids::{MemberId, RoleId};
use wire::v1;

use super::{
    build::At,
    decode::DecodeError,
    index::{ClientIndex, Map, SubjectLimit, TenantIndex},
    limits::Limits,
};

/// A member.
#[derive(Debug)]
pub struct MemberIndex {
    /// Its id.
    pub id: MemberId,
    /// Nobody calls for disabled members.
    pub enabled: bool,
    roles: Box<[RoleId]>,
    /// Its own limit, or the tenant's for every member.
    pub limit: Option<Arc<SubjectLimit>>,
    principal: OnceLock<Box<policy::Principal>>,
}

impl MemberIndex {
    /// The member as policies see it.
    #[must_use]
    pub fn principal(&self) -> &policy::Principal {
        let new = || Box::new(policy::Principal::member(self.id, self.roles.iter().copied()));
        self.principal.get_or_init(new)
    }
}

impl TenantIndex {
    /// Who somebody is by this configuration; `None` where the client or the member is not there, or switched off.
    #[must_use]
    pub fn who(&self, holder: Holder) -> Option<(&Arc<ClientIndex>, Option<&Arc<MemberIndex>>)> {
        let client = self.clients.get(&holder.client).filter(|client| client.enabled)?;
        let Some(member) = holder.member else { return Some((client, None)) };
        let member = self.members.get(&member).filter(|member| member.enabled)?;
        Some((client, Some(member)))
    }
}

pub(super) fn members(
    members: Vec<(String, v1::Member)>,
    limits: &Limits<'_>,
) -> Result<Map<MemberId, Arc<MemberIndex>>, DecodeError> {
    let mut out = Map::default();
    for (resource, member) in members {
        let at = At(&resource);
        let id = at.id(&member.id, "id")?;
        let roles = member.role_ids.iter().map(|bytes| at.id(bytes, "role_ids"));
        let roles = roles.collect::<Result<_, DecodeError>>()?;
        let index = MemberIndex {
            id,
            enabled: member.enabled,
            roles,
            limit: limits.member(id),
            principal: OnceLock::new(),
        };
        out.insert(id, Arc::new(index));
    }
    Ok(out)
}
