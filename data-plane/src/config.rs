//! What a proxy is told when it starts. Everything else comes from the control plane.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use limits::Rate;
use listen::{files::Tls, front::Front};

/// Configuration of one proxy process.
#[derive(Debug)]
pub struct Config {
    /// Where callers connect. Without `tls` it must be a loopback address, or TLS end at the load balancers in `front`.
    pub listen: SocketAddr,
    /// Where health checks and metrics are served: plain HTTP, for the machine or the cluster only.
    pub admin_listen: SocketAddr,
    /// Threads that serve calls, at least 1; one for each core is right.
    pub workers: usize,
    /// Certificates of the gateway listener, followed while it runs.
    pub tls: Option<Tls>,
    /// Load balancers through which callers come; `None`: what they say is not believed.
    pub front: Option<Front>,
    /// Where identity, audit spool and the last configuration are kept; survives restarts.
    pub state_dir: PathBuf,
    /// File with the key under which the configuration is kept; made when missing. `None`: `archive.key` in `state_dir`, which
    /// is good enough where nobody copies that directory; in production it is mounted from elsewhere.
    pub archive_key_file: Option<PathBuf>,
    /// How long configuration that no control plane confirms is served.
    pub max_stale: Duration,
    /// Public half of the operator's offline key, by which kill orders are checked; without it none is followed.
    pub kill_order_key: Option<[u8; 32]>,
    /// `Host` values under which callers reach the gateway, lower case, with port where it is not the default. Endpoints
    /// may have more of their own.
    pub gateway_hosts: Vec<String>,
    /// How to reach the control plane.
    pub control: crate::control::Config,
    /// Redis, through which proxies count together; without one each counts for itself.
    pub redis: Option<redis_link::Address>,
    /// Whether each call gets a span: only of use where spans are exported.
    pub trace_calls: bool,
    /// Bounds.
    pub bounds: Bounds,
}

/// [`Config::max_stale`] where nothing else is wanted.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// Bounds on what a caller may make the proxy hold or wait for.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of all header names and values of a request together, its target included.
    pub header_bytes: usize,
    /// From a connection's last response, or its start, to the last byte of the next request's head.
    pub header_timeout: Duration,
    /// From a head's last byte to the body's last byte.
    pub body_timeout: Duration,
    /// Bytes of request bodies of one client that are held at once, from their first byte until the upstream answers.
    pub client_body_bytes: u32,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS handshakes of one worker at once; for one more, the oldest is given up.
    pub handshakes: usize,
    /// An answer of which the caller takes nothing for so long is given up, with its connection.
    pub unread_timeout: Duration,
    /// Open connections of one worker; more are closed at once.
    pub connections: usize,
    /// Of these, of one IPv4 address or IPv6 network of 64 bits; more are closed at once.
    pub connections_per_address: u32,
    /// Failed authentications and anonymous answers of one address.
    pub address: Rate,
    /// How long a drain may take before what still runs is cut.
    pub drain_timeout: Duration,
    /// A draining worker closes its socket when no connection has come for so long,
    pub drain_quiet: Duration,
    /// or, where they keep coming, after so long.
    pub drain_accept: Duration,
    /// Bytes of audit records on disk that no control plane has acknowledged; a call that would need more is refused.
    pub spool_bytes: u64,
    /// Of these, of one tenant.
    pub spool_tenant_bytes: u64,
}

/// What [`Bounds::spool_bytes`] is at least: a few segments.
pub const LEAST_SPOOL_BYTES: u64 = 64 << 20;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            headers: 96,
            header_bytes: 32 * 1024,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            client_body_bytes: 64 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            handshakes: 1024,
            unread_timeout: listen::http::UNREAD,
            connections: 16 * 1024,
            connections_per_address: 1024,
            address: Rate { per_minute: 300, burst: 300 },
            drain_timeout: Duration::from_secs(30),
            drain_quiet: Duration::from_millis(500),
            drain_accept: Duration::from_secs(5),
            // About 1 KiB a call: an hour without a control plane at 1,000 calls a second.
            spool_bytes: 4 << 30,
            spool_tenant_bytes: 1 << 30,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Callers would send their keys over plain HTTP.
    #[error(
        "without TLS the gateway listens on loopback addresses only: give it a certificate, listen on 127.0.0.1, or declare the load balancers at which TLS ends"
    )]
    PlainHttp,
    /// Nobody would serve calls.
    #[error("at least one worker is needed")]
    NoWorkers,
    /// Calls would be refused for want of room, or one tenant could fill all of it.
    #[error("the audit spool needs 64 MiB or more, of which one tenant may have a part, and not all")]
    Spool,
}

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let encrypted = self.tls.is_some() || self.front.as_ref().is_some_and(Front::ends_tls);
        if !encrypted && !self.listen.ip().to_canonical().is_loopback() {
            return Err(ConfigError::PlainHttp);
        }
        if self.workers == 0 {
            return Err(ConfigError::NoWorkers);
        }
        let Bounds { spool_bytes, spool_tenant_bytes, .. } = self.bounds;
        if spool_bytes < LEAST_SPOOL_BYTES || !(1..spool_bytes).contains(&spool_tenant_bytes) {
            return Err(ConfigError::Spool);
        }
        Ok(())
    }
}
