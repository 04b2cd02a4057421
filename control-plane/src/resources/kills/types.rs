//! What a kill looks like.

use ids::{KillId, TenantId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::v1::KillLevel;

use crate::{
    kills::Acknowledgement,
    resources::fields::{Reason, moment},
};

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything.
    Fleet,
    /// A tenant.
    Tenant,
    /// An endpoint.
    Endpoint,
    /// An upstream, at whichever endpoint.
    Upstream,
    /// A tool of an upstream.
    Tool,
    /// A client, with all its keys.
    Client,
    /// A key.
    Key,
    /// A caller by name, however it authenticates: today the id of a client that calls for itself.
    Principal,
    /// Not made here: a kill that came to proxies by offline order, named in order to lift it.
    Order,
}

impl Level {
    /// For the wire; `None` for what is not sent.
    #[must_use]
    pub const fn wire(self) -> Option<KillLevel> {
        Some(match self {
            Self::Fleet => KillLevel::Fleet,
            Self::Tenant => KillLevel::Tenant,
            Self::Endpoint => KillLevel::Endpoint,
            Self::Upstream => KillLevel::Upstream,
            Self::Tool => KillLevel::Tool,
            Self::Client => KillLevel::Client,
            Self::Key => KillLevel::Key,
            Self::Principal => KillLevel::Principal,
            Self::Order => return None,
        })
    }
}

impl From<KillLevel> for Level {
    fn from(level: KillLevel) -> Self {
        match level {
            KillLevel::Fleet | KillLevel::Unspecified => Self::Fleet,
            KillLevel::Tenant => Self::Tenant,
            KillLevel::Endpoint => Self::Endpoint,
            KillLevel::Upstream => Self::Upstream,
            KillLevel::Tool => Self::Tool,
            KillLevel::Client => Self::Client,
            KillLevel::Key => Self::Key,
            KillLevel::Principal => Self::Principal,
        }
    }
}

/// A kill.
#[derive(Debug, Serialize, ToSchema)]
pub struct Kill {
    /// Id. A kill is lifted by it.
    #[schema(value_type = String, example = "kill_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: KillId,
    /// What is killed.
    #[schema(inline)]
    pub level: Level,
    /// Whose it is; null for the fleet.
    #[schema(value_type = Option<String>, example = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub tenant_id: Option<TenantId>,
    /// The endpoint, upstream, tool, client or key, by id, or the principal, by name; null at levels fleet and tenant.
    pub target: Option<String>,
    /// An exercise: it is pushed and acknowledged like any other, and stops nothing.
    pub drill: bool,
    /// Why.
    pub reason: String,
    /// Made by an operator. Tenants see it and cannot lift it.
    pub by_operator: bool,
    /// When it was ordered.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// The kill set's epoch with which it came; null while Postgres is away.
    pub epoch: Option<u64>,
    /// When it was lifted; null: it is in force.
    #[serde(with = "moment::option")]
    pub lifted_at: Option<OffsetDateTime>,
    /// Why it was lifted.
    pub lift_reason: Option<String>,
    /// The epoch with which it was lifted.
    pub lift_epoch: Option<u64>,
}

/// A kill, and how far the proxies are with it.
#[derive(Debug, Serialize, ToSchema)]
pub struct KillDetail {
    /// The kill.
    #[serde(flatten)]
    pub kill: Kill,
    /// How far the proxies that serve what is killed are with it.
    pub acknowledgement: Acknowledgement,
    /// How far they are with its lifting; null while it is in force.
    pub lift_acknowledgement: Option<Acknowledgement>,
}

/// A kill to be made in a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillNew {
    /// What is to be killed: `tenant` or what is below.
    #[schema(inline)]
    pub level: Level,
    /// The endpoint, upstream, tool, client or key, by id, or the principal, by name; absent at level tenant.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub target: Option<String>,
    /// Why.
    #[schema(value_type = String, max_length = 500)]
    pub reason: Reason,
    /// Whether it is only an exercise.
    #[serde(default)]
    pub drill: bool,
}

/// A kill to be made anywhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorKillNew {
    /// What is to be killed.
    #[schema(inline)]
    pub level: Level,
    /// Whose it is; absent at level fleet.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub tenant_id: Option<TenantId>,
    /// The endpoint, upstream, tool, client or key, by id, or the principal, by name; absent at levels fleet and tenant.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub target: Option<String>,
    /// Why.
    #[schema(value_type = String, max_length = 500)]
    pub reason: Reason,
    /// Whether it is only an exercise.
    #[serde(default)]
    pub drill: bool,
}

/// A kill to be lifted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillLift {
    /// Why.
    #[schema(value_type = String, max_length = 500)]
    pub reason: Reason,
    /// The kill's `epoch`, as it was seen: nobody lifts what they have not looked at.
    pub epoch: u64,
}
