//! Processes of the built binary, and the loopback ports they are given.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use portcullis_cli::private::ProcessId;
use rustix::process::Signal;
use seams::{Entropy, SystemEntropy};

/// What an orderly end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(5);

/// The binary: that of `PORTCULLIS_BIN`, or the one that cargo built beside this test.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("PORTCULLIS_BIN") {
        return given.into();
    }
    let own = std::env::current_exe().unwrap();
    // A test lies in target/<profile>/deps, a tool in target/<profile>.
    let mut places = own.ancestors().skip(1).take(2).map(|dir| dir.join("portcullis"));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no portcullis beside {}: build it with `cargo build --workspace --bins`, or run `make test`",
            own.display()
        )
    })
}

/// A command of the binary, without variables of the caller's that it would read.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut line = Command::new(binary());
    line.arg(name).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["DATABASE_URL", "REDIS_URL", "PG", "PORTCULLIS_"].iter().any(|prefix| name.starts_with(prefix)) {
            line.env_remove(name);
        }
    }
    line
}

/// The first of `count` free ports in a row, below those that other tests are given by the system.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    let entropy: &dyn Entropy = &SystemEntropy;
    loop {
        let base = 10_000 + u16::from_le_bytes(entropy.bytes()) % 20_000;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (base..base + count).all(is_free) {
            return base;
        }
    }
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `portcullis <arguments>`; what it writes is added to `log`.
    #[must_use]
    pub fn start(arguments: &[OsString], environment: &[(&str, String)], log: &Path) -> Self {
        let (name, rest) = arguments.split_first().expect("a command");
        let out = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut line = command(name.to_str().expect("a command's name is text"));
        line.args(rest).envs(environment.iter().map(|(name, value)| (name, value.as_str())));
        let child = line.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = ProcessId::of(self.id()) {
            process.signal(signal);
        }
    }

    /// SIGTERM, and its end, which must be an orderly one. Blocks.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}; its log ends:\n{}", self.last_words());
    }

    /// The last lines of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn ended(&mut self) -> ExitStatus {
        let mut waited = Duration::ZERO;
        while waited < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(STEP);
            waited += STEP;
        }
        panic!("process {} does not end; its log ends:\n{}", self.id(), self.last_words());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
