//! Both planes in one process, on free ports, with a database of their own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use crypto::{FileKek, key};
use data_plane::{
    app::{Proxy, Running as RunningProxy},
    config::{Bounds, Config as ProxyConfig, MAX_STALE},
    control,
};
use listen::files::Tls;
use portcullis_cli::{rest::Rest, up::demo};
use seams::{Entropy, SystemEntropy};
use secrecy::SecretString;

use crate::{
    clock::SetClock,
    control::{Settings, ShiftedClock, start_control},
    dns::Dns,
    orders,
    redis::patient_address,
    servers::Servers,
    tenant::Tenant,
    values::{eventually, https},
};

/// Installs the TLS provider, as `main` does for the binary.
pub fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap());
}

/// A control plane and its proxies.
pub struct Gateway {
    /// Admin API.
    pub control_url: String,
    /// Authorization servers: where they listen. Their origin is another name, as behind a load balancer.
    pub auth_url: String,
    /// URL of the database, as the control plane uses it.
    pub database_url: String,
    /// An operator's client of the admin API.
    pub operator: Rest,
    /// The proxies.
    pub proxies: Vec<RunningProxy>,
    /// Their clock.
    pub clock: Arc<SetClock>,
    /// What proxies that are started from now on speak.
    pub tls: Option<Tls>,
    /// Whom the control plane asks for what DNS says.
    pub dns: Dns,
    control: Option<control_plane::app::Running>,
    settings: Settings,
    dir: tempfile::TempDir,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("control_url", &self.control_url).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A control plane and one proxy.
    pub async fn start() -> Self {
        Self::with_proxies(1).await
    }

    /// A control plane and so many proxies.
    pub async fn with_proxies(count: usize) -> Self {
        Self::with_redis(count, None).await
    }

    /// A control plane and so many proxies, which count through a Redis.
    pub async fn with_redis(count: usize, redis: Option<&str>) -> Self {
        install_tls_provider();
        let entropy: &dyn Entropy = &SystemEntropy;
        let database_url = Servers::of_this_run().new_database().await;
        let master_key = FileKek::generate_file(entropy).to_vec();
        let operator_token = key::mint(key::KeyKind::OperatorToken, entropy).text;
        let redis = redis.map(patient_address);
        let dns = Dns::start().await;
        let settings = Settings::new(master_key, operator_token, redis, dns.address());
        Self::on(database_url, settings, count, dns).await
    }

    /// Another control plane of the same installation: the same database and master key, no proxies yet.
    pub async fn replica(&self) -> Self {
        Self::on(self.database_url.clone(), self.settings.anew(), 0, self.dns.clone()).await
    }

    /// As [`Self::replica`], but one that hears no notifications.
    pub async fn deaf_replica(&self) -> Self {
        let settings = Settings { notified: false, ..self.settings.anew() };
        Self::on(self.database_url.clone(), settings, 0, self.dns.clone()).await
    }

    async fn on(database_url: String, mut settings: Settings, count: usize, dns: Dns) -> Self {
        let dir = tempfile::tempdir().unwrap();
        settings.state_dir = dir.path().join("control");
        let control = start_control(&settings, &database_url).await.unwrap();
        (settings.api, settings.enrol, settings.streams) =
            (control.api_addr, control.enrol_addr, control.grpc_addr);
        settings.auth = control.auth_addr;
        let auth_url = format!("http://{}", control.auth_addr);
        let control_url = format!("http://{}", control.api_addr);
        let operator = Rest::new(&control_url, settings.operator_token.clone(), None).unwrap();
        let mut gateway = Self {
            control_url,
            auth_url,
            database_url,
            operator,
            proxies: Vec::new(),
            clock: Arc::default(),
            tls: None,
            dns,
            control: Some(control),
            settings,
            dir,
        };
        for _ in 0..count {
            gateway.add_proxy().await;
        }
        gateway
    }

    /// Enrols and starts one more proxy, and waits until it is ready.
    pub async fn add_proxy(&mut self) {
        let token = demo::join_token(&self.operator).await.unwrap();
        let state = self.state_dir(self.proxies.len());
        let proxy = self.start_proxy(state, Some(token)).await;
        self.proxies.push(proxy);
    }

