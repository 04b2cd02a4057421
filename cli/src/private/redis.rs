//! A private Redis on a loopback port, with a password nobody else knows.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};

use super::{PrivateError, ProcessId, io_error, stop_process};
use crate::files;

const INSTALL: &str = "`scripts/setup.sh test` installs them or says how";
const READY_SECONDS: u64 = 10;

/// A running private Redis. Stopped by [`Server::stop`], not by dropping.
#[derive(Debug, Clone)]
pub struct Server {
    port: u16,
    password: SecretString,
    process: ProcessId,
    log: PathBuf,
}

impl Server {
    /// Starts a server with its files in `dir`, on `port` of the loopback address.
    pub fn start(
        dir: &Path,
        port: u16,
        password_file: &Path,
        entropy: &dyn seams::Entropy,
    ) -> Result<Self, PrivateError> {
        let binary = find_binary().ok_or(PrivateError::Missing { what: "Redis", remedy: INSTALL })?;
        files::private_dir(dir).map_err(io_error(format!("create {}", dir.display())))?;
        let password = files::read_or_create(password_file, || hex::encode(entropy.bytes::<24>()).into())
            .map_err(io_error("keep the Redis password"))?;
        let password = SecretString::from(String::from_utf8_lossy(&password).trim());
        let log = dir.join("redis.log");
        // A file, not arguments: arguments are visible to every user of the machine.
        let config = dir.join("redis.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {}\ndir {}\nlogfile {}\nsave \"\"\n\
             appendonly no\ndaemonize no\n",
            password.expose_secret(),
            quoted(dir),
            quoted(&log)
        );
        files::write_private(&config, text.as_bytes()).map_err(io_error("write the Redis configuration"))?;
        let mut command = Command::new(&binary);
        // Debian ships one program under several names; its name decides what it is.
        command.arg0("redis-server").arg(&config).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(io_error("start redis-server"))?;
        let process = ProcessId::of(child.id());
        thread::spawn(move || child.wait());
        let not_ready = || PrivateError::NotReady { what: "Redis", seconds: READY_SECONDS, log: log.clone() };
        let server = Self { port, password, process: process.ok_or_else(not_ready)?, log: log.clone() };
        for _ in 0..READY_SECONDS * 50 {
            if server.answers() {
                return Ok(server);
            }
            if !server.process.is_alive() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        server.stop();
        Err(not_ready())
    }

    /// URL with the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/", self.password.expose_secret(), self.port)
    }

    /// The server process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Where the server writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Stops the server.
    pub fn stop(&self) {
        stop_process(self.process, Signal::TERM, Duration::from_secs(5));
    }

    /// Whether the server behind the port is this one: it accepts this password.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let request = format!("AUTH {}\r\nPING\r\n", self.password.expose_secret());
        let mut reply = [0; 12];
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && stream.write_all(request.as_bytes()).is_ok()
            && stream.read_exact(&mut reply).is_ok()
            && reply == *b"+OK\r\n+PONG\r\n"
    }
}

/// A path as one word of the configuration file.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// `redis-server`, or the program of Debian's redis-tools that becomes it under that name: the tools bring no service
/// that would start by itself.
#[must_use]
pub fn find_binary() -> Option<PathBuf> {
    crate::run::environment::search_path()
        .into_iter()
        .flat_map(|dir| ["redis-server", "redis-check-rdb"].map(|name| dir.join(name)))
        .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_starts_and_answers_only_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server =
            Server::start(dir.path(), port, &dir.path().join("password"), &seams::SystemEntropy).unwrap();
        let stranger = Server { password: "other".into(), ..server.clone() };
        assert!(server.answers() && !stranger.answers());
        server.stop();
        assert!(!server.process().is_alive());
    }
}
