//! The bytes that changes are put onto: what is enforced of each tenant, as it was received.

use std::fmt;

use ids::TenantId;
use parking_lot::Mutex;
use wire::v1;

use super::index::Map;

/// Keeps the last [`v1::Replace`] of each tenant. Whoever keeps it may lose it: the control plane then sends the whole tenant
/// again. What comes out is checked against its digest before it is used.
pub trait Bases: fmt::Debug + Send + Sync {
    /// What was put last for the tenant and not removed since.
    fn get(&self, tenant: TenantId) -> Option<v1::Replace>;

    /// The tenant is enforced as `replace` says from now on. An error is the keeper's to report.
    fn put(&self, tenant: TenantId, replace: &v1::Replace);

    /// The tenant is no longer enforced.
    fn remove(&self, tenant: TenantId);
}

/// Keeps everything in memory.
#[derive(Default)]
pub struct InMemory(Mutex<Map<TenantId, v1::Replace>>);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("tenants", &self.0.lock().len()).finish()
    }
}

impl Bases for InMemory {
    fn get(&self, tenant: TenantId) -> Option<v1::Replace> {
        self.0.lock().get(&tenant).cloned()
    }

    fn put(&self, tenant: TenantId, replace: &v1::Replace) {
        self.0.lock().insert(tenant, replace.clone());
    }

    fn remove(&self, tenant: TenantId) {
        self.0.lock().remove(&tenant);
    }
}
