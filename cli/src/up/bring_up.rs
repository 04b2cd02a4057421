//! Bringing a run up, step by step, and taking it down again.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use seams::{Entropy, SystemEntropy};

use super::{
    Options, Ports,
    certificates::{self, LocalTls},
    demo::{self, Demo},
    places::Places,
    processes::{Child, Processes},
    snippets,
    summary::{ProxyResult, UpResult, say},
};
use crate::{
    files,
    private::{postgres, redis},
    rest::{Rest, http_client},
};

/// How long a plane may take from its start to ready.
const READY: Duration = Duration::from_secs(60);

/// A running `up`.
#[derive(Debug)]
pub(super) struct Run {
    processes: Processes,
    places: Places,
    result: UpResult,
}

/// What the steps hand to each other.
struct Plan {
    options: Options,
    ports: Ports,
    places: Places,
    tls: Option<LocalTls>,
}

impl Run {
    pub(super) async fn bring_up(options: Options, places: Places) -> anyhow::Result<Self> {
        let mut processes = Processes::take_over(places.processes())?;
        let ports = Ports(options.port_base);
        let tls = options.tls.then(|| certificates::ensure(&places)).transpose()?;
        let plan = Plan { options, ports, places: places.clone(), tls };
        match plan.start_all(&mut processes).await {
            Ok(result) => {
                files::write_private(&places.up_json(), &serde_json::to_vec_pretty(&result)?)?;
                Ok(Self { processes, places, result })
            }
            Err(error) => {
                processes.stop()?;
                Err(error)
            }
        }
    }

    pub(super) fn result(&self) -> &UpResult {
        &self.result
    }

    /// The name of the first process that ends by itself.
    pub(super) async fn first_death(&self) -> String {
        loop {
            if let Some(entry) = self.processes.first_dead() {
                return entry.name.clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.processes.stop()?;
        std::fs::remove_file(self.places.up_json())?;
        Ok(())
    }
}

impl Plan {
    async fn start_all(&self, processes: &mut Processes) -> anyhow::Result<UpResult> {
        self.check_ports()?;
        let database_url = self.database(processes)?;
        let redis_url = self.redis(processes)?;
        let operator_token = self.operator_token()?;
        say("Starting the control plane …")?;
        self.control(processes, &database_url).await?;
        let ca = self.tls.as_ref().map(|tls| tls.ca.as_path());
        let operator = Rest::new(&self.url(self.ports.api()), operator_token.clone(), ca)?;
        if !self.options.no_demo {
            self.demo_server(processes)?;
        }
        let mut proxies = Vec::new();
        for index in 0..self.options.proxies {
            say(&format!("Starting proxy {index} …"))?;
            proxies.push(self.proxy(processes, index, &operator).await?);
        }
        let demo = if self.options.no_demo {
            None
        } else {
            say("Preparing the demo tenant …")?;
            let file = self.places.secret("demo.json");
            Some(demo::ensure(&operator, &file, self.ports.demo()).await?)
        };
        Ok(self.result(demo, &operator_token, database_url, redis_url, proxies))
    }

    /// Says which port is taken before anything is started.
    fn check_ports(&self) -> anyhow::Result<()> {
        for port in self.ports.all(self.options.proxies) {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                format!("port {port} is taken; choose other ports with --port-base, for example --port-base 8400")
            })?;
        }
        Ok(())
    }

    fn database(&self, processes: &mut Processes) -> anyhow::Result<String> {
        if let Some(url) = &self.options.database_url {
            return Ok(url.clone());
        }
        say("Starting a private Postgres …")?;
        let cluster = postgres::Cluster::start(
            &postgres::Places {
                data: &self.places.data.join("pg"),
                socket_dir: &self.places.data.join("sock"),
                password_file: &self.places.secret("postgres.password"),
            },
            postgres::Durability::Full,
            &SystemEntropy,
        )?;
        processes.adopt("postgres", cluster.process(), true)?;
        Ok(cluster.url("postgres"))
    }

    fn redis(&self, processes: &mut Processes) -> anyhow::Result<Option<String>> {
        if let Some(url) = &self.options.redis_url {
            return Ok(Some(url.clone()));
        }
        if !self.options.redis && self.options.proxies < 2 {
            return Ok(None);
        }
        say("Starting a private Redis …")?;
        let dir = self.places.root.join("redis");
        let password = self.places.secret("redis.password");
        let server = redis::Server::start(&dir, self.ports.redis(), &password, &SystemEntropy)?;
        processes.adopt("redis", server.process(), false)?;
        Ok(Some(server.url()))
    }

