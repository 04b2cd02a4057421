//! Who has what in force, and since when.

use std::{pin::pin, time::Duration};

use ids::{ProxyId, TenantId};
use seams::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Kills, Progress, Unsaved, queries};
use crate::{app::Core, db::StoreError};

/// Before the second look of a waiting request; each later pause is half as long again, up to [`LOOK_AT_LEAST_EVERY`].
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(250);

/// How far the fleet is with a kill or its lifting.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Acknowledgement {
    /// Proxies that have it in force on all their workers and on their disk.
    pub acknowledged: u32,
    /// Live proxies that have not said so.
    pub unreachable: u32,
    /// Proxies that were not heard of for a lease and have not said so. They hear of it by Redis, by order, or before they
    /// serve again.
    pub expired: u32,
    /// Seconds from the order to the last acknowledgement so far; null while there is none.
    pub slowest_seconds: Option<f64>,
    /// Each proxy. For operators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Vec<ProxyAcknowledgement>>,
}

/// How far one proxy is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProxyAcknowledgement {
    /// Which.
    #[schema(value_type = String, example = "px_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub proxy_id: ProxyId,
    /// Where it stands.
    #[schema(inline)]
    pub state: ProxyState,
    /// Seconds from the order to its acknowledgement; null when it has not acknowledged, or enrolled later and has had the
    /// kill from its start.
    pub seconds: Option<f64>,
}

/// Where a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyState {
    /// In force.
    Acknowledged,
    /// Live, and has not said so.
    Unreachable,
    /// Not heard of for a lease.
    Expired,
}

impl Acknowledgement {
    /// From the state of each proxy.
    fn of(proxies: Vec<ProxyAcknowledgement>) -> Self {
        let count = |state| proxies.iter().filter(|proxy| proxy.state == state).count() as u32;
        Self {
            acknowledged: count(ProxyState::Acknowledged),
            unreachable: count(ProxyState::Unreachable),
            expired: count(ProxyState::Expired),
            slowest_seconds: proxies.iter().filter_map(|proxy| proxy.seconds).reduce(f64::max),
            proxies: Some(proxies),
        }
    }

    /// As a tenant may see it.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { proxies: None, ..self }
    }

    /// For the header of an answer that waited.
    #[must_use]
    pub fn header(&self) -> String {
        format!(
            "acknowledged={}, unreachable={}, expired={}",
            self.acknowledged, self.unreachable, self.expired
        )
    }
}

fn stands(progress: Progress, epoch: u64, since: Timestamp) -> ProxyAcknowledgement {
    let state = match progress {
        Progress { epoch: at, .. } if at >= epoch => ProxyState::Acknowledged,
        Progress { live: true, .. } => ProxyState::Unreachable,
        _ => ProxyState::Expired,
    };
    let seconds = progress.acked_at.map(|at| at.since(since).as_secs_f64());
    ProxyAcknowledgement { proxy_id: progress.proxy, state, seconds }
}

/// How far the proxies of the tenant's pool, or all, are with the change of `epoch`, ordered at `since`.
///
/// # Errors
/// [`StoreError`].
pub async fn acknowledgement(
    core: &Core,
    tenant: Option<TenantId>,
    epoch: u64,
    since: Timestamp,
) -> Result<Acknowledgement, StoreError> {
    let mut tx = core.store.operator().await?;
    let progress = queries::progress(&mut tx, tenant, epoch, core.clock.now().to_offset()).await?;
    Ok(Acknowledgement::of(progress.into_iter().map(|proxy| stands(proxy, epoch, since)).collect()))
}

/// Looks until every live proxy has acknowledged or the time is up. Holds no database connection between looks.
///
/// # Errors
/// [`StoreError`].
pub async fn wait(
    core: &Core,
    tenant: Option<TenantId>,
    epoch: u64,
    since: Timestamp,
    within: Duration,
) -> Result<Acknowledgement, StoreError> {
    let stopping = core.tasks.stopping();
    let mut time_is_up = pin!(tokio::time::sleep(within));
    let mut pause = LOOK_AGAIN;
    loop {
        let found = core.looks.kills.take(acknowledgement(core, tenant, epoch, since)).await?;
        if found.unreachable == 0 {
            return Ok(found);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 3 / 2).min(LOOK_AT_LEAST_EVERY),
            () = &mut time_is_up => return acknowledgement(core, tenant, epoch, since).await,
            () = stopping.cancelled() => return Ok(found),
        }
    }
}

