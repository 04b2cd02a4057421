//! Private servers for one checkout or one test run: a Postgres cluster and a Redis, each on its own socket or loopback
//! port, with its own data. Other servers of the machine are never looked at.

mod account;
mod child;
pub mod postgres;
pub mod redis;

pub use account::Account;
pub use child::{ProcessId, stop_process};

use std::{io, path::PathBuf, process::ExitStatus};

/// Why a private server is not running. The text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// No binaries were found.
    #[error("no {what} binaries found; {remedy}")]
    Missing {
        /// Which server.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A tool of the server failed.
    #[error("{tool} failed ({status}); see {log}")]
    Failed {
        /// Which program.
        tool: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Where it wrote why.
        log: PathBuf,
    },
    /// The server did not answer in time.
    #[error("{what} did not become ready within {seconds} s; see {log}")]
    NotReady {
        /// Which server.
        what: &'static str,
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// The directory for a socket is not the server's alone.
    #[error("{dir} is not a directory that only the server's user may enter; remove it")]
    SocketDir {
        /// Which directory.
        dir: PathBuf,
    },
    /// No user of the machine can own the server's data.
    #[error("Postgres refuses to run as root and neither `postgres` nor `nobody` exists in /etc/passwd")]
    NoAccount,
    /// A file or process could not be handled.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

pub(crate) fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> PrivateError {
    let doing = doing.into();
    move |source| PrivateError::Io { doing, source }
}
