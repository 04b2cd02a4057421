//! The kill set: what must stop at once, and which credentials are dead.
//!
//! A set grows by union and shrinks by name alone: a kill ends when its own id is lifted, and a lift holds against every
//! kill of that id, earlier or later. So the order in which messages come does not matter, nor how often they come, nor
//! which were lost on the way, as long as the last one arrives; and none of it can fail half-way. Who may lift:
//!
//! | source | adds kills | lifts |
//! |---|---|---|
//! | the control plane's stream | yes | any |
//! | the signed copy in Redis | yes | none |
//! | an order signed offline | yes | those that came by order |

mod order;
mod set;
#[cfg(test)]
mod tests;

use ids::{ClientId, EndpointId, Id, KeyId, KillId, Kind, TenantId, ToolId, UpstreamId, Uuid};
use seams::Timestamp;

pub use order::{MAX_ORDER, Order, OrderError, Unverified};
pub use set::{Credential, KillSet, MAX_KILLS, MAX_LIFTED, MAX_REVOKED, TOKENS_KEPT};

use crate::v1::{self, KillLevel};

/// What a kill set's signature signs, before the body.
pub const SET_CONTEXT: &[u8] = b"portcullis kill set v1\0";
/// What an offline order's signature signs, before the body.
pub const ORDER_CONTEXT: &[u8] = b"portcullis kill order v1\0";
/// What the signature of kills without rows signs, before their bytes.
pub const UNSAVED_CONTEXT: &[u8] = b"portcullis unsaved kills v1\0";
/// Where in Redis the signed set is.
pub const REDIS_KEY: &str = "pc:kill";
/// Bytes of a principal's name.
pub const MAX_PRINCIPAL: usize = 200;
/// Bytes of a signed set: more are not read.
pub const MAX_SET: usize = 8 << 20;

/// What a kill stops.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Everything.
    Fleet,
    /// A tenant.
    Tenant(TenantId),
    /// One of its endpoints.
    Endpoint(TenantId, EndpointId),
    /// One of its upstreams, at whichever endpoint.
    Upstream(TenantId, UpstreamId),
    /// One tool of an upstream.
    Tool(TenantId, ToolId),
    /// A client, with all its keys.
    Client(TenantId, ClientId),
    /// One key.
    Key(TenantId, KeyId),
    /// A caller by name, however it authenticates: a member by its id, a client by its own.
    Principal(TenantId, Box<str>),
}

impl Target {
    /// Its level.
    #[must_use]
    pub const fn level(&self) -> KillLevel {
        match self {
            Self::Fleet => KillLevel::Fleet,
            Self::Tenant(_) => KillLevel::Tenant,
            Self::Endpoint(..) => KillLevel::Endpoint,
            Self::Upstream(..) => KillLevel::Upstream,
            Self::Tool(..) => KillLevel::Tool,
            Self::Client(..) => KillLevel::Client,
            Self::Key(..) => KillLevel::Key,
            Self::Principal(..) => KillLevel::Principal,
        }
    }