impl Kills {
    /// A proxy's stream is here.
    pub fn connected(&self, proxy: ProxyId) {
        *self.state.lock().streams.entry(proxy).or_default() += 1;
    }

    /// It went. While a proxy changes its certificate it has two.
    pub fn gone(&self, proxy: ProxyId) {
        let mut state = self.state.lock();
        if let Some(open) = state.streams.get_mut(&proxy) {
            *open -= 1;
            if *open == 0 {
                state.streams.remove(&proxy);
            }
        }
    }

    /// A proxy has what was signed as `serial` in force.
    pub fn acknowledged(&self, proxy: ProxyId, serial: u64, now: Timestamp) {
        let mut state = self.state.lock();
        for unsaved in state.unsaved.iter_mut().filter(|unsaved| unsaved.serial <= serial) {
            unsaved.acked.entry(proxy).or_insert(now);
        }
    }

    /// Stores that a proxy has everything up to `epoch` in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_acknowledgement(
        &self,
        core: &Core,
        proxy: ProxyId,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = core.store.stream().await?;
        queries::acknowledge(&mut tx, proxy, epoch, at.to_offset()).await?;
        tx.commit().await
    }

    /// How far the proxies connected to this replica are with a kill that has no row.
    #[must_use]
    pub fn acknowledgement_here(&self, unsaved: &Unsaved) -> Acknowledgement {
        let state = self.state.lock();
        let acked = state.unsaved.iter().find(|kept| kept.kill.id == unsaved.kill.id).unwrap_or(unsaved);
        let proxies = state.streams.keys().map(|proxy| match acked.acked.get(proxy) {
            Some(at) => ProxyAcknowledgement {
                proxy_id: *proxy,
                state: ProxyState::Acknowledged,
                seconds: Some(at.since(unsaved.kill.at).as_secs_f64()),
            },
            None => ProxyAcknowledgement { proxy_id: *proxy, state: ProxyState::Unreachable, seconds: None },
        });
        let mut proxies: Vec<_> = proxies.collect();
        proxies.sort_by_key(|proxy| proxy.proxy_id);
        Acknowledgement::of(proxies)
    }

    /// As [`wait`], of a kill that has no row.
    pub async fn wait_here(&self, core: &Core, unsaved: &Unsaved, within: Duration) -> Acknowledgement {
        let stopping = core.tasks.stopping();
        let mut time_is_up = pin!(tokio::time::sleep(within));
        loop {
            let found = self.acknowledgement_here(unsaved);
            if found.unreachable == 0 {
                return found;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = &mut time_is_up => return self.acknowledgement_here(unsaved),
                () = stopping.cancelled() => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_is_counted_once_and_the_slowest_is_said() {
        let since = Timestamp::from_secs(100);
        let proxy = |n, epoch, live, after: Option<u64>| Progress {
            proxy: ProxyId::from_parts(n, [0; 10]),
            epoch,
            live,
            acked_at: after.map(|millis| since.plus(Duration::from_millis(millis))),
        };
        let fleet = [
            proxy(1, 5, true, Some(20)),
            proxy(2, 7, false, Some(1_500)),
            proxy(3, 4, true, None),
            proxy(4, 0, false, None),
            proxy(5, 9, true, None),
        ];
        let found = Acknowledgement::of(fleet.into_iter().map(|proxy| stands(proxy, 5, since)).collect());
        assert_eq!(found.header(), "acknowledged=3, unreachable=1, expired=1");
        assert_eq!(found.slowest_seconds, Some(1.5));
        assert_eq!(found.counted().proxies, None);
    }
}
