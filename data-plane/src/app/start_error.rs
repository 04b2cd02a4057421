use std::{io, net::SocketAddr};

use errors::ErrorCode;
use listen::files::TlsError;

use crate::{audit::spool::SpoolError, config::ConfigError};

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener's address cannot be bound.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The gateway's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit spool cannot be opened: without it no call could be recorded, so none is taken.
    #[error("audit spool cannot be opened")]
    Spool(#[from] SpoolError),
    /// A thread or runtime cannot be made.
    #[error("threads cannot be started")]
    Threads(#[source] io::Error),
}

impl StartError {
    /// The catalogue's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Config(ConfigError::PlainHttp) => ErrorCode::TlsRequired,
            Self::Spool(_) => ErrorCode::AuditUnavailable,
            Self::Tls(_) => ErrorCode::CertificateUnusable,
            Self::Config(ConfigError::NoWorkers | ConfigError::Spool) | Self::Bind(..) | Self::Threads(_) => {
                ErrorCode::Internal
            }
        }
    }
}
