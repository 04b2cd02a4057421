//! A private Postgres cluster on a Unix socket, with a password nobody else knows.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Account, PrivateError, ProcessId, io_error, stop_process};
use crate::{files, run::environment};

const INSTALL: &str =
    "`scripts/setup.sh up` installs them or says how; PG_BIN_DIR names those that are elsewhere";
const READY_SECONDS: u64 = 30;
/// Names the socket; nothing listens on it.
const PORT: &str = "5432";
/// `sun_path` holds 108 bytes with its terminator; the socket's own name takes the rest.
const LONGEST_SOCKET_DIR: usize = 107 - "/.s.PGSQL.5432".len();

/// How the name of a cluster ends that is being made.
const HALF_MADE: &str = "half-made-";

/// A running private cluster. Stopped by [`Cluster::stop`], not by dropping: who supervises decides the order.
#[derive(Debug, Clone)]
pub struct Cluster {
    data: PathBuf,
    log: PathBuf,
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
        let account = Account::choose()?;
        let bin =
            find_binaries(account).ok_or(PrivateError::Missing { what: "Postgres", remedy: INSTALL })?;
        let password =
            files::read_or_create(places.password_file, || hex::encode(entropy.bytes::<24>()).into())
                .map_err(io_error("keep the database password"))?;
        let password = SecretString::from(String::from_utf8_lossy(&password).trim());
        stop_leftover(places.data);
        let log = places.data.with_extension("log");
        create_log(&log)?;
        account.own(&log)?;
        if !places.data.join("PG_VERSION").exists() {
            create(&bin, places.data, account, &password, &log)?;
        }
        let socket_dir = socket_dir(places.socket_dir, account)?;

        let mut command = Command::new(bin.join("postgres"));
        command.arg("-D").arg(places.data).arg("-k").arg(&socket_dir);
        command.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]);
        command.args([
            "-c",
            &format!("port={PORT}"),
            "-c",
            "max_connections=200",
            "-c",
            "shared_buffers=64MB",
        ]);
        if durability == Durability::None {
            command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        prepare(&mut command, account, &log)?;
        let mut child = command.spawn().map_err(io_error("start postgres"))?;
        let cluster = Self {
            process: ProcessId::of(child.id()).ok_or_else(|| not_ready(&log))?,
            data: places.data.to_owned(),
            log,
            socket_dir,
            password,
        };
        // Reaps the child whenever it ends, so that its number is not kept by a zombie.
        thread::spawn(move || child.wait());
        match cluster.wait_ready() {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.stop();
                Err(error)
            }
        }
    }

    /// URL of `database` as the cluster's superuser. Holds the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let dir: String =
            url::form_urlencoded::byte_serialize(self.socket_dir.as_os_str().as_encoded_bytes()).collect();
        format!(
            "postgres://portcullis:{}@localhost:{PORT}/{database}?host={dir}",
            self.password.expose_secret()
        )
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

    /// Where the server writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    fn wait_ready(&self) -> Result<(), PrivateError> {
        for _ in 0..READY_SECONDS * 40 {
            if self.says_ready() {
                return Ok(());
            }
            if !self.process.is_alive() {
                break;
            }
            thread::sleep(Duration::from_millis(25));
        }
        Err(not_ready(&self.log))
    }

    /// What `pg_ctl` looks at: the lock file's first line names the process, its eighth the state.
    fn says_ready(&self) -> bool {
        let Ok(lock) = fs::read_to_string(self.data.join("postmaster.pid")) else { return false };
        let mut lines = lock.lines();
        lines.next().is_some_and(|pid| pid.trim() == self.process.pid.to_string())
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }
}

/// What every program of the server's gets: its account, its log, and no variables of the caller's that are meant for
/// another server.
fn prepare(command: &mut Command, account: Account, log: &Path) -> Result<(), PrivateError> {
    account.apply(command);
    for name in environment::names_beginning(&["PG", "DATABASE_URL", "REDIS_URL", "PORTCULLIS_"]) {
        command.env_remove(name);
    }
    let out = fs::OpenOptions::new().append(true).open(log).map_err(io_error("open the database log"))?;
    let errors = out.try_clone().map_err(io_error("open the database log"))?;
    // Own process group: Ctrl-C reaches the supervisor alone.
    command.stdin(Stdio::null()).stdout(out).stderr(errors).process_group(0).current_dir("/");
    Ok(())
}

/// A new log; the one before it is kept, because why a server ended is read after the next one was started.
fn create_log(log: &Path) -> Result<(), PrivateError> {
    match fs::rename(log, log.with_extension("previous.log")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("keep the earlier database log")(error));
        }
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(log).map(drop).map_err(io_error(format!("create {}", log.display())))
}

fn not_ready(log: &Path) -> PrivateError {
    PrivateError::NotReady { what: "Postgres", seconds: READY_SECONDS, log: log.to_owned() }
}

