//! What the control plane is told when it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crypto::Zeroizing;
use egress::Networks;
use limits::Rate;
use listen::{files::Tls, front::Front};
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use url::Url;

use crate::db::PoolSizes;

/// Configuration of one control-plane replica.
#[derive(Debug)]
pub struct Config {
    /// Postgres. A pooler in transaction mode works for everything but LISTEN, whose loss only costs latency.
    pub database_url: SecretString,
    /// Redis, through which proxies count together; `None` where each counts for itself.
    pub redis: Option<redis_link::Address>,
    /// Whether replicas are woken by notifications. Without, changes wait for the next poll, as they do behind a pooler that
    /// passes none on.
    pub notified: bool,
    /// Connections per kind of work.
    pub pools: PoolSizes,
    /// REST API. Port 0 picks one.
    pub api_listen: SocketAddr,
    /// Tenants' authorization servers. Port 0 picks one.
    pub auth_listen: SocketAddr,
    /// Where proxies enrol: server TLS only.
    pub enrol_listen: SocketAddr,
    /// Where enrolled proxies connect: mutual TLS.
    pub grpc_listen: SocketAddr,
    /// Health and metrics.
    pub admin_listen: SocketAddr,
    /// Certificates of the REST API and the authorization servers, followed while it runs. Without one it listens on loopback only, unless TLS ends at the balancers in front.
    pub api_tls: Option<Tls>,
    /// Load balancers in front of the REST API and the authorization servers; `None`: what they say is not believed.
    pub api_front: Option<Front>,
    /// Contents of the master key file.
    pub master_key: MasterKeyFile,
    /// An operator token that is to exist; its hash is stored at start.
    pub operator_token: Option<SecretString>,
    /// A directory of this replica's own, where kills without rows are kept; `None`: only in memory.
    pub state_dir: Option<PathBuf>,
    /// Whom DNS is asked of, where a tenant proves that a domain is its own, and for names that documents are fetched from; `None`:
    /// whom the system asks.
    pub dns_server: Option<SocketAddr>,
    /// Roots that are trusted beside the public ones where documents are fetched.
    pub fetch_roots: Vec<CertificateDer<'static>>,
    /// Networks from which documents may come, on any port, that strangers name; otherwise port 443 of public addresses.
    pub fetch_networks: Networks,
    /// How much of the admin API may be used.
    pub api_limits: ApiLimits,
    /// Origins as the outside sees them.
    pub urls: PublicUrls,
}

/// Requests to the admin API, by who makes them. Each replica counts for itself.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// One operator token.
    pub operator: Rate,
    /// One admin token.
    pub token: Rate,
    /// All admin tokens of a tenant together.
    pub tenant: Rate,
    /// Kills and lifts of one token, an operator's or not: what would be no use to anybody, and every proxy has to be told.
    pub kills: Rate,
    /// Failed authentications of one address. Guessing is hopeless anyway; this bounds what it costs us.
    pub failures: Rate,
    /// How long the body of a request may take to arrive.
    pub body_time: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            operator: Rate { per_minute: 12_000, burst: 6_000 },
            token: Rate { per_minute: 3_000, burst: 1_500 },
            tenant: Rate { per_minute: 6_000, burst: 3_000 },
            kills: Rate { per_minute: 600, burst: 1_200 },
            failures: Rate { per_minute: 600, burst: 600 },
            body_time: Duration::from_secs(20),
        }
    }
}

/// The three origins.
#[derive(Debug, Clone)]
pub struct PublicUrls {
    /// REST API and console.
    pub control: Url,
    /// OAuth authorization servers.
    pub auth: Url,
    /// Endpoints.
    pub gateway: Url,
}

impl PublicUrls {
    /// What of them stands in snapshots.
    pub(crate) fn published(&self) -> String {
        format!("{} {}", self.auth, self.gateway)
    }
}

/// Contents of the master key file. Shows nothing in `Debug`.
pub struct MasterKeyFile(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for MasterKeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKeyFile(…)")
    }
}
