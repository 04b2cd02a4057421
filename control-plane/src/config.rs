//! What the control plane is told when it starts.

use std::{net::SocketAddr, path::PathBuf};

use crypto::Zeroizing;
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
    /// Connections per kind of work.
    pub pools: PoolSizes,
    /// REST API. Port 0 picks one.
    pub api_listen: SocketAddr,
    /// Where proxies enrol: server TLS only.
    pub enrol_listen: SocketAddr,
    /// Where enrolled proxies connect: mutual TLS.
    pub grpc_listen: SocketAddr,
    /// Health and metrics.
    pub admin_listen: SocketAddr,
    /// Certificate of the REST API. Without one it listens on loopback only.
    pub api_tls: Option<TlsFiles>,
    /// Contents of the master key file.
    pub master_key: MasterKeyFile,
    /// An operator token that is to exist; its hash is stored at start.
    pub operator_token: Option<SecretString>,
    /// A directory of this replica's own, where kills without rows are kept; `None`: only in memory.
    pub state_dir: Option<PathBuf>,
    /// Origins as the outside sees them.
    pub urls: PublicUrls,
}

/// PEM files: certificate chain, leaf first, and PKCS #8 key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
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

/// Contents of the master key file. Shows nothing in `Debug`.
pub struct MasterKeyFile(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for MasterKeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKeyFile(…)")
    }
}
