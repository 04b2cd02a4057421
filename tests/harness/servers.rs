//! One private Postgres and one private Redis for a test run, and a database from a template for each test.
//!
//! nextest runs a process per test, so the servers live in a process of their own, `test-servers guard`, which ends
//! them when the run that asked for them has ended, however it ended.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use portcullis_cli::private::{ProcessId, postgres, redis};
use seams::SystemEntropy;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Set for every test by the run's set-up script.
pub const SERVERS_VARIABLE: &str = "PORTCULLIS_TEST_SERVERS";
const TEMPLATE: &str = "portcullis_template";

/// How to reach the run's servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Servers {
    /// Postgres, with `{database}` where the database's name goes.
    pub database_url: String,
    /// Redis.
    pub redis_url: String,
}

impl Servers {
    /// The run's servers. Panics outside a run, naming the command to use: no test skips itself.
    #[must_use]
    pub fn of_this_run() -> Self {
        let path =
            std::env::var(SERVERS_VARIABLE).expect("run the tests by `cargo nextest run` or `make test`");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// URL of one database.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        self.database_url.replace("{database}", name)
    }

    /// A new database with all migrations applied; gone with the run.
    pub async fn new_database(&self) -> String {
        let entropy: &dyn seams::Entropy = &SystemEntropy;
        let name = format!("t_{}", hex::encode(entropy.bytes::<8>()));
        let mut admin = PgConnection::connect(&self.database("postgres")).await.unwrap();
        admin
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")))
            .await
            .unwrap();
        admin.close().await.unwrap();
        self.database(&name)
    }
}

/// `test-servers start`: starts the guard in the background and hands its result to nextest.
pub fn start() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("pct").tempdir()?.keep();
    // Postgres may run as another account, which has to enter.
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    let run = runner().context("find the test runner above this process")?;
    let log = fs::File::create(dir.join("guard.log"))?;
    let mut guard = Command::new(std::env::current_exe()?)
        .arg("guard")
        .arg(&dir)
        .args([run.pid.to_string(), run.started.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let ready = dir.join("servers.json");
    while !ready.exists() {
        if let Some(status) = guard.try_wait()? {
            bail!("test servers ended ({status}): {}", fs::read_to_string(dir.join("guard.log"))?);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let variables = std::env::var("NEXTEST_ENV").context("run by nextest as a set-up script")?;
    let mut variables = fs::OpenOptions::new().append(true).open(variables)?;
    writeln!(variables, "{SERVERS_VARIABLE}={}", ready.display())?;
    Ok(())
}

/// `test-servers guard DIR PID STARTED`: runs the servers until that process has ended.
pub async fn guard(dir: &Path, run: ProcessId) -> anyhow::Result<()> {
    let cluster = postgres::Cluster::start(
        &postgres::Places {
            data: &dir.join("pg"),
            socket_dir: &dir.join("sock"),
            password_file: &dir.join("postgres.password"),
        },
        postgres::Durability::None,
        &SystemEntropy,
    )?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let redis = redis::Server::start(&dir.join("redis"), port, &dir.join("redis.password"), &SystemEntropy)?;
    let prepared = prepare(&cluster, redis.url(), dir).await;
    if prepared.is_ok() {
        while run.is_alive() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    redis.stop();
    cluster.stop();
    if prepared.is_ok() {
        fs::remove_dir_all(dir)?;
    }
    prepared
}

async fn prepare(cluster: &postgres::Cluster, redis_url: String, dir: &Path) -> anyhow::Result<()> {
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await?;
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).await?;
    admin.close().await?;
    control_plane::db::migrate(&cluster.url(TEMPLATE)).await?;
    let servers = Servers { database_url: cluster.url("{database}"), redis_url };
    let file = dir.join("servers.json");
    portcullis_cli::files::write_private(&file, &serde_json::to_vec(&servers)?)?;
    Ok(())
}

/// The nextest process above this one: the servers live as long as it does.
fn runner() -> Option<ProcessId> {
    let mut pid = std::process::id();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let name = fs::read_link(PathBuf::from(format!("/proc/{parent}/exe"))).ok()?;
        if name.file_name()?.to_string_lossy().contains("nextest") {
            return ProcessId::of(parent);
        }
        pid = parent;
    }
}
