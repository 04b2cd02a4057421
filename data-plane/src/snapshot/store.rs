//! All tenants this proxy serves, replaced one whole tenant at a time.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arc_swap::ArcSwap;
use ids::{TenantId, Uuid};
use parking_lot::Mutex;
use seams::Clock;
use tokio::sync::watch;
use wire::{
    global::{SCOPE, is_scope},
    snapshot::{
        definitions::{restore, restore_changed},
        delta::{self, Misfit},
    },
    stream::Version,
    v1,
};

pub use super::fleet::Fleet;
use super::{
    base::{Bases, InMemory},
    build::{Lasting, build},
    decode::{DecodeError, decode},
    definitions::Definitions,
    global::{self, Global},
    index::TenantIndex,
};

/// Decoded, checked and indexed, and not yet in force.
#[derive(Debug)]
pub enum Prepared {
    /// A tenant.
    Tenant(Box<TenantIndex>),
    /// What is not a tenant's.
    Global(Global),
}

/// What was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub version: Version,
}

/// The configuration in force, shared by all workers.
#[derive(Debug)]
pub struct Snapshots {
    fleet: Arc<ArcSwap<Fleet>>,
    /// Held while a change is made: there is one source of changes, so nobody waits long.
    writing: Mutex<Lasting>,
    bases: Arc<dyn Bases>,
    changes: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
}