    /// Where proxy `index` keeps its identity and its spool.
    #[must_use]
    pub fn state_dir(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("proxy-{index}"))
    }

    async fn start_proxy(&self, state_dir: PathBuf, join_token: Option<SecretString>) -> RunningProxy {
        let proxy = self.launch(state_dir, join_token).await;
        let url = format!("http://{}/readyz", proxy.admin_addr());
        eventually("the proxy is ready", async || {
            reqwest::get(&url).await.is_ok_and(|response| response.status().is_success())
        })
        .await;
        proxy
    }

    /// Starts proxy `index` from the state it left, whether or not it can become ready.
    pub async fn start_unready(&self, index: usize) -> RunningProxy {
        self.launch(self.state_dir(index), None).await
    }

    async fn launch(&self, state_dir: PathBuf, join_token: Option<SecretString>) -> RunningProxy {
        portcullis_cli::files::private_dir(&state_dir).unwrap();
        let config = ProxyConfig {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            workers: 2,
            tls: self.tls.clone(),
            front: None,
            state_dir,
            archive_key_file: None,
            max_stale: MAX_STALE,
            kill_order_key: Some(orders::key().public()),
            gateway_hosts: Vec::new(),
            control: control::Config {
                enrol_url: https(self.settings.enrol),
                grpc_url: https(self.settings.streams),
                join_token,
                build: "test".to_owned(),
            },
            redis: self.settings.redis.clone(),
            bounds: Bounds::default(),
            trace_calls: false,
        };
        let clock = self.clock.clone();
        let start = || Proxy::start(config, clock, Arc::new(SystemEntropy));
        tokio::task::spawn_blocking(start).await.unwrap().unwrap()
    }

    /// Drains proxy `index` and starts it again from the state it left.
    pub async fn restart_proxy(&mut self, index: usize) {
        let proxy = self.proxies.remove(index);
        proxy.shutdown().await;
        self.start_again(index).await;
    }

    /// Starts proxy `index`, which was shut down, from the state it left.
    pub async fn start_again(&mut self, index: usize) {
        let proxy = self.start_proxy(self.state_dir(index), None).await;
        self.proxies.insert(index, proxy);
    }

    /// Stops the control plane.
    pub async fn stop_control(&mut self) {
        if let Some(control) = self.control.take() {
            control.shutdown().await;
        }
    }

    /// Starts the control plane again, on the same ports.
    pub async fn start_control(&mut self) {
        self.control = Some(start_control(&self.settings, &self.database_url).await.unwrap());
    }

    /// Starts the control plane again, and calls the gateway by another port.
    pub async fn start_control_renamed(&mut self, gateway_port: u16) {
        self.settings.gateway_port = gateway_port;
        self.start_control().await;
    }

    /// Starts the control plane where it cannot start.
    pub async fn start_control_in_vain(&self) {
        assert!(start_control(&self.settings, &self.database_url).await.is_err(), "it started");
    }

    /// A new tenant with an admin token for everything.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        let gateway = if self.proxies.is_empty() { String::new() } else { self.url(0) };
        Tenant::make(&self.operator, &gateway, slug).await
    }

    /// What the control plane works with, for what is not asked over HTTP.
    #[must_use]
    pub fn core(&self) -> &control_plane::app::Core {
        self.control.as_ref().unwrap().core()
    }

    /// The wall clock of the control plane.
    #[must_use]
    pub fn control_clock(&self) -> &ShiftedClock {
        &self.settings.clock
    }

    /// Where the control plane keeps what it could not store.
    #[must_use]
    pub fn control_state_dir(&self) -> &Path {
        &self.settings.state_dir
    }

    /// The master key of the installation.
    pub fn master_key(&self) -> FileKek {
        FileKek::from_bytes(&self.settings.master_key).unwrap()
    }

    /// An operator's token.
    #[must_use]
    pub fn operator_token(&self) -> &SecretString {
        &self.settings.operator_token
    }

    /// Where proxies join.
    #[must_use]
    pub fn enrol_addr(&self) -> SocketAddr {
        self.settings.enrol
    }

    /// Where enrolled proxies connect.
    #[must_use]
    pub fn streams_addr(&self) -> SocketAddr {
        self.settings.streams
    }

    /// The gateway listener of proxy `index`.
    #[must_use]
    pub fn url(&self, index: usize) -> String {
        format!("http://{}", self.proxies[index].gateway_addr())
    }
}
