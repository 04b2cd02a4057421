//! Where Redis is.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::link::BUDGET;

/// Where Redis is and how to get in, as a URL; with an `s` after `redis`, over TLS:
/// - `redis://[user][:password@]host[:port][/database]`, one server;
/// - `redis+sentinel://[user][:password@]sentinel[:port],…/master[/database][?sentinel_user=…&sentinel_password=…]`, the
///   master that more than half of these sentinels name, so all of them belong here; user and password are the data servers',
///   what begins with `sentinel_` is told to the sentinels. Without a port 26379;
/// - `redis+cluster://[user][:password@]host[:port],…`, a Redis Cluster, of which these are some nodes.
#[derive(Clone)]
pub struct Address {
    pub(crate) kind: Kind,
    /// PEM of the authorities that may vouch for the server; the public ones when `None`.
    authorities: Option<Vec<u8>>,
    budget: Duration,
}

#[derive(Clone)]
pub(crate) enum Kind {
    One(SecretString),
    Cluster(Vec<SecretString>),
    Sentinel(Sentinels),
}

/// Sentinels, and what to ask them for.
#[derive(Clone)]
pub(crate) struct Sentinels {
    pub(crate) urls: Vec<SecretString>,
    pub(crate) master: String,
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// `user:password@`, or nothing, as in the URL.
    userinfo: SecretString,
    database: u32,
}

/// Why an address cannot be used. Says nothing of the address: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("the Redis URL cannot be read")]
    NotAUrl,
    /// Another scheme.
    #[error(
        "the Redis URL must begin with redis:// or rediss://, or with redis+sentinel://, redis+cluster:// or the same with \
         rediss"
    )]
    Scheme,
    /// A URL without a host.
    #[error("the Redis URL names no host")]
    NoHost,
    /// Sentinels without the name of the master they watch.
    #[error("a redis+sentinel:// URL must name the master: redis+sentinel://host1,host2,host3/name")]
    NoMaster,
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

/// A URL with several hosts, which `Url` does not know.
struct Parts<'a> {
    scheme: &'static str,
    userinfo: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl Address {
    /// Checks an address. `authorities`: PEM of a private CA.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(url: SecretString, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let text = url.expose_secret();
        let (scheme, _) = text.split_once("://").ok_or(AddressError::NotAUrl)?;
        let scheme = scheme.to_ascii_lowercase();
        let (tls, several) = match scheme.split_once('+') {
            Some((tls, several)) => (tls, Some(several)),
            None => (scheme.as_str(), None),
        };
        let tls = match tls {
            "redis" => false,
            "rediss" => true,
            _ => return Err(AddressError::Scheme),
        };
        if text.contains('#') {
            return Err(AddressError::Fragment);
        }
        if authorities.is_some() && !tls {
            return Err(AddressError::AuthoritiesWithoutTls);
        }
        let kind = match several {
            None => {
                check_one(text)?;
                Kind::One(url)
            }
            Some("cluster") => cluster(&Parts::read(text, tls)?)?,
            Some("sentinel") => sentinels(&Parts::read(text, tls)?)?,
            Some(_) => return Err(AddressError::Scheme),
        };
        let address = Self { kind, authorities, budget: BUDGET };
        address.check()?;
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

    /// Hosts and ports, for logs.
    #[must_use]
    pub fn place(&self) -> String {
        let places: Vec<_> = self.urls().iter().filter_map(place).collect();
        places.join(",")
    }

    /// Every server the address names.
    fn urls(&self) -> &[SecretString] {
        match &self.kind {
            Kind::One(url) => std::slice::from_ref(url),
            Kind::Cluster(urls) => urls,
            Kind::Sentinel(sentinels) => &sentinels.urls,
        }
    }

    fn check(&self) -> Result<(), AddressError> {
        for url in self.urls() {
            self.client(url).map_err(|_| AddressError::Unusable)?;
        }
        match &self.kind {
            Kind::Sentinel(sentinels) => {
                self.client(&sentinels.data("localhost", 6379)).map_err(|_| AddressError::Unusable)?;
            }
            Kind::Cluster(urls) => {
                self.cluster(urls).map_err(|_| AddressError::Unusable)?;
            }
            Kind::One(_) => {}
        }
        Ok(())
    }

    /// What connects to the one server at `url`.
    pub(crate) fn client(&self, url: &SecretString) -> redis::RedisResult<redis::Client> {
        match self.certificates() {
            None => redis::Client::open(url.expose_secret()),
            Some(certificates) => redis::Client::build_with_tls(url.expose_secret(), certificates),
        }
    }

    /// What connects to the cluster of which these are nodes.
    pub(crate) fn cluster(&self, urls: &[SecretString]) -> redis::RedisResult<redis::cluster::ClusterClient> {
        let nodes = urls.iter().map(|url| url.expose_secret().to_owned());
        // A command that found its node gone is sent again once. What it then takes twice is too much taken, never too little.
        let builder = redis::cluster::ClusterClientBuilder::new(nodes).retries(1);
        let builder = builder.connection_timeout(NODE).response_timeout(NODE);
        match self.certificates() {
            None => builder.build(),
            Some(certificates) => builder.certs(certificates).build(),
        }
    }

    fn certificates(&self) -> Option<redis::TlsCertificates> {
        let root_cert = Some(self.authorities.clone()?);
        Some(redis::TlsCertificates { client_tls: None, root_cert })
    }
}

