//! What goes wrong between the planes, on this side.

use std::io;

use crypto::KeyFormatError;
use errors::ErrorCode;

/// Why the proxy has no identity, or cannot use it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no identity and no token to get one with.
    #[error("this proxy has not joined and has no join token")]
    NoToken,
    /// The join token is not one.
    #[error("the join token cannot be used")]
    Token(#[from] KeyFormatError),
    /// The control plane cannot be reached, or is not the one the token or the identity names.
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] tonic::transport::Error),
    /// The control plane refuses the token, or the proxy was revoked.
    #[error("the control plane refuses to enrol this proxy")]
    Refused(#[source] Box<tonic::Status>),
    /// The control plane did not answer properly.
    #[error("the control plane did not answer the request to enrol")]
    Unanswered(#[source] Box<tonic::Status>),
    /// An answer or a stored identity is not consistent in itself.
    #[error("identity: {0}")]
    Identity(&'static str),
    /// A key or request cannot be made.
    #[error("key or certificate request cannot be made")]
    Key(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The identity file cannot be read or written.
    #[error("identity file cannot be read or written")]
    File(#[from] io::Error),
}

impl ControlError {
    /// Its code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NoToken | Self::Token(_) | Self::Refused(_) => ErrorCode::JoinTokenRefused,
            Self::Unreachable(_)
            | Self::Unanswered(_)
            | Self::Identity(_)
            | Self::Key(_)
            | Self::Tls(_)
            | Self::File(_) => ErrorCode::Internal,
        }
    }

    /// A refusal, or no answer.
    pub(super) fn of(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied | tonic::Code::InvalidArgument => {
                Self::Refused(Box::new(status))
            }
            _ => Self::Unanswered(Box::new(status)),
        }
    }

    /// Whether the control plane says that this proxy was revoked.
    pub(super) fn is_revocation(&self) -> bool {
        matches!(self, Self::Refused(status) if is_revocation(status))
    }

    /// The innermost cause, for the log.
    pub(super) fn cause(&self) -> String {
        let mut cause: &dyn std::error::Error = self;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    }
}

/// Whether the control plane says that this proxy was revoked. It is the fleet's that says so: nobody else gets through the
/// handshake.
pub(super) fn is_revocation(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::PermissionDenied && status.message() == ErrorCode::ProxyRevoked.slug()
}
