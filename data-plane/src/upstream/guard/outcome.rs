//! What a call's end says of its server.

use crate::upstream::error::{Fault, UpstreamError, Waiting};

/// What a call's end says of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answers. What it says, a JSON-RPC error or a client error, is another matter.
    Answered,
    /// It cannot be reached, or says so itself.
    Unreachable,
    /// It was reached, and this call came to nothing.
    Unanswered,
    /// Nothing: the call ended on this side.
    Unknown,
}

impl Outcome {
    pub(crate) const fn of(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Resolve(_)
            | UpstreamError::Connect(_)
            | UpstreamError::Tls(_)
            | UpstreamError::Timeout(Waiting::Connect)
            | UpstreamError::Unavailable(502 | 503) => Self::Unreachable,
            // 504: whoever stands before the server has waited for this call.
            UpstreamError::Timeout(Waiting::FirstByte | Waiting::Idle | Waiting::Total)
            | UpstreamError::Broken(_)
            | UpstreamError::Unavailable(_)
            | UpstreamError::Protocol(Fault::Ended) => Self::Unanswered,
            UpstreamError::Unauthorized(_)
            | UpstreamError::Protocol(_)
            | UpstreamError::TooLarge
            | UpstreamError::SessionNotFound => Self::Answered,
            // Whoever calls next is to be told the same, and not that the server is left alone.
            UpstreamError::Pin
            | UpstreamError::Url
            | UpstreamError::AddressRefused(_)
            | UpstreamError::TlsOptions(_)
            | UpstreamError::Credential(_)
            | UpstreamError::Unsigned
            | UpstreamError::Token(_)
            | UpstreamError::Cut(_)
            | UpstreamError::Seal(_) => Self::Unknown,
        }
    }
}
