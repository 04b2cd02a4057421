//! When API keys were used last, as the audit records of their calls say it. Noted now and then, and for all keys at once: what a
//! replica has not noted when it stops is noted with the key's next use.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use ids::{Id, KeyId, TenantId};
use parking_lot::Mutex;
use seams::Timestamp;

use super::queries;
use crate::{app::Core, audit::row::AuditRow, db::StoreError};

/// How often.
const EVERY: Duration = Duration::from_secs(30);
/// Keys that are remembered in between.
const MOST: usize = 100_000;

/// What is to be noted.
#[derive(Debug, Default)]
pub struct KeyUses(Mutex<HashMap<(TenantId, KeyId), Timestamp>>);

impl KeyUses {
    /// Remembers whose calls these are, which were recorded just now.
    pub fn remember(&self, rows: &[AuditRow]) {
        let mut uses = self.0.lock();
        for row in rows {
            let Some(key) = row.key_id else { continue };
            let of = (TenantId::from_uuid(row.tenant_id), Id::from_uuid(key));
            if uses.len() < MOST || uses.contains_key(&of) {
                let at = uses.entry(of).or_default();
                // No proxy's clock makes a use later than it was heard of.
                *at = (*at).max(row.at.min(row.stored_at));
            }
        }
    }

    fn take(&self) -> BTreeMap<TenantId, Vec<(KeyId, Timestamp)>> {
        let mut by_tenant = BTreeMap::<_, Vec<_>>::new();
        for ((tenant, key), at) in std::mem::take(&mut *self.0.lock()) {
            by_tenant.entry(tenant).or_default().push((key, at));
        }
        by_tenant
    }
}

/// Notes them for as long as the control plane runs.
pub async fn follow(core: Core) {
    let stopping = core.tasks.stopping();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopping.cancelled() => return,
        }
        note_all(&core).await;
    }
}

/// Notes what is remembered.
pub async fn note_all(core: &Core) {
    for (tenant, mut uses) in core.key_uses.take() {
        // In one order, so that replicas wait for each other and do not lock each other out.
        uses.sort_unstable_by_key(|(key, _)| *key);
        if let Err(error) = note(core, tenant, &uses).await {
            tracing::warn!(portcullis.tenant.id = %tenant, error.cause = %error, "uses of keys were not noted");
        }
    }
}

async fn note(core: &Core, tenant: TenantId, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
    let keys: Vec<_> = uses.iter().map(|(key, _)| key.uuid()).collect();
    let at: Vec<_> = uses.iter().map(|(_, at)| at.to_offset()).collect();
    let mut tx = core.store.tenant(tenant).await?;
    queries::used(&mut tx, &keys, &at).await?;
    tx.commit_unpublished().await
}
