//! What a revision looks like.

use ids::ProxyId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{publish::convergence, resources::fields::moment};

/// A revision of the tenant's configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revision {
    /// Its number: 1, 2, 3, ….
    pub rev: u64,
    /// Hash over the ids and contents of what it holds, hexadecimal. Equal digests, equal configuration.
    pub digest: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
}

/// A revision, and how far the tenant's proxies are with it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionReport {
    /// The revision.
    #[serde(flatten)]
    pub revision: Revision,
    /// Over the live proxies of the tenant's pool.
    pub convergence: ConvergenceCounts,
    /// Each of these proxies; for operators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Vec<ProxyReport>>,
}

/// Counts of live proxies. Their sum is their number, which may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConvergenceCounts {
    /// Enforce the revision, or a newer one.
    pub applied: u32,
    /// Refused the revision, or a newer one, and enforce an older.
    pub rejected: u32,
    /// Have said neither.
    pub unreachable: u32,
}

impl From<convergence::Convergence> for ConvergenceCounts {
    fn from(counts: convergence::Convergence) -> Self {
        Self { applied: counts.applied, rejected: counts.rejected, unreachable: counts.unreachable }
    }
}

/// Where one proxy is with the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProxyReport {
    /// Which.
    #[schema(value_type = String, example = "px_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ProxyId,
    /// Newest revision it enforces; 0: none.
    pub applied_rev: u64,
    /// Newest revision it refused; 0: none.
    pub rejected_rev: u64,
    /// Stable code of that refusal.
    pub rejected_code: Option<String>,
    /// What it said about that refusal.
    pub rejected_detail: Option<String>,
}

impl ProxyReport {
    /// For counting.
    #[must_use]
    pub const fn state(&self) -> convergence::ProxyState {
        convergence::ProxyState {
            proxy: self.id,
            applied_rev: self.applied_rev,
            rejected_rev: self.rejected_rev,
        }
    }
}
