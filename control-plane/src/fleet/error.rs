//! What goes wrong between the planes, on this side.

use crypto::SealError;
use errors::{ErrorCode, Level};
use tonic::Status;

use crate::{db::StoreError, publish::commit::CommitError};

/// Why fleet work failed.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate cannot be made or read.
    #[error("certificate cannot be made or read")]
    Certificate(#[from] rcgen::Error),
    /// The CA's stored key does not open, or is not a key.
    #[error("the CA's stored key does not open")]
    CaKey(#[source] SealError),
    /// The CA's stored certificate is not one.
    #[error("the CA's stored certificate cannot be read")]
    CaCertificate,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// What proves a client certificate cannot be set up.
    #[error("verification of proxies' certificates cannot be set up")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// What a proxy reported does not compile into its tenant's configuration.
    #[error("the report does not compile")]
    Rejected(#[source] crate::publish::CompileError),
}

impl From<CommitError> for FleetError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Rejected(rejected) => Self::Rejected(rejected),
            CommitError::Store(store) => Self::Store(store),
        }
    }
}

impl FleetError {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            Self::Rejected(_) => ErrorCode::ConfigRejected,
            Self::Certificate(_)
            | Self::CaKey(_)
            | Self::CaCertificate
            | Self::Tls(_)
            | Self::Verifier(_) => ErrorCode::Internal,
        }
    }

    /// Logs the cause and gives the proxy the code alone.
    pub(crate) fn into_status(self) -> Status {
        let code = self.code();
        let cause = std::error::Error::source(&self).map(ToString::to_string).unwrap_or_default();
        match code.entry().level {
            Level::Error => tracing::error!(error.code = code.slug(), error.cause = cause, "{self}"),
            Level::Warn => tracing::warn!(error.code = code.slug(), error.cause = cause, "{self}"),
            Level::Info | Level::Debug => {
                tracing::info!(error.code = code.slug(), error.cause = cause, "{self}")
            }
        }
        match code {
            ErrorCode::StoreUnavailable => Status::unavailable(code.slug()),
            ErrorCode::NotFound => Status::not_found(code.slug()),
            ErrorCode::Conflict => Status::aborted(code.slug()),
            ErrorCode::ConfigRejected => Status::failed_precondition(code.slug()),
            _ => Status::internal(code.slug()),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        FleetError::from(error).into_status()
    }
}