    /// Whose; `None` for the fleet.
    #[must_use]
    pub const fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Fleet => None,
            Self::Tenant(tenant)
            | Self::Endpoint(tenant, _)
            | Self::Upstream(tenant, _)
            | Self::Tool(tenant, _)
            | Self::Client(tenant, _)
            | Self::Key(tenant, _)
            | Self::Principal(tenant, _) => Some(*tenant),
        }
    }

    /// The id or name below the tenant, as people write it; `None` for the fleet and for a tenant.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Fleet | Self::Tenant(_) => None,
            Self::Endpoint(_, id) => Some(id.to_string()),
            Self::Upstream(_, id) => Some(id.to_string()),
            Self::Tool(_, id) => Some(id.to_string()),
            Self::Client(_, id) => Some(id.to_string()),
            Self::Key(_, id) => Some(id.to_string()),
            Self::Principal(_, name) => Some(String::from(&**name)),
        }
    }

    /// From what people write: level, tenant, and the id or name below it. `None` unless exactly what the level needs is
    /// given.
    #[must_use]
    pub fn parse(level: KillLevel, tenant: Option<TenantId>, subject: Option<&str>) -> Option<Self> {
        Some(match (level, tenant, subject) {
            (KillLevel::Fleet, None, None) => Self::Fleet,
            (KillLevel::Tenant, Some(tenant), None) => Self::Tenant(tenant),
            (KillLevel::Endpoint, Some(tenant), Some(id)) => Self::Endpoint(tenant, id.parse().ok()?),
            (KillLevel::Upstream, Some(tenant), Some(id)) => Self::Upstream(tenant, id.parse().ok()?),
            (KillLevel::Tool, Some(tenant), Some(id)) => Self::Tool(tenant, id.parse().ok()?),
            (KillLevel::Client, Some(tenant), Some(id)) => Self::Client(tenant, id.parse().ok()?),
            (KillLevel::Key, Some(tenant), Some(id)) => Self::Key(tenant, id.parse().ok()?),
            (KillLevel::Principal, Some(tenant), Some(name)) if is_principal(name) => {
                Self::Principal(tenant, name.into())
            }
            _ => return None,
        })
    }

    fn read(entry: &v1::KillEntry) -> Option<Self> {
        let tenant = optional(&entry.tenant_id)?;
        let tenant_of = || tenant.map(TenantId::from_uuid);
        let named = !entry.principal.is_empty();
        if matches!(entry.level(), KillLevel::Principal) {
            let bare = entry.subject_id.is_empty() && is_principal(&entry.principal);
            return bare.then(|| Some(Self::Principal(tenant_of()?, entry.principal.as_str().into())))?;
        }
        let subject = optional(&entry.subject_id)?;
        Some(match (entry.level(), tenant_of(), subject) {
            _ if named => return None,
            (KillLevel::Fleet, None, None) => Self::Fleet,
            (KillLevel::Tenant, Some(tenant), None) => Self::Tenant(tenant),
            (KillLevel::Endpoint, Some(tenant), Some(id)) => Self::Endpoint(tenant, Id::from_uuid(id)),
            (KillLevel::Upstream, Some(tenant), Some(id)) => Self::Upstream(tenant, Id::from_uuid(id)),
            (KillLevel::Tool, Some(tenant), Some(id)) => Self::Tool(tenant, Id::from_uuid(id)),
            (KillLevel::Client, Some(tenant), Some(id)) => Self::Client(tenant, Id::from_uuid(id)),
            (KillLevel::Key, Some(tenant), Some(id)) => Self::Key(tenant, Id::from_uuid(id)),
            _ => return None,
        })
    }
}

/// Graphic ASCII, at most [`MAX_PRINCIPAL`] bytes.
fn is_principal(name: &str) -> bool {
    (1..=MAX_PRINCIPAL).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// One kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Never used again for another.
    pub id: KillId,
    /// What it stops.
    pub target: Target,
    /// Only an exercise: it is pushed and acknowledged, and stops nothing.
    pub drill: bool,
    /// When it was ordered.
    pub at: Timestamp,
}

impl Kill {
    /// `None` for an entry that this build does not know.
    #[must_use]
    pub fn read(entry: &v1::KillEntry) -> Option<Self> {
        Some(Self {
            id: id(&entry.id)?,
            target: Target::read(entry)?,
            drill: entry.drill,
            at: Timestamp::from_micros(entry.at_micros),
        })
    }

    /// For the wire.
    #[must_use]
    pub fn write(&self) -> v1::KillEntry {
        let bytes = |id: Uuid| id.as_bytes().to_vec();
        let (subject_id, principal) = match &self.target {
            Target::Fleet | Target::Tenant(_) => (Vec::new(), String::new()),
            Target::Endpoint(_, id) => (bytes(id.uuid()), String::new()),
            Target::Upstream(_, id) => (bytes(id.uuid()), String::new()),
            Target::Tool(_, id) => (bytes(id.uuid()), String::new()),
            Target::Client(_, id) => (bytes(id.uuid()), String::new()),
            Target::Key(_, id) => (bytes(id.uuid()), String::new()),
            Target::Principal(_, name) => (Vec::new(), String::from(&**name)),
        };
        v1::KillEntry {
            id: bytes(self.id.uuid()),
            level: self.target.level().into(),
            tenant_id: self.target.tenant().map_or_else(Vec::new, |tenant| bytes(tenant.uuid())),
            subject_id,
            principal,
            drill: self.drill,
            at_micros: self.at.micros(),
        }
    }
}

fn id<K: Kind>(bytes: &[u8]) -> Option<Id<K>> {
    Uuid::from_slice(bytes).ok().map(Id::from_uuid)
}

/// `None` for what is neither an id nor absent.
fn optional(bytes: &[u8]) -> Option<Option<Uuid>> {
    if bytes.is_empty() { Some(None) } else { Uuid::from_slice(bytes).ok().map(Some) }
}
