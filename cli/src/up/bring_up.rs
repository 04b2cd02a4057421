//! Bringing a run up, step by step.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use seams::{Entropy, SystemEntropy};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    Options, Ports,
    arguments::{Arguments, child, redis_variable},
    certificates::{self, LocalTls},
    demo::{self, Demo},
    places::Places,
    processes::{Child, Entry, Processes, Stop},
    snippets,
    summary::{ProxyResult, UpResult, say},
};
use crate::{
    files,
    private::{postgres, redis},
    rest::{Rest, RestError, http_client},
};

/// How long a plane may take from its start to ready.
const READY: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(25);

/// What is to run.
pub(super) struct Plan {
    options: Options,
    ports: Ports,
    places: Places,
    tls: Option<LocalTls>,
}

impl Plan {
    pub(super) fn new(options: Options, places: Places) -> anyhow::Result<Self> {
        let ports = Ports(options.port_base);
        let tls = options.tls.then(|| certificates::ensure(&places)).transpose()?;
        Ok(Self { options, ports, places, tls })
    }

    /// Starts everything, in the order in which it needs each other. What runs when this ends early is in `processes`.
    pub(super) async fn start_all(&self, processes: &mut Processes) -> anyhow::Result<UpResult> {
        self.check_ports()?;
        let database_url = self.database(processes)?;
        let redis_url = self.redis(processes)?;
        let operator_token = self.operator_token()?;
        say("Starting the control plane …");
        self.control(processes, &database_url, redis_url.as_deref()).await.with_context(|| {
            match self.options.database_url() {
                None => "start the control plane",
                // It may have been set up from elsewhere, and what its keys are sealed with is not in it.
                Some(_) => {
                    "start the control plane on the given database (another master key does not open it)"
                }
            }
        })?;
        let ca = self.tls.as_ref().map(|tls| tls.ca.as_path());
        let operator = Rest::new(&self.url(self.ports.api()), operator_token.clone(), ca)?;
        if !self.options.no_demo {
            self.demo_server(processes).await?;
        }
        let proxies = self.proxies(processes, &operator, redis_url.as_deref()).await?;
        let demo =
            if self.options.no_demo {
                None
            } else {
                say("Preparing the demo tenant …");
                let wanted = demo::Wanted {
                    file: &self.places.secret("demo.json"),
                    port: self.ports.demo(),
                    fresh: self.options.fresh,
                };
                let log = self.places.log("proxy-0");
                let demo = demo::ensure(&operator, &wanted).await;
                Some(demo.with_context(|| {
                    format!("prepare the demo tenant; the proxy's log is {}", log.display())
                })?)
            };
        Ok(self.result(demo, &operator_token, database_url, redis_url, proxies))
    }

