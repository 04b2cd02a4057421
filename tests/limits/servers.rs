//! Redis servers, sentinels and nodes of a cluster, as processes of a test's own with any configuration.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::processes::free_ports;
use portcullis_cli::private::redis::find_binary;
use redis_link::redis;

/// A process. Dropping it kills it.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// How the test talks to it.
    url: String,
    program: &'static str,
    environment: Vec<(&'static str, String)>,
    child: Child,
}

impl Server {
    /// A data server. `config`: lines of its configuration; `user`: `user:password@` for the test itself, or nothing.
    pub(crate) fn start(config: &[String], user: &str) -> Self {
        Self::run("redis-server", free_ports(1), config, user, Vec::new())
    }

    /// A node of a cluster, whose bus has the port after its own: by itself it would take one that may be somebody's.
    pub(crate) fn node(config: &[String], user: &str) -> Self {
        let port = free_ports(2);
        let lines = ["cluster-enabled yes".to_owned(), format!("cluster-port {}", port + 1)];
        Self::run("redis-server", port, &[config, &lines].concat(), user, Vec::new())
    }

    /// A data server with these variables, without a password.
    pub(crate) fn with_environment(environment: Vec<(&'static str, String)>) -> Self {
        Self::run("redis-server", free_ports(1), &[], "", environment)
    }

    /// A sentinel.
    pub(crate) fn sentinel(config: &[String], user: &str) -> Self {
        Self::run("redis-sentinel", free_ports(1), config, user, Vec::new())
    }

    fn run(
        program: &'static str,
        port: u16,
        config: &[String],
        user: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = vec![format!("dir {}", dir.path().display()), "bind 127.0.0.1".to_owned()];
        // Sentinels and nodes write into their configuration.
        lines.extend(config.iter().cloned());
        if !config.iter().any(|line| line.starts_with("tls-port")) {
            lines.push(format!("port {port}"));
        }
        if program == "redis-server" {
            lines.extend(["save \"\"".to_owned(), "appendonly no".to_owned()]);
        }
        let config = dir.path().join("server.conf");
        let text = lines.join("\n").replace("$PORT", &port.to_string());
        std::fs::write(&config, format!("{text}\n")).unwrap();
        let child = spawn(program, &config, &environment);
        let url = format!("redis://{user}127.0.0.1:{port}/");
        Self { dir, port, url, program, environment, child }
    }

    /// Starts it again after [`Self::kill`], with what it wrote into its directory.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.program, &self.dir.path().join("server.conf"), &self.environment);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it, not through a link. Only without TLS.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        let (name, rest) = command.split_first().unwrap();
        redis::cmd(name).arg(rest).query(&mut connection)
    }
}

fn spawn(program: &str, config: &Path, environment: &[(&'static str, String)]) -> Child {
    let log = std::fs::File::create(config.with_extension("log")).unwrap();
    let mut command = Command::new(find_binary().expect("`scripts/setup.sh test` installs Redis"));
    // One program under several names; its name decides what it is.
    command.arg0(program).arg(config).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (name, value.as_str())));
    if program == "redis-sentinel" {
        command.arg("--sentinel");
    }
    command.spawn().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A CA of a test's own, and what it says about 127.0.0.1.
pub(crate) struct Certificates {
    dir: tempfile::TempDir,
    pub(crate) ca: Vec<u8>,
}

impl Certificates {
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (ca_key, leaf_key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(params, ca_key);
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let files = [("ca.pem", ca.pem()), ("leaf.pem", leaf.pem()), ("leaf.key", leaf_key.serialize_pem())];
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self { dir, ca: ca.pem().into_bytes() }
    }

    /// Lines of a server that speaks nothing but TLS.
    pub(crate) fn config(&self) -> Vec<String> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            "port 0".to_owned(),
            "tls-port $PORT".to_owned(),
            format!("tls-cert-file {}", file("leaf.pem")),
            format!("tls-key-file {}", file("leaf.key")),
            format!("tls-ca-cert-file {}", file("ca.pem")),
            "tls-auth-clients no".to_owned(),
        ]
    }
}

/// Whether it listens.
pub(crate) fn answers(server: &Server) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
}
