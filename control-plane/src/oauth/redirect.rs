//! Where a client's users may be sent back to with an answer. Sent elsewhere, an answer is somebody else's: so what is registered is
//! narrow, and what is asked for has to be one of these, letter by letter (RFC 9700 section 2.1). The one exception is the port of a
//! loopback address, which an application on the user's own machine learns when it starts (RFC 8252 section 7.3).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use url::{Host, Url};

/// Characters of one.
pub const MAX_LENGTH: usize = 2_048;
/// Redirect URIs of one client.
pub const MOST: usize = 20;

/// What answers add to the query (RFC 6749 sections 4.1.2 and 4.2.2, RFC 9207 section 2): what stands there already would be read as an
/// answer, or hide one.
const ANSWERS: [&str; 10] = [
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "response",
    "access_token",
    "id_token",
    "session_state",
];

/// Loopback addresses, as they stand in a URL.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// A redirect URI as a client has it registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Not a URI as short, plain and canonical as it has to be.
    #[error(
        "must be a URI of at most 2048 characters, without quotes and angle brackets, spelt as browsers spell it"
    )]
    Spelling,
    /// Of a scheme that anybody answers to, or that runs what stands in it.
    #[error(
        "must be `https`, `http` on `localhost`, `127.0.0.1` or `[::1]`, or a scheme that is a name with a period and a path, such as `com.example.app:/callback`"
    )]
    Scheme,
    /// It has a part that answers cannot be added to, or that hides where it leads.
    #[error(
        "must have neither a fragment nor a user name nor port 0, and in its query nothing that an answer has"
    )]
    Part,
}

impl RedirectUri {
    /// Reads one.
    ///
    /// # Errors
    /// [`RedirectUriError`].
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        // A URI can do without quotes and angle brackets, and in a page each of them ends something.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"'<>`".contains(&byte));
        if text.len() > MAX_LENGTH || !plain {
            return Err(RedirectUriError::Spelling);
        }
        let url = Url::parse(text).map_err(|_| RedirectUriError::Spelling)?;
        let named = !url.username().is_empty() || url.password().is_some();
        let answers = url.query_pairs().any(|(name, _)| ANSWERS.contains(&&*name));
        if text.contains('#') || named || answers || url.port() == Some(0) {
            return Err(RedirectUriError::Part);
        }
        // Spelt otherwise, a browser would read another URI than the one that was compared. It leaves port 80 out, which on loopback is
        // as good as any.
        let (canonical, spelt) = (url.as_str(), without_port_80(text));
        if canonical != spelt && canonical.strip_suffix('/') != Some(&spelt) {
            return Err(RedirectUriError::Spelling);
        }
        let own = match (url.scheme(), url.host()) {
            ("https", Some(_)) => true,
            ("http", Some(Host::Domain(name))) => name == "localhost",
            ("http", Some(_)) => LOOPBACK.iter().any(|loopback| after(text, loopback).is_some()),
            // RFC 8252 section 7.1: a name under a domain of the application's maker.
            (scheme, _) => {
                let rest = text.strip_prefix(scheme).unwrap_or_default();
                scheme.contains('.')
                    && scheme.split('.').all(|label| !label.is_empty())
                    && rest.starts_with(":/")
            }
        };
        if own { Ok(Self(text.to_owned())) } else { Err(RedirectUriError::Scheme) }
    }

    /// From the database, where only valid ones are.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a user who is to be sent to `asked` may be.
    #[must_use]
    pub fn admits(&self, asked: &str) -> bool {
        if self.0 == asked {
            return true;
        }
        LOOPBACK.iter().any(|loopback| {
            let own = after(&self.0, loopback);
            own.is_some() && own == after(asked, loopback) && Self::parse(asked).is_ok()
        })
    }
}

/// The text, but for port 80 of a loopback address.
fn without_port_80(text: &str) -> Cow<'_, str> {
    for loopback in LOOPBACK {
        let rest = text.strip_prefix(loopback).and_then(|rest| rest.strip_prefix(":80"));
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(['/', '?'])) {
            return format!("{loopback}{rest}").into();
        }
    }
    text.into()
}

/// What follows a loopback address and its port; `None`: it is not there, or its name goes on.
fn after<'a>(text: &'a str, loopback: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(loopback)?;
    let rest = match rest.strip_prefix(':') {
        Some(port) => port.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// As many as a client may have, each once.
///
/// # Errors
/// If they are more.
pub fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RedirectUri>, D::Error> {
    let all = Vec::<RedirectUri>::deserialize(deserializer)?;
    let twice = all.iter().enumerate().any(|(n, uri)| all[..n].contains(uri));
    if all.len() > MOST || twice {
        return Err(de::Error::custom(format!("must be at most {MOST} different ones")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