    /// Says which port is taken before anything is started.
    fn check_ports(&self) -> anyhow::Result<()> {
        let base = self.options.port_base;
        let other = if base < 60_000 { base + 1_000 } else { 7400 };
        for port in self.ports.used(&self.options) {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                format!("port {port} is taken; choose other ports with --port-base, for example --port-base {other}")
            })?;
        }
        Ok(())
    }

    fn database(&self, processes: &mut Processes) -> anyhow::Result<String> {
        if let Some(url) = self.options.database_url() {
            return Ok(url.to_owned());
        }
        let data = self.places.data()?;
        let directory = data.join("pg");
        say(if directory.exists() {
            "Starting the private Postgres …"
        } else {
            "Making a private Postgres …"
        });
        let cluster = postgres::Cluster::start(
            &postgres::Places {
                data: &directory,
                socket_dir: &data.join("sock"),
                password_file: &self.places.secret("postgres.password"),
            },
            postgres::Durability::Full,
            &SystemEntropy,
        )?;
        processes.adopt(Entry {
            name: "postgres".to_owned(),
            process: cluster.process(),
            stop: Stop::Interrupt,
            log: cluster.log(),
        })?;
        Ok(cluster.url("postgres"))
    }

    fn redis(&self, processes: &mut Processes) -> anyhow::Result<Option<String>> {
        if let Some(url) = self.options.redis_url() {
            reachable(url)?;
            return Ok(Some(url.to_owned()));
        }
        if !self.options.private_redis() {
            return Ok(None);
        }
        say("Starting a private Redis …");
        let dir = self.places.root.join("redis");
        let password = self.places.secret("redis.password");
        let server = redis::Server::start(&dir, self.ports.redis(), &password, &SystemEntropy)?;
        processes.adopt(Entry {
            name: "redis".to_owned(),
            process: server.process(),
            stop: Stop::Terminate,
            log: server.log(),
        })?;
        Ok(Some(server.url()))
    }

    fn operator_token(&self) -> anyhow::Result<SecretString> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let bytes = files::read_or_create(&self.places.secret(Places::OPERATOR_TOKEN), || {
            crypto::key::mint(crypto::key::KeyKind::OperatorToken, entropy).text.expose_secret().into()
        })?;
        let master_key = self.places.secret(Places::MASTER_KEY);
        files::read_or_create(&master_key, || crypto::FileKek::generate_file(entropy).to_vec())?;
        Ok(SecretString::from(String::from_utf8(bytes).context("read the operator token")?))
    }

    async fn control(
        &self,
        processes: &mut Processes,
        database_url: &str,
        redis_url: Option<&str>,
    ) -> anyhow::Result<()> {
        let ports = self.ports;
        let mut arguments = Arguments::of("control");
        arguments.address("--listen", ports.api());
        arguments.address("--auth-listen", ports.auth());
        arguments.address("--enrol-listen", ports.enrol());
        arguments.address("--streams-listen", ports.streams());
        arguments.address("--admin-listen", ports.control_admin());
        arguments.pair("--control-url", self.url(ports.api()));
        arguments.pair("--auth-url", self.url(ports.auth()));
        arguments.pair("--gateway-url", self.url(ports.gateway(0)));
        arguments.pair("--master-key-file", self.places.secret(Places::MASTER_KEY));
        arguments.pair("--operator-token-file", self.places.secret(Places::OPERATOR_TOKEN));
        arguments.pair("--state-dir", self.places.control());
        if let Some(server) = self.options.dns_server {
            arguments.pair("--dns-server", server.to_string());
        }
        arguments.tls(self.tls.as_ref());
        processes.start(Child {
            name: "control",
            stop: Stop::Terminate,
            arguments: arguments.0,
            environment: [("DATABASE_URL", database_url.to_owned())]
                .into_iter()
                .chain(redis_variable(redis_url))
                .collect(),
            // Meant for another server than the private one.
            without: if self.options.database_url().is_none() { &["PG"] } else { &[] },
            log: self.places.log("control"),
        })?;
        self.wait_ready(processes, ports.control_admin(), &self.places.log("control")).await
    }

    async fn demo_server(&self, processes: &mut Processes) -> anyhow::Result<()> {
        let mut arguments = Arguments::of("demo-server");
        arguments.pair("--port", self.ports.demo().to_string());
        let log = self.places.log("demo-server");
        processes.start(child("demo-server", Stop::Terminate, arguments, &log))?;
        let address = (Ipv4Addr::LOCALHOST, self.ports.demo());
        wait_until(processes, &log, async || tokio::net::TcpStream::connect(address).await.is_ok()).await
    }

    async fn proxies(
        &self,
        processes: &mut Processes,
        operator: &Rest,
        redis_url: Option<&str>,
    ) -> anyhow::Result<Vec<ProxyResult>> {
        let count = self.options.proxies;
        say(&if count == 1 {
            "Starting the proxy …".to_owned()
        } else {
            format!("Starting {count} proxies …")
        });
        let mut started = Vec::new();
        for index in 0..count {
            started.push(self.start_proxy(processes, index, operator, redis_url).await?);
        }
        let mut proxies = Vec::new();
        for (index, pid) in (0..).zip(started) {
            let admin = self.ports.proxy_admin(index);
            self.wait_ready(processes, admin, &self.places.log(&format!("proxy-{index}"))).await?;
            let identity = data_plane::control::enrolled_as(&self.places.proxy(index))?;
            proxies.push(ProxyResult {
                id: identity.context("the proxy is ready without an identity")?.to_string(),
                url: self.url(self.ports.gateway(index)),
                admin_url: format!("http://127.0.0.1:{admin}"),
                pid,
            });
            // Used up.
            files::remove(&self.places.secret(&format!("proxy-{index}.join")))?;
        }
        Ok(proxies)
    }

    /// Starts a proxy that joins if it has no identity yet; returns its process number.
    async fn start_proxy(
        &self,
        processes: &mut Processes,
        index: u16,
        operator: &Rest,
        redis_url: Option<&str>,
    ) -> anyhow::Result<u32> {
        let name = format!("proxy-{index}");
        let state = self.places.proxy(index);
        let mut arguments = Arguments::of("proxy");
        arguments.address("--listen", self.ports.gateway(index));
        arguments.address("--admin-listen", self.ports.proxy_admin(index));
        arguments.pair("--enrol-url", format!("https://127.0.0.1:{}", self.ports.enrol()));
        arguments.pair("--streams-url", format!("https://127.0.0.1:{}", self.ports.streams()));
        arguments.pair("--state-dir", &state);
        arguments.tls(self.tls.as_ref());
        if !has_identity(&state, operator).await? {
            files::private_dir(&state)?;
            let token = self.places.secret(&format!("{name}.join"));
            files::write_private(&token, demo::join_token(operator).await?.expose_secret().as_bytes())?;
            arguments.pair("--join-token-file", token);
        }
        let log = self.places.log(&name);
        let environment = redis_variable(redis_url).into_iter().collect();
        let child = Child { environment, ..child(&name, Stop::TerminateTogether, arguments, &log) };
        Ok(processes.start(child)?.pid)
    }

    async fn wait_ready(&self, processes: &Processes, admin_port: u16, log: &Path) -> anyhow::Result<()> {
        let http = http_client(None)?;
        let url = format!("http://127.0.0.1:{admin_port}/readyz");
        wait_until(processes, log, async || {
            let Ok(response) = http.get(&url).send().await else { return false };
            let ready = response.status().is_success();
            // A proxy that was here before is ready with what it had then; what follows needs it to have what there is now.
            let report = response.json::<serde_json::Value>().await.unwrap_or_default();
            ready && report["configuration"].as_str().is_none_or(|state| state == "complete")
        })
        .await
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}")
    }

    fn result(
        &self,
        demo: Option<Demo>,
        operator_token: &SecretString,
        database_url: String,
        redis_url: Option<String>,
        proxies: Vec<ProxyResult>,
    ) -> UpResult {
        let gateway_url = self.url(self.ports.gateway(0));
        let ca_file = self.tls.as_ref().map(|tls| tls.ca.display().to_string());
        let ca = ca_file.as_deref();
        let endpoint_url = demo.as_ref().map(|demo| format!("{gateway_url}{}", demo.path));
        let pair = demo.as_ref().zip(endpoint_url.as_deref());
        let arguments = serde_json::json!({"a": 2, "b": 3});
        UpResult {
            control_url: self.url(self.ports.api()),
            auth_url: self.url(self.ports.auth()),
            curl: pair.map(|(demo, url)| snippets::curl(url, &demo.api_key, ca, "add", &arguments)),
            snippets: pair.map(|(demo, url)| snippets::all("portcullis-demo", url, &demo.api_key, ca)),
            endpoint_url,
            gateway_url,
            tenant: demo.as_ref().map(|demo| demo.tenant.clone()),
            client_id: demo.as_ref().map(|demo| demo.client_id.clone()),
            key_id: demo.as_ref().map(|demo| demo.key_id.clone()),
            api_key: demo.as_ref().map(|demo| demo.api_key.clone()),
            admin_token: demo.map(|demo| demo.admin_token),
            operator_token: operator_token.expose_secret().to_owned(),
            ca_file,
            database_url,
            redis_url,
            proxies,
        }
    }
}

