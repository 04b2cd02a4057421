//! An installation of processes: the planes of the built binary and servers of their own, every one of which a test may
//! stop, kill and start again.

use std::{
    ffi::OsString,
    fmt, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use portcullis_cli::{
    files,
    private::{postgres, redis},
    rest::Rest,
    up::demo,
};
use seams::{Entropy, SystemEntropy};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    gateway::install_tls_provider,
    processes::{Process, free_ports},
    tenant::Tenant,
    values::eventually,
};

/// Ports of a site: ten for each control plane, the front's, Redis', two for each proxy.
const PORTS: u16 = 50;
const FRONT: u16 = 20;
const REDIS: u16 = 29;
const PROXIES: u16 = 30;

/// What a site is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Control planes on one database.
    pub controls: usize,
    /// Proxies.
    pub proxies: usize,
    /// A Redis through which the proxies count together.
    pub redis: bool,
    /// Proxies and operator reach the control planes at the front's ports, where the test has something that passes them
    /// on ([`Site::front`]).
    pub behind_front: bool,
    /// Whether Postgres keeps what it acknowledged when it is killed.
    pub durability: postgres::Durability,
    /// Options for every process of both planes.
    pub options: Vec<(&'static str, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        let durability = postgres::Durability::None;
        Self { controls: 1, proxies: 1, redis: false, behind_front: false, durability, options: Vec::new() }
    }
}

/// The running installation.
pub struct Site {
    plan: Plan,
    base: u16,
    postgres: Option<postgres::Cluster>,
    /// Stays when Postgres is stopped.
    database_url: String,
    redis: Option<redis::Server>,
    /// Stays when Redis is stopped.
    redis_url: Option<String>,
    controls: Vec<Option<Process>>,
    proxies: Vec<Option<Process>>,
    /// An operator's client of the admin API, at the front or at the first control plane.
    pub operator: Rest,
    dir: tempfile::TempDir,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}

impl Site {
    /// Prepares a site and starts its database. Nothing else runs yet.
    #[must_use]
    pub fn prepare(plan: Plan) -> Self {
        install_tls_provider();
        let dir = tempfile::Builder::new().prefix("pcs").tempdir().unwrap();
        // Postgres may run as another account, which has to enter.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let entropy: &dyn Entropy = &SystemEntropy;
        let token = crypto::key::mint(crypto::key::KeyKind::OperatorToken, entropy).text;
        let master_key = crypto::FileKek::generate_file(entropy);
        files::write_private(&dir.path().join("operator"), token.expose_secret().as_bytes()).unwrap();
        files::write_private(&dir.path().join("master"), &master_key).unwrap();
        let base = free_ports(PORTS);
        let api = if plan.behind_front { base + FRONT } else { base };
        let operator = Rest::new(&format!("http://127.0.0.1:{api}"), token, None).unwrap();
        let mut site = Self {
            controls: (0..plan.controls).map(|_| None).collect(),
            proxies: (0..plan.proxies).map(|_| None).collect(),
            plan,
            base,
            postgres: None,
            database_url: String::new(),
            redis: None,
            redis_url: None,
            operator,
            dir,
        };
        site.start_postgres();
        if site.plan.redis {
            site.start_redis();
        }
        site
    }

    /// Prepares a site, starts all of it and waits until it is ready. Not for one with a front.
    pub async fn start(plan: Plan) -> Self {
        let mut site = Self::prepare(plan);
        site.start_planes().await;
        site
    }

    /// Starts all control planes and proxies and waits until they are ready.
    pub async fn start_planes(&mut self) {
        for index in 0..self.controls.len() {
            self.start_control(index);
            self.control_ready(index).await;
        }
        for index in 0..self.proxies.len() {
            self.enrol_proxy(index).await;
        }
    }

    /// Starts Postgres, over the data it left.
    pub fn start_postgres(&mut self) {
        let (data, sockets, password) = (self.path("pg"), self.path("s"), self.path("pg.password"));
        let places = postgres::Places { data: &data, socket_dir: &sockets, password_file: &password };
        let cluster = postgres::Cluster::start(&places, self.plan.durability, &SystemEntropy);
        let cluster = cluster.unwrap();
        self.database_url = cluster.url("postgres");
        self.postgres = Some(cluster);
    }

