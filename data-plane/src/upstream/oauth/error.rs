//! Why there is no token. Small, and nothing of what was sent or answered in it: everybody who waits is told the same.

/// Why there is no token for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// What the gateway shows of itself does not open.
    #[error("its secret does not open")]
    Secret,
    /// Where it would be shown is neither encrypted nor inside.
    #[error("the token endpoint is not https")]
    Insecure,
    /// The egress rules do not admit the address.
    #[error("the token endpoint's address is not allowed")]
    Address,
    /// No connection, or it broke.
    #[error("the token endpoint cannot be reached")]
    Unreachable,
    /// Not in time.
    #[error("the token endpoint does not answer in time")]
    Late,
    /// The issuer's metadata says that it is another's, or says nothing of use.
    #[error("the issuer's metadata cannot be used")]
    Metadata,
    /// It refused, with one of the errors of RFC 6749 section 5.2.
    #[error("the token endpoint refused: {0}")]
    Refused(&'static str),
    /// A status that is neither.
    #[error("the token endpoint answered with status {0}")]
    Status(u16),
    /// What it answered is no token that could be sent.
    #[error("the token endpoint's answer cannot be used")]
    Answer,
}

impl TokenError {
    /// As callers and administrators read it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Secret => "secret_unavailable",
            Self::Insecure => "token_endpoint_insecure",
            Self::Address => "token_endpoint_address_refused",
            Self::Unreachable => "token_endpoint_unreachable",
            Self::Late => "token_endpoint_timeout",
            Self::Metadata => "issuer_metadata_unusable",
            Self::Refused(_) => "token_refused",
            Self::Status(_) | Self::Answer => "token_answer_unusable",
        }
    }
}
