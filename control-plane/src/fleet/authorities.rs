//! The authorities of the fleet: one, or two while one takes the place of the other.
//!
//! A rotation, during which no connection fails: (1) the new one is made and trusted by every replica; (2) some seconds later
//! it issues, and proxies are told; each renews at once, and from then on trusts both and has a certificate of the new
//! one; (3) when every proxy has, the old one is retired, and nobody trusts it any more. A proxy that is away during
//! (1) and (2) knows only the old one. It is shown a certificate of that: each replica has one of each authority and shows a
//! client the one it can verify ([`super::tls`]).

pub(super) mod queries;

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, server::danger::ClientCertVerifier};
use seams::Timestamp;
use tokio::sync::watch;

use super::{
    FleetError,
    ca::{Authority, make},
    tls::proxy_verifier,
};
use crate::{app::Core, publish::hub::Hub};

/// Those that are trusted at one moment, oldest first. There always is one.
pub(super) struct Authorities {
    list: Vec<Authority>,
    issuing: usize,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    /// Of the newest whose time to issue has come.
    pub(super) fn new(list: Vec<Authority>, now: Timestamp) -> Result<Self, FleetError> {
        let verifier = proxy_verifier(list.iter().map(Authority::certificate))?;
        let issuing = list.iter().rposition(|each| each.issues_from <= now).unwrap_or(0);
        Ok(Self { list, issuing, verifier })
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Authority> {
        self.list.iter()
    }

    /// The one that signs.
    pub(super) fn issuing(&self) -> &Authority {
        &self.list[self.issuing]
    }

    /// What proxies are to trust.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.list.iter().map(Authority::certificate)
    }

    /// Says whether a certificate is a proxy's of this fleet.
    pub(super) fn verifier(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.verifier
    }

    fn same(&self, other: &Self) -> bool {
        let ids = |each: &Self| each.list.iter().map(|authority| authority.id).collect::<Vec<_>>();
        self.issuing == other.issuing && ids(self) == ids(other)
    }
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities")
            .field("list", &self.list)
            .field("issuing", &self.issuing)
            .finish_non_exhaustive()
    }
}

/// The stored ones; makes the first if there is none.
pub(super) async fn load(core: &Core) -> Result<Authorities, FleetError> {
    let kek = core.secrets.kek();
    let mut rows = queries::authorities(&mut core.store.operator().await?).await?;
    if rows.is_empty() {
        let made = make(kek, core.clock.now(), &*core.entropy)?;
        let mut tx = core.store.operator().await?;
        // Replicas that start together make one each and store one.
        if queries::authorities_locked(&mut tx).await?.is_empty() {
            queries::insert_authority(&mut tx, &made).await?;
        }
        rows = queries::authorities(&mut tx).await?;
        tx.commit().await?;
    }
    let list = rows.iter().map(|row| Authority::open(kek, row)).collect::<Result<_, _>>()?;
    Authorities::new(list, core.clock.now())
}

/// The authorities as they are now, for as long as this replica runs.
pub(super) async fn follow(
    core: &Core,
    hub: &Arc<Hub>,
) -> Result<watch::Receiver<Arc<Authorities>>, FleetError> {
    let (sender, receiver) = watch::channel(Arc::new(load(core).await?));
    let (core, mut polls) = (core.clone(), hub.polls());
    let stopping = core.tasks.stopping();
    core.tasks.clone().spawn("authorities", async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = polls.changed() => if changed.is_err() {
                    return;
                },
            }
            match load(&core).await {
                Ok(now) => {
                    sender.send_if_modified(|known| {
                        let changed = !known.same(&now);
                        if changed {
                            tracing::info!(authorities = ?now, "authorities of the fleet have changed");
                            *known = Arc::new(now);
                        }
                        changed
                    });
                }
                // The hub says when the database cannot be read.
                Err(FleetError::Store(_)) => {}
                Err(error) => {
                    tracing::error!(error.cause = %error, "authorities of the fleet cannot be read")
                }
            }
        }
    });
    Ok(receiver)
}
