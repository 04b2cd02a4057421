//! What a proxy looks like, and how far it is with its tenants.

use ids::{ProxyId, TenantId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::resources::fields::moment;

/// A proxy that enrolled.
#[derive(Debug, Serialize, ToSchema)]
pub struct Proxy {
    /// Id.
    #[schema(value_type = String, example = "px_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ProxyId,
    /// Slug of its pool.
    pub pool: String,
    /// Version of its program, as it says.
    pub build: String,
    /// Whether it counts: not revoked, and its lease has not run out.
    pub live: bool,
    /// How many tenants its pool has.
    pub tenants: u64,
    /// How many of them have a revision that it has not applied.
    pub tenants_behind: u64,
    /// How many of these revisions it refused.
    pub tenants_rejected: u64,
    /// Since when there has been a revision that it has not applied; null: it has all.
    #[serde(with = "moment::option")]
    pub behind_since: Option<OffsetDateTime>,
    /// Its clock less the control plane's, milliseconds, the way there included; null: it has not said.
    pub clock_skew_ms: Option<i64>,
    /// Bytes of audit records that it had to upload when it last uploaded some; null: it never did.
    pub spool_bytes: Option<u64>,
    /// When it said that.
    #[serde(with = "moment::option")]
    pub spool_at: Option<OffsetDateTime>,
    /// Audit records that it numbered and that never arrived.
    pub audit_records_missing: u64,
    /// Audit records that it uploaded and that cannot stand in the log.
    pub audit_records_set_aside: u64,
    /// When it enrolled.
    #[serde(with = "moment")]
    pub enrolled_at: OffsetDateTime,
    /// When its certificate ends. A proxy renews it at half its life.
    #[serde(with = "moment")]
    pub certificate_not_after: OffsetDateTime,
    /// Until when it counts as live unless it is heard of again; null: it never took configuration.
    #[serde(with = "moment::option")]
    pub lease_until: Option<OffsetDateTime>,
    /// When it was revoked; null: it was not.
    #[serde(with = "moment::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The revision of the fleet's configuration that it enforces; 0: none.
    pub global_rev: u64,
    /// The last one that it refused; 0: none.
    pub global_rejected_rev: u64,
    /// Stable code of why.
    pub global_rejected_code: Option<String>,
}

/// How a proxy stands with one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It enforces the current revision.
    Current,
    /// It enforces an older one, or none.
    Behind,
    /// It refused the current revision, or one after the one it enforces.
    Rejected,
    /// It says the current revision's number and another content.
    Differs,
}

/// Where a proxy is with one tenant of its pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProxyTenant {
    /// The tenant.
    #[schema(value_type = String, example = "tnt_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub tenant_id: TenantId,
    /// Its slug.
    pub slug: String,
    /// How the proxy stands with it.
    pub standing: Standing,
    /// The current revision.
    pub rev: u64,
    /// Digest of the current revision's snapshot, hexadecimal.
    pub digest: String,
    /// The revision that the proxy enforces; 0: none.
    pub applied_rev: u64,
    /// Digest of what it enforces, as it says, hexadecimal; null: it enforces nothing, or has not said.
    pub applied_digest: Option<String>,
    /// The last revision it refused; 0: none.
    pub rejected_rev: u64,
    /// Stable code of why.
    pub rejected_code: Option<String>,
    /// The place in the snapshot, as far as it is known.
    pub rejected_detail: Option<String>,
    /// When the proxy last said something of this tenant; null: never.
    #[serde(with = "moment::option")]
    pub updated_at: Option<OffsetDateTime>,
}

impl ProxyTenant {
    /// From what is current and what the proxy said.
    pub(super) fn standing(&self) -> Standing {
        if self.rejected_rev > self.applied_rev {
            Standing::Rejected
        } else if self.applied_rev < self.rev {
            Standing::Behind
        } else if self.applied_digest.as_ref().is_none_or(|digest| *digest == self.digest) {
            Standing::Current
        } else {
            Standing::Differs
        }
    }
}

/// Query parameters of a proxy's tenants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StandingQuery {
    /// `true`: only tenants of which the proxy does not enforce the current revision.
    #[serde(default)]
    pub differing: bool,
    /// Items on a page: 1 to 200, 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Records of one run of a proxy that never arrived.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditGap {
    /// The run, hexadecimal.
    pub boot: String,
    /// Number of the first missing record.
    pub from_seq: u64,
    /// Number of the last missing record.
    pub to_seq: u64,
    /// When a later record arrived without them.
    #[serde(with = "moment")]
    pub noticed_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use ids::Id;

    use super::*;

    fn tenant(applied_rev: u64, applied_digest: Option<&str>, rejected_rev: u64) -> ProxyTenant {
        ProxyTenant {
            tenant_id: Id::from_parts(1, [1; 10]),
            slug: "acme".to_owned(),
            standing: Standing::Behind,
            rev: 7,
            digest: "aa".to_owned(),
            applied_rev,
            applied_digest: applied_digest.map(ToOwned::to_owned),
            rejected_rev,
            rejected_code: None,
            rejected_detail: None,
            updated_at: None,
        }
    }

    #[test]
    fn a_standing_says_what_to_look_at() {
        assert_eq!(tenant(7, Some("aa"), 0).standing(), Standing::Current);
        assert_eq!(tenant(7, Some("aa"), 6).standing(), Standing::Current, "refused one before");
        assert_eq!(tenant(7, Some("bb"), 0).standing(), Standing::Differs);
        assert_eq!(tenant(6, Some("bb"), 0).standing(), Standing::Behind);
        assert_eq!(tenant(0, None, 0).standing(), Standing::Behind);
        assert_eq!(tenant(6, Some("bb"), 7).standing(), Standing::Rejected);
    }
}
