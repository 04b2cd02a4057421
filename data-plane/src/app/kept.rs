//! What a proxy knows before it has heard of any control plane: who it is, and what it enforced last.

use std::{future::Future, sync::Arc, time::Duration};

use ids::ProxyId;
use seams::{Clock, Entropy};
use tokio::sync::watch;

use crate::{
    audit::spool::Spool,
    config::Config,
    control::{self, Control},
    kills::Kills,
    ready::Readiness,
    snapshot::{
        archive::Archive,
        base::{Bases, InMemory},
        store::Snapshots,
    },
};

/// How often the configuration's age is taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// State of an earlier run, read.
pub(super) struct Kept {
    /// By the identity file.
    pub(super) proxy: Option<ProxyId>,
    pub(super) archive: Arc<Archive>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) ready: Arc<Readiness>,
}

impl Kept {
    /// Reads it. A proxy whose archive has everything, and that knows what is killed, is ready at once, with or without a
    /// control plane.
    pub(super) fn read(
        config: &Config,
        kills: &Kills,
        (own_clock, clock): (&Arc<dyn Clock>, &Arc<dyn Clock>),
        entropy: &Arc<dyn Entropy>,
    ) -> Self {
        let proxy = control::enrolled_as(&config.state_dir).unwrap_or_else(|error| {
            tracing::error!(error.code = error.code().slug(), "{error}");
            None
        });
        let key_file = config.archive_key_file.as_deref();
        let archive = Archive::new(&config.state_dir, key_file, Arc::clone(clock), Arc::clone(entropy));
        let bases: Arc<dyn Bases> =
            if archive.is_usable() { archive.clone() } else { Arc::<InMemory>::default() };
        let snapshots = Arc::new(Snapshots::with_bases(Arc::clone(clock), bases));
        let ready = Arc::new(Readiness::new(Arc::clone(own_clock), config.max_stale));
        let kept = Self { proxy, archive, snapshots, ready };
        match proxy {
            Some(proxy) => kept.restore(proxy, kills, &**clock),
            None => kills.doubt(),
        }
        kept
    }

    fn restore(&self, proxy: ProxyId, kills: &Kills, clock: &dyn Clock) {
        let started = clock.monotonic();
        let (loaded, prepared) = self.archive.load(proxy, |replace| self.snapshots.prepare(replace));
        self.snapshots.install(prepared);
        self.ready.restore(loaded.confirmed, loaded.age);
        let took_ms = clock.monotonic().since(started).as_millis() as u64;
        // An older kill set than was kept has been put back, or nothing is left that would tell: what it lacks must not be served,
        // neither now nor once there is configuration, until a control plane has said what is killed.
        let proven = loaded.kill_epoch.is_some_and(|least| kills.epoch() >= least);
        if !proven {
            kills.doubt();
        }
        let kills_known = *kills.known().borrow();
        if loaded.complete && kills_known {
            self.ready.set();
            tracing::warn!(
                tenants = loaded.tenants,
                age_seconds = self.ready.age_secs(),
                took_ms,
                "serving configuration kept on disk until a control plane confirms it"
            );
        } else {
            tracing::info!(
                tenants = loaded.tenants,
                missing = loaded.missing,
                kills.known = kills_known,
                took_ms,
                "configuration kept on disk is not whole; not ready without a control plane"
            );
        }
    }
}

/// Names the spool's records by whoever the proxy is, and uploads them once it is known.
pub(super) async fn identify(control: Control, spool: Arc<Spool>) {
    let mut identity = control.identity();
    let mut uploading = false;
    loop {
        let enrolled = identity.borrow_and_update().as_ref().map(|enrolled| enrolled.proxy_id);
        if let Some(proxy) = enrolled {
            spool.set_proxy(proxy);
            if !std::mem::replace(&mut uploading, true) {
                control.start_upload(Arc::clone(&spool));
            }
        }
        if identity.changed().await.is_err() {
            return;
        }
    }
}

/// Ready when the whole configuration is there, never on part of it, nor without knowing what is killed; and keeps its age.
/// Ends with the control tasks.
pub(super) fn become_ready(
    ready: Arc<Readiness>,
    control: Control,
    archive: Arc<Archive>,
    kills: &Arc<Kills>,
) -> impl Future<Output = ()> + use<> {
    follow(ready, control.ready(), Arc::clone(kills), archive)
}

async fn follow(
    ready: Arc<Readiness>,
    mut whole: watch::Receiver<bool>,
    kills: Arc<Kills>,
    archive: Arc<Archive>,
) {
    let mut known = kills.known();
    if *whole.borrow() {
        whole.mark_changed();
    }
    let mut look = tokio::time::interval(LOOK_EVERY);
    // What came by this run's stream is known on disk to be all there is.
    let mut complete = false;
    loop {
        tokio::select! {
            _ = look.tick() => {
                ready.look();
                keep_age(&ready, &archive);
                archive.note_kills(kills.epoch());
            }
            changed = whole.changed() => {
                if changed.is_err() {
                    return;
                }
                complete = false;
                if !*whole.borrow() {
                    ready.unset();
                }
            }
            changed = known.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        let may_serve = *whole.borrow() && *known.borrow();
        if may_serve && !complete {
            complete = true;
            // Together: what is whole on disk has an age there, and an epoch of the kill set, without which the next start would
            // believe a set that this one does not.
            keep_age(&ready, &archive);
            archive.note_kills(kills.epoch());
            archive.complete();
        }
        if may_serve && !ready.is_whole() {
            ready.set();
            tracing::info!("proxy is ready");
        }
    }
}

fn keep_age(ready: &Readiness, archive: &Archive) {
    if let Some((confirmed, age)) = ready.known() {
        archive.confirm(confirmed, age);
    }
}

#[cfg(test)]
mod tests;
