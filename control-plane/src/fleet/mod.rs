//! Proxies: how they join, how they are told what to enforce, what they report.
//!
//! Two ports. [`enrol`] answers on one with server TLS alone, because a proxy that joins has no certificate yet;
//! everything else is on the other, where every connection shows a certificate of the fleet's own CA ([`ca`], [`authorities`]). Who a
//! stream belongs to comes from that certificate and from nothing in a message ([`peer`]).

mod authorities;
pub mod ca;
mod catalogue;
pub mod commands;
mod config;
mod enrol;
mod error;
mod global;
mod kill;
mod peer;
mod place;
mod progress;
mod queries;
mod report;
mod revocations;
pub mod server;
mod tls;

use std::collections::HashMap;

use ids::{PoolId, TenantId};
use seams::Timestamp;
use wire::stream::Version;

use crate::{
    db::{Store, StoreError},
    global::Aims,
};
pub use error::FleetError;
pub(crate) use peer::{Peer, Peers};
pub use revocations::Revocations;

/// What every replica looks at again and again.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Where every tenant is served and which revision is current.
    pub(crate) revisions: Vec<(TenantId, PoolId, Version)>,
    /// Live proxies of each pool that has any.
    pub(crate) live: HashMap<PoolId, u32>,
    /// What each proxy is to enforce of the fleet's configuration.
    pub(crate) aims: Aims,
}

/// Reads it, for the hub.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn survey(store: &Store, now: Timestamp) -> Result<Survey, StoreError> {
    let mut tx = store.operator().await?;
    let revisions = queries::revisions(&mut tx).await?;
    let live = queries::live_proxies(&mut tx, now).await?;
    Ok(Survey { revisions, live, aims: crate::global::queries::aims(&mut tx).await? })
}

/// Characters kept of what a proxy calls its build.
const MAX_BUILD: usize = 100;

/// What a proxy calls its build, short and fit for the database.
fn build_name(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_BUILD).collect()
}

#[cfg(test)]
mod tests;