/// For one node of a cluster: connecting, and an answer, which who asks does not wait for so long.
const NODE: Duration = Duration::from_secs(1);

impl Sentinels {
    /// The URL of a data server.
    pub(crate) fn data(&self, host: &str, port: u16) -> SecretString {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{}://{}{host}:{port}/{}", self.scheme, self.userinfo.expose_secret(), self.database).into()
    }
}

fn check_one(text: &str) -> Result<(), AddressError> {
    let parsed = Url::parse(text).map_err(|_| AddressError::NotAUrl)?;
    if parsed.host_str().is_none_or(str::is_empty) { Err(AddressError::NoHost) } else { Ok(()) }
}

fn cluster(parts: &Parts<'_>) -> Result<Kind, AddressError> {
    // A cluster has no other database.
    if !["", "0"].contains(&parts.path) || !parts.query.is_empty() {
        return Err(AddressError::Unusable);
    }
    let urls = parts.hosts.iter().map(|host| {
        let url = format!("{}://{}{host}/", parts.scheme, parts.userinfo);
        check_one(&url).map(|()| url.into())
    });
    Ok(Kind::Cluster(urls.collect::<Result<_, _>>()?))
}

fn sentinels(parts: &Parts<'_>) -> Result<Kind, AddressError> {
    let (master, database) = parts.path.split_once('/').unwrap_or((parts.path, "0"));
    if master.is_empty() {
        return Err(AddressError::NoMaster);
    }
    let database = database.parse().map_err(|_| AddressError::Unusable)?;
    let (mut user, mut password) = (String::new(), None);
    for (name, value) in url::form_urlencoded::parse(parts.query.as_bytes()) {
        match &*name {
            "sentinel_user" => user = value.into_owned(),
            "sentinel_password" => password = Some(SecretString::from(value.into_owned())),
            _ => return Err(AddressError::Unusable),
        }
    }
    let urls = parts.hosts.iter().map(|host| {
        let mut url =
            Url::parse(&format!("{}://{host}/", parts.scheme)).map_err(|_| AddressError::NotAUrl)?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(AddressError::NoHost);
        }
        let port = url.port().unwrap_or(26_379);
        // The URL is decoded once more by whoever reads it, and its setters leave a percent sign as it is.
        let escaped = |text: &str| text.replace('%', "%25");
        let password =
            password.as_ref().map(|password| SecretString::from(escaped(password.expose_secret())));
        let password = password.as_ref().map(|password| password.expose_secret());
        url.set_port(Some(port))
            .and_then(|()| url.set_username(&escaped(&user)))
            .and_then(|()| url.set_password(password))
            .map_err(|()| AddressError::Unusable)?;
        Ok(String::from(url).into())
    });
    Ok(Kind::Sentinel(Sentinels {
        urls: urls.collect::<Result<_, _>>()?,
        master: master.to_owned(),
        scheme: parts.scheme,
        userinfo: parts.userinfo.to_owned().into(),
        database,
    }))
}

fn place(url: &SecretString) -> Option<String> {
    let url = Url::parse(url.expose_secret()).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(6379)))
}

impl<'a> Parts<'a> {
    fn read(text: &'a str, tls: bool) -> Result<Self, AddressError> {
        let (_, rest) = text.split_once("://").ok_or(AddressError::NotAUrl)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let hosts: Vec<_> = hosts.split(',').collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(AddressError::NoHost);
        }
        let scheme = if tls { "rediss" } else { "redis" };
        Ok(Self { scheme, userinfo, hosts, path: path.trim_end_matches('/'), query })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("place", &self.place()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
