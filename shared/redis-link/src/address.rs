//! Where Redis is.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::link::BUDGET;

/// Where Redis is and how to get in: `redis://` or, over TLS, `rediss://`, then `[user][:password@]host[:port][/database]`.
#[derive(Clone)]
pub struct Address {
    url: SecretString,
    /// PEM of the authorities that may vouch for the server; the public ones when `None`.
    authorities: Option<Vec<u8>>,
    budget: Duration,
}

/// Why an address cannot be used. Says nothing of the address: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("the Redis URL cannot be read")]
    NotAUrl,
    /// Another scheme.
    #[error("the Redis URL must begin with redis:// or rediss://")]
    Scheme,
    /// A URL without a host.
    #[error("the Redis URL names no host")]
    NoHost,
    /// `#insecure` would accept any server that has some certificate, and tell it the password.
    #[error("the Redis URL must not have a fragment; give a CA file instead of #insecure")]
    Fragment,
    /// Authorities are only asked about over TLS.
    #[error("a CA file for Redis needs a rediss:// URL")]
    AuthoritiesWithoutTls,
    /// The client refuses the address: a database that is no number, a CA file without a certificate.
    #[error("the Redis URL or CA file cannot be used")]
    Unusable,
}

impl Address {
    /// Checks an address. `authorities`: PEM of a private CA.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(url: SecretString, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let parsed = Url::parse(url.expose_secret()).map_err(|_| AddressError::NotAUrl)?;
        if !["redis", "rediss"].contains(&parsed.scheme()) {
            return Err(AddressError::Scheme);
        }
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(AddressError::NoHost);
        }
        if parsed.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        if authorities.is_some() && parsed.scheme() != "rediss" {
            return Err(AddressError::AuthoritiesWithoutTls);
        }
        let address = Self { url, authorities, budget: BUDGET };
        address.client().map_err(|_| AddressError::Unusable)?;
        Ok(address)
    }

    /// The same address, whose answers may take longer than [`BUDGET`]: for tools that no call waits for.
    #[must_use]
    pub fn with_budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }

    /// Host and port, for logs.
    #[must_use]
    pub fn place(&self) -> String {
        let parsed = Url::parse(self.url.expose_secret()).ok();
        let place = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port().unwrap_or(6379))));
        place.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> redis::RedisResult<redis::Client> {
        let url = self.url.expose_secret();
        match &self.authorities {
            None => redis::Client::open(url),
            Some(pem) => redis::Client::build_with_tls(
                url,
                redis::TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) },
            ),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("place", &self.place()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, AddressError> {
        Address::parse(url.into(), None)
    }

    #[test]
    fn addresses_that_can_be_used() {
        for url in [
            "redis://127.0.0.1",
            "redis://:hidden@localhost:7405/2",
            "rediss://user:hidden@redis.example.com:6380/",
            "redis://[::1]:6379/",
        ] {
            let address = parse(url).unwrap();
            assert!(!format!("{address:?}").contains("hidden"), "{address:?}");
        }
        assert_eq!(parse("redis://h/").unwrap().place(), "h:6379");
    }

    #[test]
    fn addresses_that_cannot_say_why_and_not_the_password() {
        for (url, expected) in [
            ("hidden", AddressError::NotAUrl),
            ("http://:hidden@h/", AddressError::Scheme),
            ("redis:///0", AddressError::NoHost),
            ("rediss://:hidden@h/#insecure", AddressError::Fragment),
            ("redis://h/hidden", AddressError::Unusable),
        ] {
            let refused = parse(url).unwrap_err();
            assert_eq!(refused, expected, "{url}");
            assert!(!refused.to_string().contains("hidden"));
        }
        let plain = Address::parse("redis://h/".into(), Some(Vec::new()));
        assert_eq!(plain.unwrap_err(), AddressError::AuthoritiesWithoutTls);
    }
}
