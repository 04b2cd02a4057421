//! Proxies: how they join, how they are told what to enforce, what they report.
//!
//! Two ports. [`enrol`] answers on one with server TLS alone, because a proxy that joins has no certificate yet;
//! everything else is on the other, where every connection shows a certificate of the fleet's own CA ([`ca`]). Who a
//! stream belongs to comes from that certificate and from nothing in a message ([`peer`]).

pub mod ca;
mod catalogue;
pub mod commands;
mod config;
mod enrol;
mod error;
mod peer;
mod place;
mod progress;
mod queries;
mod report;
pub mod server;
mod tls;

pub use error::FleetError;
pub(crate) use peer::{Peer, Peers};

/// Where every tenant is served and which revision is current, for the hub.
///
/// # Errors
/// [`StoreError`](crate::db::StoreError).
pub(crate) async fn current_revisions(
    store: &crate::db::Store,
) -> Result<Vec<(ids::TenantId, ids::PoolId, wire::stream::Version)>, crate::db::StoreError> {
    queries::revisions(&mut store.operator().await?).await
}

/// Characters kept of what a proxy calls its build.
const MAX_BUILD: usize = 100;

/// What a proxy calls its build, short and fit for the database.
fn build_name(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_BUILD).collect()
}

#[cfg(test)]
mod tests;