    fn operator_token(&self) -> anyhow::Result<SecretString> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let bytes = files::read_or_create(&self.places.secret("operator.token"), || {
            crypto::key::mint(crypto::key::KeyKind::OperatorToken, entropy).text.expose_secret().into()
        })?;
        files::read_or_create(&self.places.secret("master.key"), || crypto::FileKek::generate_file(entropy).to_vec())?;
        Ok(SecretString::from(String::from_utf8(bytes).context("read the operator token")?))
    }

    async fn control(&self, processes: &mut Processes, database_url: &str) -> anyhow::Result<()> {
        let ports = self.ports;
        let mut arguments = vec!["control".into()];
        for (flag, port) in [
            ("--listen", ports.api()),
            ("--enrol-listen", ports.enrol()),
            ("--streams-listen", ports.streams()),
            ("--admin-listen", ports.control_admin()),
        ] {
            arguments.extend([flag.into(), format!("127.0.0.1:{port}").into()]);
        }
        for (flag, port) in
            [("--control-url", ports.api()), ("--auth-url", ports.auth()), ("--gateway-url", ports.gateway(0))]
        {
            arguments.extend([flag.into(), self.url(port).into()]);
        }
        arguments.extend(["--master-key-file".into(), self.places.secret("master.key").into()]);
        arguments.extend(["--operator-token-file".into(), self.places.secret("operator.token").into()]);
        arguments.extend(self.tls_arguments());
        let log = self.places.log("control");
        let environment = vec![("DATABASE_URL", database_url.to_owned())];
        processes.start(Child { name: "control", arguments, environment, log: log.clone() })?;
        self.wait_ready(processes, ports.control_admin(), &log).await
    }

    fn demo_server(&self, processes: &mut Processes) -> anyhow::Result<()> {
        let arguments = vec!["demo-server".into(), "--port".into(), self.ports.demo().to_string().into()];
        let log = self.places.log("demo-server");
        processes.start(Child { name: "demo-server", arguments, environment: Vec::new(), log })?;
        Ok(())
    }

    async fn proxy(&self, processes: &mut Processes, index: u16, operator: &Rest) -> anyhow::Result<ProxyResult> {
        let name = format!("proxy-{index}");
        let state = self.places.proxy(index);
        files::private_dir(&state)?;
        let log = self.places.log(&name);
        let mut arguments = vec!["proxy".into()];
        arguments.extend(["--listen".into(), format!("127.0.0.1:{}", self.ports.gateway(index)).into()]);
        arguments.extend(["--admin-listen".into(), format!("127.0.0.1:{}", self.ports.proxy_admin(index)).into()]);
        arguments.extend(["--enrol-url".into(), format!("https://127.0.0.1:{}", self.ports.enrol()).into()]);
        arguments.extend(["--streams-url".into(), format!("https://127.0.0.1:{}", self.ports.streams()).into()]);
        arguments.extend(["--state-dir".into(), state.clone().into()]);
        arguments.extend(self.tls_arguments());
        if data_plane::control::enrolled_as(&state)?.is_none() {
            let token = self.places.secret(&format!("{name}.join"));
            files::write_private(&token, demo::join_token(operator).await?.expose_secret().as_bytes())?;
            arguments.extend(["--join-token-file".into(), token.into()]);
        }
        let process = processes.start(Child { name: &name, arguments, environment: Vec::new(), log: log.clone() })?;
        self.wait_ready(processes, self.ports.proxy_admin(index), &log).await?;
        Ok(ProxyResult {
            id: data_plane::control::enrolled_as(&state)?.context("the proxy is ready without an identity")?.to_string(),
            url: self.url(self.ports.gateway(index)),
            admin_url: format!("http://127.0.0.1:{}", self.ports.proxy_admin(index)),
            pid: process.pid,
        })
    }

    fn tls_arguments(&self) -> Vec<std::ffi::OsString> {
        let Some(tls) = &self.tls else { return Vec::new() };
        vec!["--tls-cert".into(), tls.certificate.clone().into(), "--tls-key".into(), tls.key.clone().into()]
    }

    async fn wait_ready(&self, processes: &Processes, admin_port: u16, log: &Path) -> anyhow::Result<()> {
        let http = http_client(None)?;
        let url = format!("http://127.0.0.1:{admin_port}/readyz");
        let mut waited = Duration::ZERO;
        loop {
            if http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            if let Some(dead) = processes.first_dead() {
                bail!("{} ended; see {}", dead.name, log.display());
            }
            if waited >= READY {
                bail!("not ready after {} s; see {}", READY.as_secs(), log.display());
            }
            let step = Duration::from_millis(50);
            tokio::time::sleep(step).await;
            waited += step;
        }
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
        let endpoint_url = demo.as_ref().map(|demo| format!("{gateway_url}{}", demo.path));
        let pair = demo.as_ref().zip(endpoint_url.as_deref());
        let arguments = serde_json::json!({"a": 2, "b": 3});
        UpResult {
            control_url: self.url(self.ports.api()),
            auth_url: self.url(self.ports.auth()),
            curl: pair.map(|(demo, url)| snippets::curl(url, &demo.api_key, ca_file.as_deref(), "add", &arguments)),
            snippets: pair.map(|(demo, url)| snippets::all("portcullis-demo", url, &demo.api_key)),
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
