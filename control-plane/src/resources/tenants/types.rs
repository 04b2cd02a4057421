//! What a tenant looks like.

use ids::{Slug, TenantId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::snapshot::{MAX_STALE_SECONDS, MIN_STALE_SECONDS};

use crate::{
    http::problem::{ApiError, FieldError},
    resources::fields::{Name, moment},
};

/// The pool of tenants for which no other was chosen.
pub const SHARED_POOL: &str = "shared";

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tenant {
    /// Id.
    #[schema(value_type = String, example = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: TenantId,
    /// First path segment of its endpoints; never changes.
    pub slug: String,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: TenantSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// Slug of the pool of proxies that serve it.
    #[serde(default = "shared")]
    pub pool: String,
    /// A suspended tenant's endpoints do not answer.
    #[serde(default)]
    pub suspended: bool,
    /// Private destinations that its upstreams may have, exactly.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub egress: Vec<EgressRule>,
    /// Seconds for which proxies enforce the tenant's configuration while no control plane confirms it: 60 to 604800; null, or
    /// more than the proxies' own `--max-stale-seconds`: as long as that.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 604_800)]
    pub max_stale_seconds: Option<u32>,
}

fn shared() -> String {
    SHARED_POOL.to_owned()
}

/// A private destination that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Network in CIDR form; a single address ends in `/32` or `/128`.
    #[schema(example = "10.20.0.0/24")]
    pub network: String,
    /// TCP port.
    #[schema(minimum = 1, maximum = 65535)]
    pub port: u32,
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantNew {
    /// First path segment of its endpoints.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    pub slug: Slug,
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// Slug of the pool of proxies that serve it.
    #[serde(default = "shared")]
    pub pool: String,
    /// A suspended tenant's endpoints do not answer.
    #[serde(default)]
    pub suspended: bool,
    /// Private destinations that its upstreams may have, exactly.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub egress: Vec<EgressRule>,
    /// Seconds for which proxies enforce the tenant's configuration while no control plane confirms it: 60 to 604800; null, or
    /// more than the proxies' own `--max-stale-seconds`: as long as that.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 604_800)]
    pub max_stale_seconds: Option<u32>,
}

impl TenantSettings {
    /// Whether this differs from `before` in nothing but what a tenant's own tokens may change.
    #[must_use]
    pub fn is_tenants_change_of(&self, before: &Self) -> bool {
        *self == Self { max_stale_seconds: self.max_stale_seconds, ..before.clone() }
    }

    /// The rules, if every one can be, and everything else too.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each that cannot.
    pub fn rules(&self) -> Result<Vec<egress::Rule>, ApiError> {
        let stale = MIN_STALE_SECONDS..=MAX_STALE_SECONDS;
        if self.max_stale_seconds.is_some_and(|seconds| !stale.contains(&seconds)) {
            return Err(ApiError::invalid("/max_stale_seconds", "must be from 60 to 604800, or null"));
        }
        if self.egress.len() > 64 {
            return Err(ApiError::invalid("/egress", "at most 64 rules"));
        }
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for (index, rule) in self.egress.iter().enumerate() {
            match egress::Rule::new(&rule.network, rule.port) {
                Ok(rule) if rules.contains(&rule) => errors.push(FieldError {
                    pointer: format!("/egress/{index}"),
                    message: "is there twice".to_owned(),
                }),
                Ok(rule) => rules.push(rule),
                Err(error) => {
                    let field = if error == egress::RuleError::Port { "port" } else { "network" };
                    errors.push(FieldError {
                        pointer: format!("/egress/{index}/{field}"),
                        message: error.to_string(),
                    });
                }
            }
        }
        if errors.is_empty() { Ok(rules) } else { Err(ApiError::Invalid(errors)) }
    }
}

impl TenantNew {
    /// Slug and settings.
    #[must_use]
    pub fn split(self) -> (Slug, TenantSettings) {
        let Self { slug, name, pool, suspended, egress, max_stale_seconds } = self;
        (slug, TenantSettings { name, pool, suspended, egress, max_stale_seconds })
    }
}
