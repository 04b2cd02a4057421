//! Kills that were ordered while Postgres was away: in memory until it is back.

use std::{collections::BTreeMap, sync::Arc};

use ids::{KillId, ProxyId};
use seams::Timestamp;
use wire::kill::Kill;

use super::{Kills, queries};
use crate::{app::Core, audit::Act, db::StoreError, publish::commit::commit_operator};

/// A kill that has no row yet.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// It.
    pub kill: Kill,
    /// Why.
    pub reason: String,
    /// By whom, for the audit log.
    pub act: Act,
    /// In force at a proxy from this serial on.
    pub(super) serial: u64,
    /// When each proxy connected here had it in force.
    pub(super) acked: BTreeMap<ProxyId, Timestamp>,
}

impl Kills {
    /// Orders a kill without Postgres: it is on its way to every proxy connected here when this returns.
    pub fn order_now(&self, kill: Kill, reason: String, act: Act) {
        let mut state = self.state.lock();
        let serial = state.serial + 1;
        state.unsaved.push(Unsaved { kill, reason, act, serial, acked: BTreeMap::new() });
        self.sign(&mut state);
    }

    /// A kill that has no row yet.
    #[must_use]
    pub fn unsaved(&self, id: KillId) -> Option<Unsaved> {
        self.state.lock().unsaved.iter().find(|unsaved| unsaved.kill.id == id).cloned()
    }

    /// Writes the rows that are missing. One that is written leaves the list when the set has been read with it, so that no
    /// signed set is without it.
    pub(super) async fn save(self: &Arc<Self>, core: &Core) -> Result<(), StoreError> {
        let waiting = self.state.lock().unsaved.clone();
        for unsaved in waiting {
            self.save_one(core, &unsaved).await?;
            self.refresh(core).await?;
            self.state.lock().unsaved.retain(|kept| kept.kill.id != unsaved.kill.id);
        }
        Ok(())
    }

    async fn save_one(&self, core: &Core, unsaved: &Unsaved) -> Result<(), StoreError> {
        let mut tx = core.store.operator().await?;
        // Before the answer to an earlier attempt was lost.
        if queries::exists(&mut tx, unsaved.kill.id).await? {
            return Ok(());
        }
        let epoch = queries::raise_as_operator(&mut tx, self.epoch()).await?;
        let by = (unsaved.reason.as_str(), unsaved.act.actor.to_string());
        if !queries::insert_late(&mut tx, &unsaved.kill, (by.0, &by.1), epoch).await? {
            tracing::warn!(kill = %unsaved.kill.id, "the tenant of a kill ordered without Postgres does not exist");
            return Ok(());
        }
        let acked = self.unsaved(unsaved.kill.id).map(|unsaved| unsaved.acked).unwrap_or_default();
        for (proxy, at) in acked {
            queries::acknowledged_before(&mut tx, epoch, proxy, at.to_offset()).await?;
        }
        commit_operator(tx, core, &unsaved.act, None).await?;
        tracing::info!(kill = %unsaved.kill.id, epoch, "a kill ordered without Postgres has its row");
        Ok(())
    }
}