    /// Stops Postgres: sessions that are open end.
    pub fn stop_postgres(&mut self) {
        self.postgres.take().expect("Postgres runs").stop();
    }

    /// URL of the database the control planes use.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database_url.clone()
    }

    /// Starts Redis, empty, at the same address as before.
    pub fn start_redis(&mut self) {
        let (dir, password) = (self.path("redis"), self.path("redis.password"));
        let server = redis::Server::start(&dir, self.base + REDIS, &password, &SystemEntropy).unwrap();
        self.redis_url = Some(server.url());
        self.redis = Some(server);
    }

    /// Stops Redis, which forgets everything.
    pub fn stop_redis(&mut self) {
        self.redis.take().expect("Redis runs").stop();
    }

    /// Starts a control plane; [`Self::control_ready`] waits for it, which needs Postgres.
    pub fn start_control(&mut self, index: usize) {
        assert!(self.controls[index].is_none(), "control plane {index} runs");
        let ports = self.control_ports(index);
        let mut arguments = Arguments::of("control");
        for (option, port) in
            ["--listen", "--enrol-listen", "--streams-listen", "--admin-listen"].into_iter().zip(ports)
        {
            arguments.pair(option, format!("127.0.0.1:{port}"));
        }
        arguments.pair("--control-url", format!("http://127.0.0.1:{}", ports[0]));
        arguments.pair("--auth-listen", format!("127.0.0.1:{}", ports[3] + 1));
        arguments.pair("--auth-url", "http://127.0.0.1:1");
        arguments.pair("--gateway-url", self.gateway_url(0));
        arguments.pair("--master-key-file", self.path("master"));
        arguments.pair("--operator-token-file", self.path("operator"));
        arguments.pair("--state-dir", self.control_state_dir(index));
        self.of_plan(&mut arguments);
        let log = self.path(&format!("control-{index}.log"));
        let mut environment = self.environment();
        environment.push(("DATABASE_URL", self.database_url()));
        self.controls[index] = Some(Process::start(&arguments.0, &environment, &log));
    }

    /// Takes a control plane's process, to end it.
    pub fn take_control(&mut self, index: usize) -> Process {
        self.controls[index].take().expect("the control plane runs")
    }

    /// The number of a control plane's process, if it runs.
    #[must_use]
    pub fn control_id(&self, index: usize) -> Option<u32> {
        self.controls[index].as_ref().map(Process::id)
    }

    /// Waits until a control plane serves.
    pub async fn control_ready(&mut self, index: usize) {
        let admin = self.control_ports(index)[3];
        let process = self.controls[index].as_mut().expect("the control plane was started");
        ready(process, admin).await;
    }

    /// Starts a proxy that joins with a new token, and waits until it is ready.
    pub async fn enrol_proxy(&mut self, index: usize) {
        let token: SecretString = demo::join_token(&self.operator).await.unwrap();
        files::write_private(&self.join_file(index), token.expose_secret().as_bytes()).unwrap();
        self.start_proxy(index);
        self.proxy_ready(index).await;
        fs::remove_file(self.join_file(index)).unwrap();
    }

    /// Starts a proxy over the state it left; [`Self::proxy_ready`] waits for it.
    pub fn start_proxy(&mut self, index: usize) {
        assert!(self.proxies[index].is_none(), "proxy {index} runs");
        let state = self.state_dir(index);
        files::private_dir(&state).unwrap();
        let [gateway, admin] = self.proxy_ports(index);
        let [_, enrol, streams] = self.front();
        let mut arguments = Arguments::of("proxy");
        arguments.pair("--listen", format!("127.0.0.1:{gateway}"));
        arguments.pair("--admin-listen", format!("127.0.0.1:{admin}"));
        arguments.pair("--workers", "2");
        arguments.pair("--state-dir", state);
        arguments.pair("--enrol-url", format!("https://127.0.0.1:{enrol}"));
        arguments.pair("--streams-url", format!("https://127.0.0.1:{streams}"));
        if self.join_file(index).exists() {
            arguments.pair("--join-token-file", self.join_file(index));
        }
        self.of_plan(&mut arguments);
        let log = self.path(&format!("proxy-{index}.log"));
        self.proxies[index] = Some(Process::start(&arguments.0, &self.environment(), &log));
    }

    /// Takes a proxy's process, to end it.
    pub fn take_proxy(&mut self, index: usize) -> Process {
        self.proxies[index].take().expect("the proxy runs")
    }

    /// Waits until a proxy takes calls.
    pub async fn proxy_ready(&mut self, index: usize) {
        let [_, admin] = self.proxy_ports(index);
        let process = self.proxies[index].as_mut().expect("the proxy was started");
        ready(process, admin).await;
    }

    /// Where a control plane keeps what it could not store.
    #[must_use]
    pub fn control_state_dir(&self, index: usize) -> PathBuf {
        self.path(&format!("control-{index}"))
    }

    /// Where a proxy keeps its identity and its spool.
    #[must_use]
    pub fn state_dir(&self, index: usize) -> PathBuf {
        self.path(&format!("proxy-{index}"))
    }

    /// Where callers reach a proxy.
    #[must_use]
    pub fn gateway_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.proxy_ports(index)[0])
    }

    /// Where health and metrics of a proxy are.
    #[must_use]
    pub fn proxy_admin_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.proxy_ports(index)[1])
    }

    /// Ports at which control planes are reached: API, enrolment, streams. Without a front, the first control plane's own.
    #[must_use]
    pub fn front(&self) -> [u16; 3] {
        let base = if self.plan.behind_front { self.base + FRONT } else { self.base };
        [base, base + 1, base + 2]
    }

    /// A control plane's ports: API, enrolment, streams, admin.
    #[must_use]
    pub fn control_ports(&self, index: usize) -> [u16; 4] {
        let base = self.base + 10 * index as u16;
        [base, base + 1, base + 2, base + 3]
    }

    /// A tenant of this site, seen at the first proxy.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        Tenant::make(&self.operator, &self.gateway_url(0), slug).await
    }

    /// File with the operator token.
    #[must_use]
    pub fn operator_token_file(&self) -> PathBuf {
        self.path("operator")
    }

    /// File with the master key.
    #[must_use]
    pub fn master_key_file(&self) -> PathBuf {
        self.path("master")
    }

    /// What a process of the site wrote to its log: `control-0`, `proxy-1`.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Of both planes. Where others can read arguments there is no secret in them.
    fn environment(&self) -> Vec<(&'static str, String)> {
        self.redis_url.iter().map(|url| ("REDIS_URL", url.clone())).collect()
    }

    fn of_plan(&self, arguments: &mut Arguments) {
        for (option, value) in &self.plan.options {
            arguments.pair(option, value);
        }
    }

    fn proxy_ports(&self, index: usize) -> [u16; 2] {
        let base = self.base + PROXIES + 2 * index as u16;
        [base, base + 1]
    }

    fn join_file(&self, index: usize) -> PathBuf {
        self.path(&format!("proxy-{index}.join"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Planes first: they have no use for a server that ends.
        self.proxies.clear();
        self.controls.clear();
        if let Some(redis) = self.redis.take() {
            redis.stop();
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop();
        }
    }
}

/// Arguments of a process.
struct Arguments(Vec<OsString>);

impl Arguments {
    fn of(command: &str) -> Self {
        Self(vec![command.into()])
    }

    fn pair(&mut self, option: &str, value: impl AsRef<std::ffi::OsStr>) {
        let mut pair = OsString::from(option);
        pair.push("=");
        pair.push(value);
        self.0.push(pair);
    }
}

async fn ready(process: &mut Process, admin: u16) {
    let url = format!("http://{}:{admin}/readyz", Ipv4Addr::LOCALHOST);
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    eventually("the process is ready", async || {
        assert!(process.is_running(), "it ended; its log ends:\n{}", process.last_words());
        http.get(&url).send().await.is_ok_and(|response| response.status().is_success())
    })
    .await;
}

/// Segments of audit records in a proxy's spool that were not acknowledged.
#[must_use]
pub fn spooled_segments(state_dir: &Path) -> usize {
    let boots = fs::read_dir(state_dir.join("spool")).into_iter().flatten().flatten();
    let files = boots.flat_map(|boot| fs::read_dir(boot.path()).into_iter().flatten().flatten());
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "seg")).count()
}
