//! Why a call did not come back from the MCP server.

use std::io;

use crypto::SealError;
use errors::ErrorCode;

use super::oauth::TokenError;
use crate::snapshot::index::CredentialUnavailable;

/// Why forwarding failed. What a caller sees is the code; the cause is for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The upstream's URL has no host, or a scheme other than http and https.
    #[error("upstream URL cannot be dialled")]
    Url,
    /// The name did not resolve.
    #[error("upstream's name does not resolve")]
    Resolve(#[source] io::Error),
    /// Every address the name has is one that upstreams may not have.
    #[error("upstream's address is not allowed")]
    AddressRefused(#[source] egress::Refused),
    /// No TCP connection.
    #[error("upstream cannot be connected to")]
    Connect(#[source] io::Error),
    /// TLS failed: certificate, name, version.
    #[error("TLS to the upstream failed")]
    Tls(#[source] io::Error),
    /// The certificate is valid, and its key is not one that was pinned.
    #[error("upstream's key is not one that was pinned")]
    Pin,
    /// The tenant's certificates or server name cannot be used.
    #[error("TLS options of the upstream cannot be used")]
    TlsOptions(#[source] rustls::Error),
    /// The connection broke before the answer was whole.
    #[error("connection to the upstream broke")]
    Broken(#[from] Break),
    /// A time-out of the upstream's configuration.
    #[error("upstream did not answer in time ({0})")]
    Timeout(Waiting),
    /// A credential cannot be opened.
    #[error(transparent)]
    Credential(#[from] CredentialUnavailable),
    /// There is no key with which what the upstream is to be told could be signed.
    #[error("no key signs assertions")]
    Unsigned,
    /// There is no access token to show.
    #[error("no access token for the upstream: {0}")]
    Token(#[from] TokenError),
    /// 401, 403 or 407.
    #[error("upstream refused the gateway's credential (status {0})")]
    Unauthorized(u16),
    /// 502, 503 or 504 without an answer in it.
    #[error("upstream is not available (status {0})")]
    Unavailable(u16),
    /// The answer is none.
    #[error("upstream's answer is not valid: {0}")]
    Protocol(#[from] Fault),
    /// The answer, or one message of it, is over the endpoint's cap.
    #[error("upstream's answer is too large")]
    TooLarge,
    /// The MCP server does not know the session any more.
    #[error("upstream does not know the session")]
    SessionNotFound,
    /// The gateway ended the call.
    #[error("call ended by the gateway: {}", .0.slug())]
    Cut(ErrorCode),
    /// A handle could not be sealed.
    #[error("handle cannot be sealed")]
    Seal(#[from] SealError),
}

/// How a connection broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Break {
    /// The server closed it.
    #[error("closed before the end")]
    Closed,
    /// The body is not framed as HTTP/1.1 frames bodies.
    #[error("body is not framed properly")]
    Framing,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
    /// As the HTTP library says.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// TCP and TLS.
    Connect,
    /// The response's first byte.
    FirstByte,
    /// The response's next byte.
    Idle,
    /// The whole call.
    Total,
}

impl Waiting {
    /// As callers read it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Idle => "idle",
            Self::Total => "total",
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::FirstByte => "first byte",
            Self::Idle => "next byte",
            Self::Total => "whole call",
        })
    }
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Not HTTP.
    #[error("not HTTP")]
    NotHttp,
    /// A status that means nothing here.
    #[error("status {0}")]
    Status(u16),
    /// Neither JSON nor an event stream.
    #[error("content type")]
    ContentType,
    /// Compressed, though `identity` was asked for.
    #[error("content encoding")]
    Encoding,
    /// Not one JSON-RPC message, or one with duplicate keys.
    #[error("{0}")]
    Message(#[from] ::mcp::envelope::ParseError),
    /// A message of the wrong kind, or for another id.
    #[error("not the response to the request")]
    NotTheResponse,
    /// A list result without its list.
    #[error("{0}")]
    List(#[from] ::mcp::list::ListError),
    /// A revision the gateway does not speak.
    #[error("negotiated revision")]
    Revision,
    /// The session id is no header value that could be sent back.
    #[error("session id")]
    SessionId,
    /// A question to the client that the endpoint has switched off, or that does not exist.
    #[error("a question to the client that is not allowed here")]
    Question,
    /// The stream ended before the response came.
    #[error("stream ended before the response")]
    Ended,
}

impl UpstreamError {
    /// The code the caller sees.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Url | Self::Resolve(_) | Self::Connect(_) | Self::Broken(_) | Self::Unavailable(_) => {
                ErrorCode::UpstreamUnreachable
            }
            Self::AddressRefused(_) => ErrorCode::UpstreamAddressRefused,
            Self::Tls(_) | Self::TlsOptions(_) => ErrorCode::UpstreamTlsFailed,
            Self::Pin => ErrorCode::UpstreamPinMismatch,
            Self::Timeout(_) => ErrorCode::UpstreamTimeout,
            Self::Credential(_) | Self::Unsigned | Self::Token(_) => ErrorCode::UpstreamCredentialUnavailable,
            Self::Unauthorized(_) => ErrorCode::UpstreamUnauthorized,
            Self::Protocol(_) => ErrorCode::UpstreamProtocol,
            Self::TooLarge => ErrorCode::ResponseTooLarge,
            Self::SessionNotFound => ErrorCode::SessionNotFound,
            Self::Cut(code) => *code,
            Self::Seal(_) => ErrorCode::Internal,
        }
    }
}
