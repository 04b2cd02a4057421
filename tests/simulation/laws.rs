//! What must hold.

use ids::TenantId;
use wire::{
    global::{self, SCOPE, is_scope},
    snapshot::decode_exact,
    v1,
};

use crate::World;

/// At every moment: what a proxy enforces of a tenant is, byte for byte, one revision that was published, and one that can be
/// applied. Never a mix. And no proxy has a revision of the fleet's configuration that its stage has not reached.
pub(crate) fn always(world: &World) {
    let store = world.store.borrow();
    for (number, proxy) in world.proxies.iter().enumerate() {
        let most = store.rollout.most[number];
        if let Some(beyond) = proxy.borrow().enforced.get(&SCOPE).filter(|enforced| enforced.rev > most) {
            world.broken(format!("proxy {number} is beyond its stage, which is at {most}: {beyond:?}"));
        }
        for (tenant, enforced) in &proxy.borrow().enforced {
            let published = store.revision(*tenant, enforced.rev);
            let exact = published.is_some_and(|stored| {
                stored.bytes == enforced.snapshot
                    && stored.version.digest[..] == enforced.digest[..]
                    && !stored.poisoned
            });
            if !exact {
                world.broken(format!("proxy {number} enforces what was never published: {enforced:?}"));
            }
        }
    }
}

/// A proxy is about to enforce this instead of `former`, within one run of its process.
pub(crate) fn on_change(world: &World, number: usize, former: Option<&v1::Replace>, next: &v1::Replace) {
    if former.is_some_and(|former| former.rev > next.rev) {
        world.broken(format!("proxy {number} went back: {former:?} to {next:?}"));
    }
    let is_global = is_scope(&next.tenant_id);
    let reads = if is_global {
        global::decode_exact(&next.snapshot).is_ok()
    } else {
        decode_exact(&next.snapshot).is_ok()
    };
    if !reads {
        world.broken(format!("proxy {number} enforces what cannot be read: {next:?}"));
    }
}

/// At the end: every proxy runs, is ready, and enforces of every tenant the newest revision; where that is poisoned, one before it
/// or none, which delays no other tenant; and nothing of tenants that are not its own.
pub(crate) fn at_rest(world: &World) -> Result<(), String> {
    let store = world.store.borrow();
    for (number, proxy) in world.proxies.iter().enumerate() {
        let (proxy, current) = (proxy.borrow(), store.current_for(number));
        if !proxy.running || !proxy.ready {
            return Err(format!("proxy {number} runs: {}, is ready: {}", proxy.running, proxy.ready));
        }
        let said = |tenant: &TenantId| proxy.enforced.get(tenant).map(|enforced| enforced.rev);
        for (tenant, newest) in &current {
            let poisoned = store.newest(*tenant).is_some_and(|stored| stored.poisoned);
            let right = match said(tenant) {
                Some(rev) if poisoned => rev < newest.rev,
                None => poisoned,
                Some(rev) => rev == newest.rev,
            };
            if !right {
                let at = said(tenant);
                return Err(format!(
                    "proxy {number}, {tenant}: at {at:?}, newest {newest:?}, poisoned {poisoned}"
                ));
            }
        }
        if let Some(tenant) = proxy.enforced.keys().find(|tenant| !current.contains_key(tenant)) {
            return Err(format!("proxy {number} still enforces {tenant}"));
        }
    }
    Ok(())
}
