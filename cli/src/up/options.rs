use std::path::PathBuf;

/// `portcullis up`: both planes on this machine, with everything they need.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How many proxies to run (more than one also starts a private Redis)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub proxies: u16,
    /// Delete all data of an earlier run first
    #[arg(long)]
    pub fresh: bool,
    /// Use this Postgres instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Start a private Redis
    #[arg(long)]
    pub redis: bool,
    /// Use this Redis instead of a private one
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// First of the loopback ports to use
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=65000))]
    pub port_base: u16,
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
    /// All ports of a run with so many proxies.
    pub fn all(self, proxies: u16) -> impl Iterator<Item = u16> {
        (self.0..=self.demo()).chain((0..proxies).flat_map(move |i| [self.gateway(i), self.proxy_admin(i)]))
    }
}