/// Whether the proxy whose state this is still belongs to the installation. If not, as when the database was made anew, the
/// state is set aside, not deleted: there may be audit records in it that were not uploaded.
async fn has_identity(state: &Path, operator: &Rest) -> anyhow::Result<bool> {
    let Some(id) = data_plane::control::enrolled_as(state)? else { return Ok(false) };
    match operator.get(&format!("/v1/proxies/{id}")).await {
        Ok(proxy) if proxy["revoked_at"].is_null() => return Ok(true),
        Ok(_) => {}
        Err(RestError::Refused { status, .. }) if status.as_u16() == 404 => {}
        Err(error) => return Err(error).context("ask for the proxy"),
    }
    let aside = state.with_file_name(format!("{id}-not-of-this-installation"));
    say(&format!("{id} is not of this installation any more; its state is kept in {}", aside.display()));
    std::fs::rename(state, &aside).with_context(|| format!("set {} aside", state.display()))?;
    Ok(false)
}

async fn wait_until(
    processes: &Processes,
    log: &Path,
    mut holds: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    while !holds().await {
        if let Some(dead) = processes.first_dead() {
            bail!(dead.obituary());
        }
        if waited >= READY {
            bail!("not ready after {} s; see {}", READY.as_secs(), log.display());
        }
        tokio::time::sleep(STEP).await;
        waited += STEP;
    }
    Ok(())
}

/// Whether something answers where a given Redis should be. The URL may hold a password, so no message shows it whole.
fn reachable(url: &str) -> anyhow::Result<()> {
    let url = Url::parse(url).context("the Redis URL cannot be read")?;
    if !["redis", "rediss"].contains(&url.scheme()) {
        bail!("the Redis URL must begin with redis:// or rediss://");
    }
    let (host, port) = (url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(6379));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let connects = |address| TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok();
    let mut addresses =
        (bare, port).to_socket_addrs().with_context(|| format!("look up the Redis server {host}"))?;
    if addresses.any(connects) { Ok(()) } else { bail!("no Redis answers at {host}:{port}") }
}
