//! The proxy's connection to the control plane: who it is, what it enforces, what it reports.
//!
//! The proxy dials; nothing here is needed to serve a call. Every part begins anew by itself when the control plane was
//! away, with full jitter, so that a fleet does not come back all at once.
//!
//! | part | what |
//! |---|---|
//! | [`identity`], [`enrol`] | the certificate: joining, renewing, keeping it |
//! | [`config`] | the configuration stream: drives `wire::stream::client` |
//! | [`kill`] | what must stop at once |
//! | [`commands`], [`report`] | discovery on demand, and what was found |
//! | [`audit`] | the spool's way to the control plane |

mod audit;
mod backoff;
mod channel;
mod clock;
mod commands;
mod config;
mod enrol;
mod error;
mod identity;
mod kill;
pub mod report;
mod tls;

use std::{path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use ids::ProxyId;
use seams::{Clock, Entropy, Timestamp};
use secrecy::SecretString;
use tokio::sync::watch;
use tonic::transport::Channel;
use url::Url;
use wire::v1;

pub(crate) use clock::ServerClock;
pub use error::ControlError;

use crate::{
    audit::spool::Spool,
    kills::Kills,
    ready::Readiness,
    snapshot::{
        archive::Archive,
        index::{TenantIndex, UpstreamIndex},
        store::Snapshots,
    },
    tally::Tallies,
    tasks::Tasks,
};

/// How to reach the control plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where proxies join: `https://host:port`.
    pub enrol_url: Url,
    /// Where enrolled proxies connect: `https://host:port`.
    pub grpc_url: Url,
    /// Needed until the proxy has joined once.
    pub join_token: Option<SecretString>,
    /// Version of this build, shown to operators.
    pub build: String,
}

/// Which proxy the identity in `state_dir` is of; `None` before it has joined.
///
/// # Errors
/// The file is there and cannot be used.
pub fn enrolled_as(state_dir: &std::path::Path) -> Result<Option<ProxyId>, ControlError> {
    Ok(identity::Identity::load(state_dir)?.map(|identity| identity.proxy))
}

/// What the connection is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    /// Holds the identity file.
    pub(crate) state_dir: PathBuf,
    /// Names this run of the process.
    pub(crate) boot: [u8; 16],
    pub(crate) snapshots: Arc<Snapshots>,
    /// Is told whose configuration it keeps.
    pub(crate) archive: Arc<Archive>,
    /// Is told when what is in force is confirmed.
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) kills: Arc<Kills>,
    pub(crate) discoverer: Arc<dyn Discoverer>,
    /// What is answered; beats say it.
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) tasks: Tasks,
    /// Set right by what the control plane says.
    pub(crate) clock: Arc<ServerClock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Asks an upstream what it offers.
pub trait Discoverer: Send + Sync {
    /// Tools, or the code of what went wrong. Ids of tenant and upstream are filled in.
    fn discover(
        &self,
        tenant: Arc<TenantIndex>,
        upstream: Arc<UpstreamIndex>,
    ) -> BoxFuture<'_, v1::CatalogueReport>;
}

/// Who this proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Given when it joined.
    pub proxy_id: ProxyId,
    /// The pool whose tenants it serves.
    pub pool: String,
    /// End of the present certificate.
    pub not_after: Timestamp,
}

/// What the parts work with.
#[derive(Clone)]
struct Shared {
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Connection with the present certificate; `None` before there is one, another after each renewal.
    channel: watch::Receiver<Option<Channel>>,
}

/// The running connection.
#[derive(Clone)]
pub struct Control {
    shared: Shared,
    identity: watch::Receiver<Option<Enrolled>>,
    ready: watch::Receiver<bool>,
    connected: watch::Receiver<bool>,
    live_proxies: watch::Receiver<u32>,
    reporter: report::Reporter,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("identity", &*self.identity.borrow()).finish_non_exhaustive()
    }
}

/// Starts everything but the upload of audit records, which needs the spool ([`Control::start_upload`]).
pub(crate) fn start(parts: Parts) -> Control {
    let Parts {
        config,
        state_dir,
        boot,
        snapshots,
        archive,
        readiness,
        kills,
        discoverer,
        tallies,
        tasks,
        clock,
        entropy,
    } = parts;
    let (identity_sender, identity) = watch::channel(None);
    let (channel_sender, channel) = watch::channel(None);
    let (ready_sender, ready) = watch::channel(false);
    let (connected_sender, connected) = watch::channel(false);
    // Until it is told otherwise a proxy is alone.
    let (live_sender, live_proxies) = watch::channel(1);
    let server_clock = clock.clone();
    let (told_sender, told) = watch::channel(None);
    let shared = Shared { tasks: tasks.clone(), clock, entropy, channel };
    let (reporter, reports) = report::Reporter::new();

    let build = config.build.clone();
    let keeper = identity::Keeper {
        config,
        state_dir,
        archive: Arc::clone(&archive),
        shared: shared.clone(),
        identity: identity_sender,
        channel: channel_sender,
        told,
    };
    tasks.spawn("identity", keeper.run());
    tasks.spawn("kill stream", kill::run(shared.clone(), kills));
    tasks.spawn("reports", report::run(shared.clone(), reports));
    let watching =
        commands::run(shared.clone(), boot, snapshots.clone(), discoverer, reporter.clone(), told_sender);
    tasks.spawn("commands", watching);
    let says = config::Says {
        ready: ready_sender,
        connected: connected_sender,
        live_proxies: live_sender,
        readiness,
        archive,
        tallies,
    };
    let driver = config::Driver::new(shared.clone(), server_clock, boot, build, snapshots, says);
    tasks.spawn("configuration", driver.run());
    Control { shared, identity, ready, connected, live_proxies, reporter }
}

impl Control {
    /// True from the moment everything that existed is applied; false again when there is nothing to serve any more.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Whether the configuration stream is up.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// How many proxies of the pool live, this one included, as the control plane last said; 1 before it has.
    #[must_use]
    pub fn live_proxies(&self) -> watch::Receiver<u32> {
        self.live_proxies.clone()
    }

    /// `None` until the proxy has joined.
    #[must_use]
    pub fn identity(&self) -> watch::Receiver<Option<Enrolled>> {
        self.identity.clone()
    }

    /// For changes noticed in passing.
    #[must_use]
    pub fn reporter(&self) -> report::Reporter {
        self.reporter.clone()
    }

    /// Uploads what is in the spool from now on. Once.
    pub(crate) fn start_upload(&self, spool: Arc<Spool>) {
        self.shared.tasks.spawn("audit upload", audit::run(self.shared.clone(), spool));
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