impl Snapshots {
    /// No tenants yet, and their bytes kept in memory.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_bases(clock, Arc::<InMemory>::default())
    }

    /// No tenants yet.
    #[must_use]
    pub fn with_bases(clock: Arc<dyn Clock>, bases: Arc<dyn Bases>) -> Self {
        Self {
            fleet: Arc::new(ArcSwap::from_pointee(Fleet::new())),
            writing: Mutex::default(),
            bases,
            changes: watch::Sender::new(0),
            clock,
        }
    }

    /// Everything as it is now.
    #[must_use]
    pub fn load(&self) -> Arc<Fleet> {
        self.fleet.load_full()
    }

    /// For a worker's `arc_swap::Cache`.
    #[must_use]
    pub fn shared(&self) -> Arc<ArcSwap<Fleet>> {
        self.fleet.clone()
    }

    /// Counts changes.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is enforced, by tenant; under [`SCOPE`] what is not a tenant's.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<TenantId, Version> {
        let fleet = self.load();
        let version = |index: &Arc<TenantIndex>| (index.id, Version { rev: index.rev, digest: index.digest });
        let global = fleet.global.version.map(|version| (SCOPE, version));
        fleet.tenants().map(version).chain(global).collect()
    }

    /// Decodes, checks, indexes and swaps in one tenant. On any error, a panic included, what was enforced before goes on.
    ///
    /// # Errors
    /// Why it was refused; its code and text go into the `Nack`.
    pub fn apply(&self, replace: &v1::Replace) -> Result<Applied, DecodeError> {
        let mut lasting = self.writing.lock();
        let apply = || {
            let whole = restored(replace, &lasting.definitions)?;
            Ok((self.replace(&whole, &mut lasting)?, whole))
        };
        let applied = catch_unwind(AssertUnwindSafe(apply)).unwrap_or(Err(DecodeError::Panicked));
        lasting.definitions.forget_learnt();
        let (applied, whole) = applied?;
        self.keep(applied.tenant, &whole);
        Ok(applied)
    }

    /// Keeps definitions that the next change refers to. A panic is that change's to report: it will miss them.
    pub fn learn(&self, new: &v1::Definitions) {
        let mut lasting = self.writing.lock();
        let learn = || new.definitions.iter().for_each(|each| lasting.definitions.learn(each));
        let _panicked = catch_unwind(AssertUnwindSafe(learn));
    }

    /// Which definitions are in use here, as `Hello` says it.
    #[must_use]
    pub fn definitions(&self) -> Vec<u8> {
        self.writing.lock().definitions.shown()
    }

    /// Decodes, checks and indexes one tenant as [`apply`](Self::apply) does, for [`install`](Self::install). Several threads may
    /// do so at once; decoding is most of it.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn prepare(&self, replace: &v1::Replace) -> Result<Prepared, DecodeError> {
        let prepare = || {
            if is_scope(&replace.tenant_id) {
                return global::decode(replace).map(Prepared::Global);
            }
            let (tenant, snapshot) = decode(replace)?;
            let digest = replace.digest.as_slice().try_into().map_err(|_| DecodeError::Digest)?;
            let now = self.clock.monotonic();
            let mut writing = self.writing.lock();
            let index = build(tenant, snapshot, digest, &replace.keys, None, &mut writing, now)?;
            Ok(Prepared::Tenant(Box::new(index)))
        };
        catch_unwind(AssertUnwindSafe(prepare)).unwrap_or(Err(DecodeError::Panicked))
    }

    /// Puts in what was kept from an earlier run, all at once.
    pub fn install(&self, prepared: Vec<Prepared>) {
        let _writing = self.writing.lock();
        let mut next = Fleet::clone(&self.load());
        for each in prepared {
            let index = match each {
                Prepared::Tenant(index) => index,
                Prepared::Global(global) => {
                    next.global = global;
                    continue;
                }
            };
            let tenant = index.id;
            if let Err(error) = next.insert(*index) {
                tracing::error!(portcullis.tenant.id = %tenant, error.code = error.code().slug(), detail = %error,
                    "kept snapshot refused");
            }
        }
        self.swap(next);
    }

    /// Puts changes onto what is enforced of one tenant, and goes on as [`apply`](Self::apply) does with what comes out.
    ///
    /// # Errors
    /// [`DecodeError::Misfit`] when they lead from something else, or to something else than they say: the whole tenant is to
    /// be asked for. Any other as with [`apply`](Self::apply).
    pub fn amend(&self, change: &v1::Delta) -> Result<Applied, DecodeError> {
        let mut lasting = self.writing.lock();
        let amend = || {
            let change = restored_changes(change, &lasting.definitions)?;
            let whole = delta::amend(&self.base(&change)?, &change)?;
            let applied = self.replace(&whole, &mut lasting)?;
            Ok((applied, whole))
        };
        let applied = catch_unwind(AssertUnwindSafe(amend)).unwrap_or(Err(DecodeError::Panicked));
        lasting.definitions.forget_learnt();
        let (applied, whole) = applied?;
        self.keep(applied.tenant, &whole);
        Ok(applied)
    }

    fn base(&self, change: &v1::Delta) -> Result<v1::Replace, DecodeError> {
        let tenant = Uuid::from_slice(&change.tenant_id).map_err(|_| DecodeError::Envelope("tenant_id"))?;
        let tenant = TenantId::from_uuid(tenant);
        let fleet = self.load();
        let enforced = fleet.tenant(tenant);
        if enforced
            .is_none_or(|index| index.rev != change.from_rev || index.digest[..] != change.from_digest[..])
        {
            return Err(Misfit::Revision.into());
        }
        self.bases.get(tenant).ok_or(DecodeError::Misfit(Misfit::Missing))
    }

    /// It is enforced already, so nothing that goes wrong here may be answered with a refusal.
    fn keep(&self, tenant: TenantId, replace: &v1::Replace) {
        let keep = || self.bases.put(tenant, replace);
        if catch_unwind(AssertUnwindSafe(keep)).is_err() {
            tracing::error!(portcullis.tenant.id = %tenant, "what is enforced was not kept");
        }
    }

    fn replace(&self, replace: &v1::Replace, lasting: &mut Lasting) -> Result<Applied, DecodeError> {
        if is_scope(&replace.tenant_id) {
            let global = global::decode(replace)?;
            let version = global.version.ok_or(DecodeError::Digest)?;
            let mut next = Fleet::clone(&self.load());
            next.global = global;
            self.swap(next);
            return Ok(Applied { tenant: SCOPE, version });
        }
        let (tenant, snapshot) = decode(replace)?;
        let digest = replace.digest.as_slice().try_into().map_err(|_| DecodeError::Digest)?;
        let current = self.load();
        let previous = current.tenant(tenant).map(AsRef::as_ref);
        let now = self.clock.monotonic();
        let index = build(tenant, snapshot, digest, &replace.keys, previous, lasting, now)?;
        let version = Version { rev: index.rev, digest };
        let mut next = Fleet::clone(&current);
        next.insert(index)?;
        if let Some(former) = previous {
            lasting.left.leave(former, next.tenant(tenant).map(AsRef::as_ref));
        }
        self.swap(next);
        Ok(Applied { tenant, version })
    }

    /// Takes every tenant out.
    pub fn clear(&self) {
        let _writing = self.writing.lock();
        self.swap(Fleet::new());
    }

    /// Takes a tenant out.
    pub fn remove(&self, tenant: TenantId) {
        let mut lasting = self.writing.lock();
        let mut next = Fleet::clone(&self.load());
        if tenant == SCOPE {
            next.global = Global::default();
        } else {
            if let Some(former) = next.tenant(tenant) {
                lasting.left.leave(former, None);
            }
            next.remove(tenant);
        }
        self.swap(next);
        self.bases.remove(tenant);
    }

    fn swap(&self, next: Fleet) {
        self.fleet.store(Arc::new(next));
        self.changes.send_modify(|count| *count += 1);
    }
}

/// What was sent, with the definitions that were cut out of it.
fn restored<'a>(
    replace: &'a v1::Replace,
    definitions: &Definitions,
) -> Result<Cow<'a, v1::Replace>, DecodeError> {
    if replace.cuts.is_empty() {
        return Ok(Cow::Borrowed(replace));
    }
    let snapshot = restore(&replace.snapshot, &replace.cuts, |address| definitions.get(address))?;
    Ok(Cow::Owned(v1::Replace { snapshot, cuts: Vec::new(), ..replace.clone() }))
}

/// The same, of changes.
fn restored_changes<'a>(
    change: &'a v1::Delta,
    definitions: &Definitions,
) -> Result<Cow<'a, v1::Delta>, DecodeError> {
    let Some(changes) = change.changes.as_ref().filter(|_| !change.cuts.is_empty()) else {
        return Ok(Cow::Borrowed(change));
    };
    let changes = restore_changed(changes, &change.cuts, |address| definitions.get(address))?;
    Ok(Cow::Owned(v1::Delta { changes: Some(changes), cuts: Vec::new(), ..change.clone() }))
}
