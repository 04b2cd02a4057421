//! `portcullis control`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use control_plane::{
    app::ControlPlane,
    config::{ApiLimits, Config, MasterKeyFile, PublicUrls},
    db::PoolSizes,
};
use crypto::Zeroizing;
use egress::{Network, Networks};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use seams::{SystemClock, SystemEntropy};
use secrecy::SecretString;
use url::{Host, Url};

use super::{front::FrontOptions, logs::LogOptions, read_secret, redis_address, tls::TlsOptions};

/// A control-plane replica. Every option can be given in the environment.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
    /// Redis through which proxies count together; without one each counts for itself. One server: redis://…; a master
    /// behind sentinels: redis+sentinel://[user:password@]host,host,host/master[?sentinel_password=…]; a cluster:
    /// redis+cluster://host,host; with rediss, over TLS
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<SecretString>,
    /// PEM file with the CA of a Redis reached by rediss://
    #[arg(long, env = "REDIS_CA_FILE", requires = "redis_url")]
    redis_ca_file: Option<PathBuf>,
    /// Listen for no notifications of Postgres: changes wait for the next poll. For measuring that
    #[arg(long, hide = true)]
    poll_only: bool,
    /// REST API
    #[arg(long, env = "PORTCULLIS_LISTEN", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Tenants' authorization servers
    #[arg(long, env = "PORTCULLIS_AUTH_LISTEN", default_value = "127.0.0.1:7401")]
    auth_listen: SocketAddr,
    /// Enrolment of proxies (server TLS)
    #[arg(long, env = "PORTCULLIS_ENROL_LISTEN", default_value = "127.0.0.1:7402")]
    enrol_listen: SocketAddr,
    /// Control streams of proxies (mutual TLS)
    #[arg(long, env = "PORTCULLIS_STREAMS_LISTEN", default_value = "127.0.0.1:7403")]
    streams_listen: SocketAddr,
    /// Health and metrics
    #[arg(long, env = "PORTCULLIS_ADMIN_LISTEN", default_value = "127.0.0.1:7404")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    tls: TlsOptions,
    #[command(flatten)]
    front: FrontOptions,
    /// File with the master key
    #[arg(long, env = "PORTCULLIS_MASTER_KEY_FILE")]
    master_key_file: PathBuf,
    /// File with an operator token that is to exist
    #[arg(long, env = "PORTCULLIS_OPERATOR_TOKEN_FILE")]
    operator_token_file: Option<PathBuf>,
    /// Directory of this replica's own, which survives restarts: kills that were ordered while Postgres was away are kept there
    /// until they are stored. Without it they are in memory alone
    #[arg(long, env = "PORTCULLIS_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// DNS server (address:port) that is asked when a tenant proves that a domain is its own, and for names from which documents
    /// are fetched; without it those that the system asks
    #[arg(long, env = "PORTCULLIS_DNS_SERVER")]
    dns_server: Option<SocketAddr>,
    /// File with certificates (PEM) of authorities that are trusted beside the public ones, where documents of clients and keys
    /// of issuers are fetched
    #[arg(long, env = "PORTCULLIS_FETCH_CA_FILE")]
    fetch_ca_file: Option<PathBuf>,
    /// Networks (CIDR, comma-separated) from which clients' documents and keys may come, on any port, beside port 443 of public
    /// addresses: anybody may name such a document, so anybody can have a GET sent there
    #[arg(long, env = "PORTCULLIS_FETCH_NETWORKS", value_delimiter = ',')]
    fetch_networks: Vec<Network>,
    /// REST API's and console's origin as the outside sees it
    #[arg(long, env = "PORTCULLIS_CONTROL_URL", value_parser = peoples_origin)]
    control_url: Url,
    /// Authorization servers' origin
    #[arg(long, env = "PORTCULLIS_AUTH_URL", value_parser = peoples_origin)]
    auth_url: Url,
    /// Endpoints' origin
    #[arg(long, env = "PORTCULLIS_GATEWAY_URL", value_parser = origin)]
    gateway_url: Url,
    #[command(flatten)]
    logs: LogOptions,
}

/// An origin: what is put behind it is known to whoever compares identifiers and issuers byte by byte.
fn origin(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error: url::ParseError| error.to_string())?;
    let only = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobodys = url.username().is_empty() && url.password().is_none();
    let http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if only && nobodys && http { Ok(url) } else { Err("must be an origin: https://host[:port]".to_owned()) }
}

/// An origin at which people sign in. Their cookies are as safe as it: over plain HTTP, to which browsers would send them in the clear, it
/// is this machine's alone.
fn peoples_origin(text: &str) -> Result<Url, String> {
    let url = origin(text)?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || here {
        Ok(url)
    } else {
        Err("must be https, but on this machine".to_owned())
    }
}

/// The certificates of a file, of which there is at least one.
fn roots(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file).context("read the file of authorities for fetching")?;
    let roots = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let roots = roots.context("the file of authorities for fetching is not PEM")?;
    anyhow::ensure!(!roots.is_empty(), "the file of authorities for fetching holds no certificate");
    Ok(roots)
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let _telemetry = options.logs.start("portcullis-control")?;
    let master_key = std::fs::read(&options.master_key_file).context("read the master key file")?;
    let operator_token = options.operator_token_file.as_deref().map(read_secret).transpose()?;
    let config = Config {
        database_url: options.database_url,
        redis: redis_address(options.redis_url, options.redis_ca_file.as_deref())?,
        notified: !options.poll_only,
        pools: PoolSizes::default(),
        api_listen: options.listen,
        auth_listen: options.auth_listen,
        enrol_listen: options.enrol_listen,
        grpc_listen: options.streams_listen,
        admin_listen: options.admin_listen,
        api_tls: options.tls.tls()?,
        api_front: options.front.front()?,
        master_key: MasterKeyFile(Zeroizing::new(master_key)),
        operator_token,
        state_dir: options.state_dir,
        dns_server: options.dns_server,
        fetch_roots: options.fetch_ca_file.as_deref().map(roots).transpose()?.unwrap_or_default(),
        fetch_networks: Networks::new(options.fetch_networks),
        api_limits: ApiLimits::default(),
        urls: PublicUrls {
            control: options.control_url,
            auth: options.auth_url,
            gateway: options.gateway_url,
        },
    };
    let running = ControlPlane::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    super::asked_to_stop().await?;
    running.shutdown().await;
    Ok(())
}
