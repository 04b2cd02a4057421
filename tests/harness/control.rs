//! The control plane of a [`crate::Gateway`], as it is started and started again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use control_plane::{
    app::{ControlPlane, Running, StartError},
    config::{ApiLimits, Config, MasterKeyFile, PublicUrls},
    db::PoolSizes,
};
use crypto::Zeroizing;
use egress::Networks;
use redis_link::Address;
use seams::{Clock, Monotonic, SystemClock, SystemEntropy, Timestamp};
use secrecy::SecretString;
use url::Url;

use crate::web;

/// The machine's clock, and how far its wall clock is set forward. What passes on it is not.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    wall: AtomicU64,
    all: AtomicU64,
}

impl ShiftedClock {
    /// Sets the wall clock forward.
    pub fn set_forward(&self, by: Duration) {
        self.wall.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    /// Lets so much time pass: whatever is kept for a while is that much older.
    pub fn pass(&self, by: Duration) {
        self.all.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let ahead = self.wall.load(Ordering::SeqCst) + self.all.load(Ordering::SeqCst);
        SystemClock.now().plus(Duration::from_micros(ahead))
    }

    fn monotonic(&self) -> Monotonic {
        let passed = self.all.load(Ordering::SeqCst) * 1_000;
        Monotonic::from_nanos(SystemClock.monotonic().nanos() + passed)
    }
}

/// What a restart of the control plane needs again.
pub(crate) struct Settings {
    pub(crate) master_key: Vec<u8>,
    pub(crate) operator_token: SecretString,
    pub(crate) redis: Option<Address>,
    /// Whether notifications of the database are listened for.
    pub(crate) notified: bool,
    pub(crate) enrol: SocketAddr,
    pub(crate) streams: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) auth: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) dns_server: SocketAddr,
    /// Of the gateway's origin, as tokens name it; nothing listens there.
    pub(crate) gateway_port: u16,
}

impl Settings {
    /// On any free ports.
    pub(crate) fn new(
        master_key: Vec<u8>,
        operator_token: SecretString,
        redis: Option<Address>,
        dns_server: SocketAddr,
    ) -> Self {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let (state_dir, clock) = (PathBuf::new(), Arc::default());
        Self {
            master_key,
            operator_token,
            redis,
            notified: true,
            enrol: any,
            streams: any,
            api: any,
            auth: any,
            state_dir,
            clock,
            dns_server,
            gateway_port: 3,
        }
    }

    /// The same installation on other ports.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.master_key.clone(), self.operator_token.clone(), self.redis.clone(), self.dns_server)
    }
}

pub(crate) async fn start_control(settings: &Settings, database_url: &str) -> Result<Running, StartError> {
    let origin = |port: u16| -> Url { format!("http://127.0.0.1:{port}").parse().unwrap() };
    let config = Config {
        database_url: SecretString::from(database_url),
        redis: settings.redis.clone(),
        notified: settings.notified,
        pools: PoolSizes::default(),
        api_listen: settings.api,
        auth_listen: settings.auth,
        enrol_listen: settings.enrol,
        grpc_listen: settings.streams,
        admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
        api_tls: None,
        api_front: None,
        master_key: MasterKeyFile(Zeroizing::new(settings.master_key.clone())),
        operator_token: Some(settings.operator_token.clone()),
        api_limits: ApiLimits::default(),
        dns_server: Some(settings.dns_server),
        fetch_roots: vec![web::root()],
        fetch_networks: Networks::new(["127.0.0.0/8".parse().unwrap()]),
        state_dir: Some(settings.state_dir.clone()),
        urls: PublicUrls { control: origin(1), auth: origin(2), gateway: origin(settings.gateway_port) },
    };
    ControlPlane::start(config, settings.clock.clone(), Arc::new(SystemEntropy)).await
}
