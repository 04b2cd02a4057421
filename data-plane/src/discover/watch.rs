//! What callers' traffic shows goes to the control plane: a changed definition at once, an announced change as a look
//! at the whole list, not more often than every few seconds for one upstream.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ids::{TenantId, UpstreamId};
use seams::{Clock, Monotonic};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::v1::{CatalogueReport, ToolDefinition};

use super::Discovery;
use crate::{control::report::Reporter, snapshot::store::Snapshots, upstream::Noticed};

/// How long announcements of one upstream are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Between two looks at one upstream.
const APART: Duration = Duration::from_secs(10);
/// Notices taken together.
const TOGETHER: usize = 256;
/// Looks under way at once.
const AT_ONCE: usize = 4;

type Place = (TenantId, UpstreamId);

/// When each upstream is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeMap<Place, Monotonic>,
    looked: BTreeMap<Place, Monotonic>,
}

impl Schedule {
    /// Something changed there. A look that is due already is not put off.
    pub(super) fn ask(&mut self, place: Place, now: Monotonic) {
        let soon = after(now, GATHER);
        let earliest = self.looked.get(&place).map_or(soon, |looked| after(*looked, APART).max(soon));
        self.due.entry(place).or_insert(earliest);
    }

    /// The places that are due, each once.
    pub(super) fn take(&mut self, now: Monotonic, room: usize) -> Vec<Place> {
        let due: Vec<_> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(place, _)| *place).take(room).collect();
        for place in &due {
            self.due.remove(place);
            self.looked.insert(*place, now);
        }
        self.looked.retain(|_, looked| now.since(*looked) < APART);
        due
    }

    /// Until the next one is due.
    pub(super) fn wait(&self, now: Monotonic) -> Option<Duration> {
        self.due.values().min().map(|at| at.since(now))
    }
}

fn after(at: Monotonic, by: Duration) -> Monotonic {
    Monotonic::from_nanos(at.nanos().saturating_add(by.as_nanos() as u64))
}

/// Passes on what is noticed, until told to stop.
pub(crate) async fn watch(
    mut noticed: mpsc::Receiver<Noticed>,
    snapshots: Arc<Snapshots>,
    discovery: Arc<Discovery>,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    let mut schedule = Schedule::default();
    let mut looking = FuturesUnordered::new();
    let mut notices = Vec::with_capacity(TOGETHER);
    loop {
        let room = AT_ONCE - looking.len().min(AT_ONCE);
        for place in schedule.take(clock.monotonic(), room) {
            looking.push(look(place, &snapshots, &discovery));
        }
        let wait = if looking.len() < AT_ONCE { schedule.wait(clock.monotonic()) } else { None };
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait.max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            taken = noticed.recv_many(&mut notices, TOGETHER) => {
                if taken == 0 {
                    return;
                }
                let now = clock.monotonic();
                for report in drifts(&mut notices, |place| schedule.ask(place, now)) {
                    reporter.notice(report);
                }
            }
            Some(report) = looking.next(), if !looking.is_empty() => {
                if let Some(report) = report {
                    reporter.notice(report);
                }
            }
            () = due => {}
        }
    }
}

/// Looks at an upstream, if it still is configured.
async fn look(
    (tenant, upstream): Place,
    snapshots: &Snapshots,
    discovery: &Discovery,
) -> Option<CatalogueReport> {
    let fleet = snapshots.load();
    let tenant = fleet.tenant(tenant)?;
    let upstream = tenant.upstreams.get(&upstream).filter(|upstream| upstream.enabled)?;
    Some(discovery.look(tenant, upstream).await)
}

/// The changed definitions among `notices`, one report for each upstream. Every upstream that was noticed is asked for a
/// look: where one definition has changed, others may have.
pub(super) fn drifts(notices: &mut Vec<Noticed>, mut ask: impl FnMut(Place)) -> Vec<CatalogueReport> {
    let mut reports: BTreeMap<Place, CatalogueReport> = BTreeMap::new();
    for notice in notices.drain(..) {
        match notice {
            Noticed::ListChanged { tenant, upstream } => ask((tenant, upstream)),
            Noticed::Drift { tenant, upstream, name, definition } => {
                ask((tenant, upstream));
                let report = reports.entry((tenant, upstream)).or_insert_with(|| CatalogueReport {
                    tenant_id: tenant.uuid().as_bytes().to_vec(),
                    upstream_id: upstream.uuid().as_bytes().to_vec(),
                    ..CatalogueReport::default()
                });
                report.tools.retain(|tool| *tool.name != *name);
                report.tools.push(ToolDefinition { name: name.into(), definition });
            }
        }
    }
    reports.into_values().collect()
}