/// Makes the cluster under another name first: one that was interrupted is never taken for whole.
fn create(
    bin: &Path,
    data: &Path,
    account: Account,
    password: &SecretString,
    log: &Path,
) -> Result<(), PrivateError> {
    match fs::remove_dir_all(data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error(format!("remove half-made {}", data.display()))(error));
        }
        _ => {}
    }
    remove_half_made(data);
    // A name of its own: an initdb that outlived its caller may still be writing to another.
    let half = data.with_extension(format!("{HALF_MADE}{}", std::process::id()));
    files::private_dir(&half).map_err(io_error(format!("create {}", half.display())))?;
    account.own(&half)?;
    // initdb reads the password as the server's user, so it gets a file of its own for that moment.
    let handover = data.with_extension("pw");
    files::write_private(&handover, password.expose_secret().as_bytes())
        .map_err(io_error("hand the password to initdb"))?;
    account.own(&handover)?;
    let mut command = Command::new(bin.join("initdb"));
    command.arg("-D").arg(&half).args([
        "-U",
        "portcullis",
        "--auth=scram-sha-256",
        "--locale=C.UTF-8",
        "-E",
        "UTF8",
    ]);
    command.arg(format!("--pwfile={}", handover.display()));
    prepare(&mut command, account, log)?;
    let status = command.status();
    fs::remove_file(&handover).map_err(io_error("remove the handed-over password"))?;
    let status = status.map_err(io_error("run initdb"))?;
    if !status.success() {
        return Err(PrivateError::Failed { tool: "initdb", status, log: log.to_owned() });
    }
    fs::rename(&half, data).map_err(io_error("put the new cluster into place"))
}

/// Removes what interrupted runs left; what cannot be removed now can be the next time.
fn remove_half_made(data: &Path) {
    let Some(name) = data.file_name().and_then(|name| name.to_str()) else { return };
    let prefix = format!("{name}.{HALF_MADE}");
    for entry in data.parent().into_iter().flat_map(fs::read_dir).flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, "half-made cluster stays");
        }
    }
}

/// A cluster that outlived its supervisor holds the data directory; it is ours, so it is ended.
fn stop_leftover(data: &Path) {
    let Ok(lock) = fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some(process) = lock.lines().next().and_then(|line| line.trim().parse().ok()).and_then(ProcessId::of)
    else {
        return;
    };
    let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let data = data.as_os_str().as_encoded_bytes();
    if command.split(|byte| *byte == 0).any(|argument| argument == data) {
        stop_process(process, Signal::INT, Duration::from_secs(10));
    }
}

/// The directory for the socket, made or found, the server's own and nobody else's.
fn socket_dir(wanted: &Path, account: Account) -> Result<PathBuf, PrivateError> {
    let dir = short_enough(wanted);
    files::private_dir(&dir).map_err(io_error(format!("create {}", dir.display())))?;
    account.own(&dir)?;
    let found = fs::symlink_metadata(&dir).map_err(io_error(format!("look at {}", dir.display())))?;
    // One in /tmp could have been put there by somebody who wants to stand between us and the database.
    if found.is_dir() && found.uid() == account.uid() && found.mode().trailing_zeros() >= 6 {
        Ok(dir)
    } else {
        Err(PrivateError::SocketDir { dir })
    }
}

fn short_enough(wanted: &Path) -> PathBuf {
    let fits = |dir: &PathBuf| dir.as_os_str().len() <= LONGEST_SOCKET_DIR;
    let digest = crypto::digest::sha256(wanted.as_os_str().as_encoded_bytes());
    let name = format!("portcullis-{}", hex::encode(&digest[..8]));
    let runtime = environment::runtime_directory().map(|dir| dir.join(&name));
    let short = || Path::new("/tmp").join(&name);
    Some(wanted.to_owned()).filter(fits).or(runtime.filter(fits)).unwrap_or_else(short)
}

/// The directory that holds `postgres` and `initdb`: `PG_BIN_DIR`, `PATH`, Debian's newest version, then what Python or
/// Node packages bring. They must run as the server's account: packages below root's home do not.
#[must_use]
pub fn find_binaries(account: Account) -> Option<PathBuf> {
    let runs = |dir: &PathBuf, name: &str| {
        let mut command = Command::new(dir.join(name));
        account.apply(&mut command);
        command
            .arg("--version")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let complete = |dir: &PathBuf| ["postgres", "initdb"].iter().all(|name| dir.join(name).is_file());
    environment::postgres_directories()
        .into_iter()
        .find(|dir| complete(dir) && ["postgres", "initdb"].iter().all(|name| runs(dir, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_socket_path_is_replaced_by_a_short_one() {
        let long = PathBuf::from(format!("/{}", "d".repeat(200)));
        assert!(short_enough(&long).as_os_str().len() <= LONGEST_SOCKET_DIR);
        assert_eq!(short_enough(Path::new("/run/x")), Path::new("/run/x"));
    }

    #[test]
    fn a_socket_directory_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::choose().unwrap();
        let own = socket_dir(&dir.path().join("own"), account).unwrap();
        fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(socket_dir(&own, account), Err(PrivateError::SocketDir { .. })));
        std::os::unix::fs::symlink(&own, dir.path().join("link")).unwrap();
        assert!(matches!(socket_dir(&dir.path().join("link"), account), Err(PrivateError::SocketDir { .. })));
    }

    #[test]
    fn a_cluster_starts_restarts_over_its_leftover_and_keeps_its_data() {
        let dir = tempfile::Builder::new().prefix("pc").tempdir().unwrap();
        // As root the server's own account must be able to enter.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (data, socket, password) =
            (dir.path().join("pg"), dir.path().join("s"), dir.path().join("password"));
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
