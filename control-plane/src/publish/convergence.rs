//! How far a tenant's proxies are with a revision.

mod queries;

use std::{fmt, time::Duration};

use ids::{ProxyId, TenantId};

use crate::{app::Core, db::StoreError};

/// Before the second look of a waiting write; each later pause is half as long again, up to [`LOOK_AT_LEAST_EVERY`].
const LOOK_AGAIN: Duration = Duration::from_millis(40);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(500);

/// Where one live proxy of the tenant's pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyState {
    /// Which proxy.
    pub proxy: ProxyId,
    /// Newest revision it enforces; 0 when none.
    pub applied_rev: u64,
    /// Newest revision it rejected; 0 when none.
    pub rejected_rev: u64,
}

/// Counts over the live proxies of a tenant's pool. Live: enrolled, not revoked, lease not run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convergence {
    /// The revision counted for.
    pub rev: u64,
    /// Proxies that enforce it, or a newer one.
    pub applied: u32,
    /// Proxies that rejected it, or a newer one, and still enforce an older.
    pub rejected: u32,
    /// Live proxies that have said neither.
    pub unreachable: u32,
}

impl fmt::Display for Convergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rev={}, applied={}, rejected={}, unreachable={}",
            self.rev, self.applied, self.rejected, self.unreachable
        )
    }
}

impl Convergence {
    /// From the state of each live proxy.
    #[must_use]
    pub fn of(rev: u64, proxies: &[ProxyState]) -> Self {
        let mut counts = Self { rev, applied: 0, rejected: 0, unreachable: 0 };
        for proxy in proxies {
            if proxy.applied_rev >= rev {
                counts.applied += 1;
            } else if proxy.rejected_rev >= rev {
                counts.rejected += 1;
            } else {
                counts.unreachable += 1;
            }
        }
        counts
    }

    /// Whether every live proxy has answered.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.unreachable == 0
    }
}

/// The counts now.
///
/// # Errors
/// [`StoreError`].
pub async fn count(core: &Core, tenant: TenantId, rev: u64) -> Result<Convergence, StoreError> {
    Ok(Convergence::of(rev, &proxies(core, tenant).await?))
}

/// Each live proxy of the tenant's pool. For operators alone: tenants see counts.
///
/// # Errors
/// [`StoreError`].
pub async fn proxies(core: &Core, tenant: TenantId) -> Result<Vec<ProxyState>, StoreError> {
    let mut tx = core.store.operator().await?;
    queries::live_proxies(&mut tx, tenant, core.clock.now().to_offset()).await
}

/// Looks until every live proxy has answered or the time is up, and returns the counts then. Holds no database connection
/// between looks.
///
/// # Errors
/// [`StoreError`].
pub async fn wait(
    core: &Core,
    tenant: TenantId,
    rev: u64,
    within: Duration,
) -> Result<Convergence, StoreError> {
    let stopping = core.tasks.stopping();
    let mut time_is_up = std::pin::pin!(tokio::time::sleep(within));
    let mut pause = LOOK_AGAIN;
    loop {
        let counts = look(core, tenant, rev).await?;
        if counts.is_settled() {
            return Ok(counts);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 3 / 2).min(LOOK_AT_LEAST_EVERY),
            () = &mut time_is_up => return look(core, tenant, rev).await,
            () = stopping.cancelled() => return Ok(counts),
        }
    }
}

/// [`count`], in turn.
async fn look(core: &Core, tenant: TenantId, rev: u64) -> Result<Convergence, StoreError> {
    core.looks.writes.take(count(core, tenant, rev)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_is_counted_once() {
        let proxy = |applied_rev, rejected_rev| ProxyState {
            proxy: ProxyId::from_parts(1, [0; 10]),
            applied_rev,
            rejected_rev,
        };
        let counts = Convergence::of(5, &[proxy(5, 0), proxy(6, 5), proxy(4, 5), proxy(4, 0), proxy(0, 0)]);
        assert_eq!(counts.to_string(), "rev=5, applied=2, rejected=1, unreachable=2");
        assert!(!counts.is_settled() && Convergence::of(1, &[]).is_settled());
    }
}
