//! Hosts whose documents may describe clients.

use serde::{Deserialize, Deserializer, Serialize, de};
use url::{Host, Url};

/// Characters of one.
const MAX_LENGTH: usize = 260;

/// A host, or all names under one (`*.example.com`); with a port where it is not 443.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HostPattern(String);

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        // Spelt as a URL has it, so that comparing letters is enough.
        let plain_port = |port: &str| {
            port.parse::<u16>().is_ok_and(|number| ![0, 443].contains(&number) && number.to_string() == port)
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let canonical = matches!(Host::parse(name), Ok(Host::Domain(domain)) if domain == name);
        let short = text.len() <= MAX_LENGTH && !name.contains('*');
        // All names under a whole top-level domain are too many to have been meant.
        let narrow = !host.starts_with("*.") || name.contains('.');
        (short && canonical && narrow && port.is_none_or(plain_port)).then(|| Self(text.to_owned()))
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

    /// Whether the URL is at such a host.
    #[must_use]
    pub fn admits(&self, url: &Url) -> bool {
        let (host, port) = match self.0.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (self.0.as_str(), None),
        };
        let Some(Host::Domain(name)) = url.host() else { return false };
        let same = match host.strip_prefix("*.") {
            Some(parent) => {
                let label = name.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty())
            }
            None => name == host,
        };
        same && url.port() == port
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(
                "must be a host name in lower case, or `*.` and one, and `:` and a port where that is not 443",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_admits_its_own_urls_alone() {
        let admits =
            |pattern: &str, url: &str| HostPattern::parse(pattern).unwrap().admits(&Url::parse(url).unwrap());
        assert!(admits("app.example", "https://app.example/c"));
        assert!(admits("app.example", "https://APP.example:443/c"));
        assert!(admits("app.example:8443", "https://app.example:8443/c"));
        assert!(admits("*.app.example", "https://a.b.app.example/c"));
        for (pattern, url) in [
            ("app.example", "https://app.example:8443/c"),
            ("app.example:8443", "https://app.example/c"),
            ("app.example", "https://x.app.example/c"),
            ("app.example", "https://app.example.evil.example/c"),
            ("app.example", "https://app.example@evil.example/c"),
            ("*.app.example", "https://app.example/c"),
            ("*.app.example", "https://evilapp.example/c"),
            ("*.app.example", "https://.app.example/c"),
            ("app.example", "https://127.0.0.1/c"),
        ] {
            assert!(!admits(pattern, url), "{pattern} {url}");
        }
        let long = format!("{}.example", "a.".repeat(130));
        for wrong in [
            "",
            "*",
            "*.",
            "*.com",
            "App.example",
            "https://app.example",
            "app.example/",
            "127.0.0.1",
            "[::1]",
            "app.example:443",
            "app.example:0",
            "app.example:080",
            "app.example:",
            "a.*.example",
            "*.*.example",
            "münchen.example",
            "a b.example",
            &long,
        ] {
            assert!(HostPattern::parse(wrong).is_none(), "{wrong}");
        }
    }
}
