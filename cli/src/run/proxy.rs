//! `portcullis proxy`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use data_plane::{
    app::Proxy,
    config::{Bounds, Config, MAX_STALE},
    control,
};
use seams::{SystemClock, SystemEntropy};
use secrecy::SecretString;
use url::Url;

use super::{front::FrontOptions, logs::LogOptions, read_secret, redis_address, tls::TlsOptions};

/// A proxy. Every option can be given in the environment.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where callers connect
    #[arg(long, env = "PORTCULLIS_LISTEN", default_value = "127.0.0.1:7420")]
    listen: SocketAddr,
    /// Health and metrics
    #[arg(long, env = "PORTCULLIS_ADMIN_LISTEN", default_value = "127.0.0.1:7421")]
    admin_listen: SocketAddr,
    /// Threads that serve calls; one for each core when absent
    #[arg(long, env = "PORTCULLIS_WORKERS", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    #[command(flatten)]
    tls: TlsOptions,
    #[command(flatten)]
    front: FrontOptions,
    /// Where identity, audit spool and last configuration are kept; must survive restarts
    #[arg(long, env = "PORTCULLIS_STATE_DIR")]
    state_dir: PathBuf,
    /// File with the key under which the last configuration is kept; made when missing. Default: `archive.key` in the state
    /// directory. In production mount it from elsewhere, so that no copy of that directory has both
    #[arg(long, env = "PORTCULLIS_ARCHIVE_KEY_FILE")]
    archive_key_file: Option<PathBuf>,
    /// Longest time in seconds that configuration is served which no control plane confirms; tenants may want less
    #[arg(long, env = "PORTCULLIS_MAX_STALE_SECONDS", default_value_t = MAX_STALE.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=365 * 24 * 3600))]
    max_stale_seconds: u64,
    /// Bytes of audit records that may wait on disk for a control plane, about 1 KiB a call; a call that would need more
    /// is refused
    #[arg(long, env = "PORTCULLIS_SPOOL_BYTES", default_value_t = Bounds::default().spool_bytes)]
    spool_bytes: u64,
    /// Of these, of one tenant
    #[arg(long, env = "PORTCULLIS_SPOOL_TENANT_BYTES", default_value_t = Bounds::default().spool_tenant_bytes)]
    spool_tenant_bytes: u64,
    /// File with the public half of the key that signs offline kill orders; without it none is followed
    #[arg(long, env = "PORTCULLIS_KILL_ORDER_KEY_FILE")]
    kill_order_key_file: Option<PathBuf>,
    /// `Host` value under which callers reach the gateway; repeatable
    #[arg(long = "gateway-host", env = "PORTCULLIS_GATEWAY_HOSTS", value_delimiter = ',')]
    gateway_hosts: Vec<String>,
    /// Where the control plane enrols proxies
    #[arg(long, env = "PORTCULLIS_ENROL_URL")]
    enrol_url: Url,
    /// Where the control plane serves enrolled proxies
    #[arg(long, env = "PORTCULLIS_STREAMS_URL")]
    streams_url: Url,
    /// File with a join token; needed until the proxy has an identity
    #[arg(long, env = "PORTCULLIS_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// Redis through which proxies count together; without one each counts for itself. One server: redis://…; a master
    /// behind sentinels: redis+sentinel://[user:password@]host,host,host/master[?sentinel_password=…]; a cluster:
    /// redis+cluster://host,host; with rediss, over TLS
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<SecretString>,
    /// PEM file with the CA of a Redis reached by rediss://
    #[arg(long, env = "REDIS_CA_FILE", requires = "redis_url")]
    redis_ca_file: Option<PathBuf>,
    #[command(flatten)]
    logs: LogOptions,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let _telemetry = options.logs.start("portcullis-proxy")?;
    let workers = match options.workers {
        Some(workers) => usize::from(workers),
        None => std::thread::available_parallelism().context("count the cores")?.get(),
    };
    let kill_order_key = options.kill_order_key_file.as_deref().map(read_public_key).transpose()?;
    let config = Config {
        listen: options.listen,
        admin_listen: options.admin_listen,
        workers,
        tls: options.tls.tls()?,
        front: options.front.front()?,
        state_dir: options.state_dir,
        archive_key_file: options.archive_key_file,
        max_stale: Duration::from_secs(options.max_stale_seconds),
        kill_order_key,
        gateway_hosts: options.gateway_hosts,
        control: control::Config {
            enrol_url: options.enrol_url,
            grpc_url: options.streams_url,
            join_token: options.join_token_file.as_deref().map(read_secret).transpose()?,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        },
        redis: redis_address(options.redis_url, options.redis_ca_file.as_deref())?,
        bounds: Bounds {
            spool_bytes: options.spool_bytes,
            spool_tenant_bytes: options.spool_tenant_bytes,
            ..Bounds::default()
        },
        trace_calls: options.logs.traces(),
    };
    let running =
        tokio::task::spawn_blocking(|| Proxy::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)))
            .await
            .context("start the proxy")??;
    super::asked_to_stop().await?;
    running.drain().await;
    running.shutdown().await;
    Ok(())
}

fn read_public_key(path: &std::path::Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    crypto::signature::public_from_file(&text).with_context(|| format!("read {}", path.display()))
}
