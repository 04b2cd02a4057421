//! Why there is no document. What a server, a certificate or DNS said about it is for logs: to whoever named the URL it would tell what
//! there is where he cannot look himself.

use std::{borrow::Cow, fmt, io, sync::Arc};

/// Characters of a cause that are kept.
const MAX_DETAIL: usize = 200;

/// Why there is no document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Not `https`, with something in it that has no business there, or of this installation.
    #[error("not a URL that documents are fetched from")]
    Url,
    /// Too many are being fetched, or were.
    #[error("too many documents are being fetched")]
    Crowded,
    /// DNS does not say where it is.
    #[error("the name cannot be resolved")]
    Resolve(Detail),
    /// It has an address that must not be reached.
    #[error("the address must not be reached")]
    Refused(egress::Refused),
    /// It has a port that must not be reached.
    #[error("the port must not be reached")]
    Port,
    /// No connection.
    #[error("cannot connect")]
    Connect(io::ErrorKind),
    /// Its certificate is not good, or it does not speak TLS.
    #[error("TLS failed")]
    Tls(Detail),
    /// It took too long.
    #[error("it took too long")]
    Time,
    /// What came is not HTTP.
    #[error("the exchange broke off")]
    Exchange(Detail),
    /// Any other status than 200; redirects are not followed.
    #[error("answered with status {0}")]
    Status(u16),
    /// Not JSON, or encoded.
    #[error("the answer is not plain JSON")]
    Type,
    /// Over the limit.
    #[error("the answer is too large")]
    Size,
}

/// A cause, as it was said, the beginning of it.
#[derive(Debug, Clone)]
pub struct Detail(Arc<str>);

impl Detail {
    pub(super) fn of(cause: impl fmt::Display) -> Self {
        let text: String = cause.to_string().chars().take(MAX_DETAIL).collect();
        Self(text.into())
    }
}

impl FetchError {
    /// Whether a server has answered, and not what was wanted.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Type | Self::Size)
    }

    /// What whoever named the URL may be told: what is wrong with the answer of a server that was reached, which is his, and nothing of
    /// why none was.
    #[must_use]
    pub const fn public(&self) -> &'static str {
        match self {
            Self::Crowded => "too many documents are being fetched",
            Self::Status(_) => "its server does not answer with status 200",
            Self::Type => "it is not served as JSON",
            Self::Size => "it is too large",
            Self::Url
            | Self::Resolve(_)
            | Self::Refused(_)
            | Self::Port
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Time
            | Self::Exchange(_) => "it cannot be fetched",
        }
    }

    /// All of it, for logs.
    pub(super) fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Resolve(cause) | Self::Tls(cause) | Self::Exchange(cause) => {
                format!("{self}: {}", cause.0).into()
            }
            Self::Refused(refused) => format!("{self}: {refused}").into(),
            Self::Connect(kind) => format!("{self}: {kind}").into(),
            Self::Url
            | Self::Crowded
            | Self::Port
            | Self::Time
            | Self::Status(_)
            | Self::Type
            | Self::Size => self.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_is_in_logs_alone() {
        let cause = || Detail::of("valid for secret.example".repeat(100));
        let refused = egress::Rules::default().check([10, 0, 0, 1].into(), 443).unwrap_err();
        let errors = [
            FetchError::Resolve(cause()),
            FetchError::Tls(cause()),
            FetchError::Exchange(cause()),
            FetchError::Refused(refused),
            FetchError::Connect(io::ErrorKind::ConnectionRefused),
            FetchError::Port,
            FetchError::Time,
            FetchError::Url,
        ];
        for error in &errors {
            assert_eq!(error.public(), errors[0].public());
            let text = format!("{error} {}", error.public());
            assert!(
                !text.contains("secret") && !text.contains("private") && !text.contains("refused"),
                "{text}"
            );
            assert!(std::error::Error::source(error).is_none());
        }
        assert!(errors[0].detail().contains("secret.example") && errors[0].detail().len() < 300);
        assert!(errors[3].detail().contains("private"));
    }
}
