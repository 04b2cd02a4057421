//! What a configuration stream tells the database: that the proxy lives, and how far it is with each tenant.
//!
//! Gathered while a write is under way and written together, so that a proxy that acknowledges 10,000 tenants costs a
//! few statements, and a slow database does not hold up the stream.

use std::collections::BTreeMap;

use errors::ErrorCode;
use ids::{ProxyId, TenantId};
use seams::Timestamp;
use wire::{
    global::SCOPE,
    stream::{LEASE_TTL, Version},
    v1,
};

use super::{
    global,
    queries::{self, Standing},
};
use crate::{app::Core, db::StoreError, global::gate::Counts};

/// A proxy's state with one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It says that it enforces this; believed of a tenant of its pool, as far as there is such a revision.
    Claimed(Version),
    /// It enforces this.
    Applied(Version),
    /// It enforces nothing of the tenant any more.
    Removed,
    /// It refused a revision and stays at another (0: none).
    Rejected { rev: u64, at_rev: u64, code: ErrorCode, detail: String },
}

/// What `Hello` said of the process.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) boot: Vec<u8>,
    pub(super) build: String,
    /// What it reads.
    pub(super) protocol: u32,
}

impl Run {
    pub(super) fn of(message: &v1::ProxyMessage) -> Option<Self> {
        match &message.body {
            Some(v1::proxy_message::Body::Hello(hello)) => Some(Self {
                boot: hello.boot.clone(),
                build: super::build_name(&hello.build),
                protocol: hello.protocol,
            }),
            _ => None,
        }
    }
}

/// What a beat says of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Its clock less ours, in milliseconds. The way here makes it look late.
    pub(super) clock_skew_ms: Option<i64>,
    /// What it has answered in this run.
    pub(super) counts: Counts,
}

impl Said {
    pub(super) fn of(message: &v1::ProxyMessage, now: Timestamp) -> Option<Self> {
        let Some(v1::proxy_message::Body::Beat(beat)) = &message.body else { return None };
        let clocks = i64::try_from(beat.time_micros).ok().zip(i64::try_from(now.micros()).ok());
        let counts = Counts {
            answers: beat.answers,
            refusals: beat.refusals,
            failures: beat.failures,
            turned_away: beat.turned_away,
        };
        let clock_skew_ms = clocks.map(|(theirs, ours)| theirs.saturating_sub(ours) / 1_000);
        Some(Self { clock_skew_ms, counts })
    }
}

/// Whose progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) proxy: ProxyId,
    /// Its streams are numbered as they begin, at whichever replica. Only the newest is believed.
    pub(super) stream: i64,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// Nothing: the proxy was put out of the fleet.
    Revoked,
    /// Nothing: there is no such proxy.
    Unknown,
    /// Nothing: the proxy has begun another stream.
    Superseded,
}

/// What has not been written yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The stream has just begun: what was known of the proxy before no longer counts.
    pub(super) run: Option<Run>,
    /// Its lease is to be extended.
    pub(super) heard: bool,
    /// Its last beat.
    pub(super) said: Option<Said>,
    pub(super) tenants: BTreeMap<TenantId, Progress>,
    /// Its state with the fleet's configuration.
    pub(super) global: Option<Progress>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_none() && !self.heard && !self.has_progress()
    }

    pub(super) fn has_progress(&self) -> bool {
        !self.tenants.is_empty() || self.global.is_some()
    }

    /// The proxy's state with a tenant, or with the fleet's configuration.
    pub(super) fn note(&mut self, tenant: TenantId, progress: Progress) {
        if tenant == SCOPE {
            self.global = Some(progress);
        } else {
            self.tenants.insert(tenant, progress);
        }
    }

    /// Puts back what could not be written, under what has come since.
    pub(super) fn put_back(&mut self, failed: Self) {
        self.run = self.run.take().or(failed.run);
        self.heard |= failed.heard;
        self.said = self.said.or(failed.said);
        self.global = self.global.take().or(failed.global);
        for (tenant, progress) in failed.tenants {
            self.tenants.entry(tenant).or_insert(progress);
        }
    }

    /// Writes all of it, unless the stream is to be ended.
    pub(super) async fn write(&self, core: &Core, of: Of) -> Result<Written, StoreError> {
        let (now, proxy) = (core.clock.now(), of.proxy);
        let mut tx = core.store.stream().await?;
        let lease = queries::Lease { run: self.run.as_ref(), said: self.said, until: now.plus(LEASE_TTL) };
        if !queries::extend_lease(&mut tx, of, &lease).await? {
            return Ok(match queries::standing(&mut tx, proxy).await? {
                Standing::Member(_) => Written::Superseded,
                Standing::Revoked => Written::Revoked,
                Standing::Unknown => Written::Unknown,
            });
        }
        if self.run.is_some() {
            let tenants: Vec<_> = self.tenants.keys().map(|tenant| tenant.uuid()).collect();
            queries::forget_progress(&mut tx, proxy, &tenants, now).await?;
        }
        queries::store_progress(&mut tx, proxy, &self.tenants, now).await?;
        // What begins and says nothing of it has none.
        let silent = self.run.is_some().then_some(&Progress::Removed);
        if let Some(progress) = self.global.as_ref().or(silent) {
            global::store(&mut tx, proxy, progress, now).await?;
        }
        tx.commit().await?;
        Ok(Written::All)
    }
}
