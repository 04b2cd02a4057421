use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

/// `portcullis up`: both planes on this machine, with everything they need.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How many proxies to run (more than one also starts a private Redis)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub proxies: u16,
    /// Delete all data of an earlier run first; a database given by URL keeps its data except the demo tenant
    #[arg(long)]
    pub fresh: bool,
    /// Use this Postgres instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<SecretString>,
    /// Start a private Redis
    #[arg(long)]
    pub redis: bool,
    /// Use this Redis instead of a private one
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<SecretString>,
    /// First of the loopback ports to use
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=65000))]
    pub port_base: u16,
    /// DNS server (address:port) that is asked for proofs of domains; without it those that the system asks
    #[arg(long, value_name = "ADDRESS")]
    pub dns_server: Option<std::net::SocketAddr>,
    /// Do not create the demo tenant and its MCP server
    #[arg(long)]
    pub no_demo: bool,
    /// Serve HTTPS with certificates of a local CA
    #[arg(long)]
    pub tls: bool,
    /// Return when everything runs; `portcullis down` stops it
    #[arg(long)]
    pub detach: bool,
    /// Where the state of the run is kept
    #[arg(long, default_value = ".portcullis")]
    pub dir: PathBuf,
    /// How `--detach` starts the process that stays
    #[arg(long, hide = true)]
    pub background: bool,
}

impl Options {
    /// The database to use; `None`: a private one.
    #[must_use]
    pub fn database_url(&self) -> Option<&str> {
        given(self.database_url.as_ref())
    }

    /// The Redis to use; `None`: a private one or none.
    #[must_use]
    pub fn redis_url(&self) -> Option<&str> {
        given(self.redis_url.as_ref())
    }

    /// Whether a private Redis is to run.
    #[must_use]
    pub fn private_redis(&self) -> bool {
        self.redis_url().is_none() && (self.redis || self.proxies > 1)
    }
}

/// An empty variable is as good as none.
fn given(url: Option<&SecretString>) -> Option<&str> {
    url.map(|url| url.expose_secret()).filter(|url| !url.is_empty())
}

/// Which loopback port is whose: fixed distances from the base.
#[derive(Debug, Clone, Copy)]
pub struct Ports(pub u16);

impl Ports {
    /// Admin API.
    #[must_use]
    pub fn api(self) -> u16 {
        self.0
    }
    /// Authorization servers.
    #[must_use]
    pub fn auth(self) -> u16 {
        self.0 + 1
    }
    /// Enrolment of proxies.
    #[must_use]
    pub fn enrol(self) -> u16 {
        self.0 + 2
    }
    /// Control streams of proxies.
    #[must_use]
    pub fn streams(self) -> u16 {
        self.0 + 3
    }
    /// Health and metrics of the control plane.
    #[must_use]
    pub fn control_admin(self) -> u16 {
        self.0 + 4
    }
    /// Private Redis.
    #[must_use]
    pub fn redis(self) -> u16 {
        self.0 + 5
    }
    /// Demo MCP server.
    #[must_use]
    pub fn demo(self) -> u16 {
        self.0 + 6
    }
    /// Gateway of proxy `index`.
    #[must_use]
    pub fn gateway(self, index: u16) -> u16 {
        self.0 + 20 + 2 * index
    }
    /// Health and metrics of proxy `index`.
    #[must_use]
    pub fn proxy_admin(self, index: u16) -> u16 {
        self.0 + 21 + 2 * index
    }
    /// The ports that a run with these options listens on.
    #[must_use]
    pub fn used(self, options: &Options) -> Vec<u16> {
        let mut ports = vec![self.api(), self.auth(), self.enrol(), self.streams(), self.control_admin()];
        ports.extend(options.private_redis().then(|| self.redis()));
        ports.extend((!options.no_demo).then(|| self.demo()));
        ports.extend((0..options.proxies).flat_map(|index| [self.gateway(index), self.proxy_admin(index)]));
        ports
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Options {
        Line::try_parse_from([&["up"], arguments].concat()).unwrap().options
    }

    #[test]
    fn ports_are_distinct_and_only_those_used() {
        let all = Ports(7400).used(&parse(&["--proxies", "64"]));
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (7 + 128, 7 + 128));
        assert_eq!(Ports(65000).used(&parse(&["--proxies", "64"])).into_iter().max(), Some(65147));
        assert!(!Ports(7400).used(&parse(&["--no-demo"])).contains(&7406));
    }

    #[test]
    fn urls_are_not_shown_and_empty_ones_are_none() {
        let options = parse(&["--database-url", "postgres://u:secret@h/d", "--redis-url", ""]);
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!((options.database_url(), options.redis_url()), (Some("postgres://u:secret@h/d"), None));
    }
}
