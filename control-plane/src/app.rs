//! The control plane, put together.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crypto::{ExposeSecret, KekError, KeyFormatError, KeyKind, key};
use ids::PoolId;
use limits::{AddressTable, Decision};
use listen::files::Followed;
use redis_link::Link;
use seams::{Clock, Entropy};
use tokio::sync::watch;

use crate::{
    assertions,
    config::Config,
    db::{Store, StoreError},
    dns::Dns,
    fetch::{Fetcher, Sources},
    fleet::{self, FleetError},
    global,
    hashing::Hashing,
    http::{
        admin, idempotency,
        known::Known,
        middleware,
        quota::Quotas,
        router,
        serve::{self, ListenError},
        watch::Watches,
    },
    kills::{self, Kills},
    looks::Looks,
    oauth::{self, attempts::Attempts, issuer::Issuers, registration},
    people::{attempts::SignIns, session},
    publish::{hub::Hub, trim},
    resources::{
        credential_ages::uses::{self, KeyUses},
        tenants::types::SHARED_POOL,
    },
    secrets::Secrets,
    tasks::Tasks,
};

mod queries;

/// What every part of the control plane works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Core {
    /// Postgres.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Keys of the installation.
    pub secrets: Arc<Secrets>,
    /// The kill switch.
    pub kills: Arc<Kills>,
    /// Proxies revoked lately.
    pub revocations: Arc<fleet::Revocations>,
    /// Running tasks.
    pub tasks: Tasks,
    /// DNS.
    pub dns: Arc<Dns>,
    /// The way to servers of others.
    pub fetcher: Fetcher,
    /// Configuration.
    pub config: Arc<Config>,
    /// What callers have used of the admin API.
    pub quotas: Arc<Quotas>,
    /// Failed authentications by address.
    failures: Arc<AddressTable>,
    /// Tokens that exist.
    pub known: Arc<Known>,
    /// The way to Redis; `None` where none is configured.
    pub redis: Option<Link>,
    /// Open watches at this replica.
    pub watches: Arc<Watches>,
    /// Counts this replica's polls of the database: whoever waits for news looks again when it does.
    pub polls: watch::Sender<u64>,
    /// Answers to keyed writes that were stored here.
    pub answers: Arc<idempotency::Written>,
    /// Looks of those who wait for news.
    pub looks: Arc<Looks>,
    /// Tenants' issuers that were asked for lately.
    pub issuers: Arc<Issuers>,
    /// Clients' authentications, counted.
    pub attempts: Arc<Attempts>,
    /// Clients that come by themselves, counted.
    pub registrations: Arc<registration::limits::Limits>,
    /// Turns for hashing secrets.
    pub hashing: Arc<Hashing>,
    /// People's attempts to sign in, counted.
    pub sign_ins: Arc<SignIns>,
    /// Uses of API keys that are not noted yet.
    pub key_uses: Arc<KeyUses>,
}

impl Core {
    /// Whether this address may present a credential now of which nothing is known.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn may_authenticate(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let Some(address) = address else { return Ok(()) };
        match self.failures.peek(address, self.clock.monotonic().nanos(), self.config.api_limits.failures, 1)
        {
            Decision::Refuse { retry_after, .. } => Err(retry_after),
            Decision::Admit { .. } => Ok(()),
        }
    }

    /// This address presented a credential that is none.
    pub fn authentication_failed(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            let rate = self.config.api_limits.failures;
            self.failures.try_take(address, self.clock.monotonic().nanos(), rate, 1);
        }
    }
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The master key file is not one.
    #[error("the master key file cannot be used")]
    MasterKey(#[from] KekError),
    /// The configured operator token is not one.
    #[error("the configured operator token cannot be used")]
    OperatorToken(#[from] KeyFormatError),
    /// Postgres.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// What proxies connect to.
    #[error("proxies cannot be served")]
    Fleet(#[from] FleetError),
    /// The key that signs kill sets.
    #[error("kill sets cannot be signed")]
    KillKey(#[from] crypto::signature::SigningKeyError),
    /// A root that is none.
    #[error("the certificates for fetching cannot be used")]
    FetchRoots(#[source] rustls::Error),
    /// A listener cannot be.
    #[error("cannot listen")]
    Listen(#[from] ListenError),
}

/// The control plane.
#[derive(Debug, Clone, Copy)]
pub struct ControlPlane;

/// A running control plane.
#[derive(Debug)]
pub struct Running {
    /// REST API.
    pub api_addr: SocketAddr,
    /// Authorization servers.
    pub auth_addr: SocketAddr,
    /// Where proxies enrol.
    pub enrol_addr: SocketAddr,
    /// Where enrolled proxies connect.
    pub grpc_addr: SocketAddr,
    /// Health and metrics.
    pub admin_addr: SocketAddr,
    core: Core,
}

/// How many addresses' failed authentications are remembered.
const ADDRESSES: usize = 16 * 1024;

fn address_seed(entropy: &dyn Entropy) -> [u64; 4] {
    std::array::from_fn(|_| u64::from_le_bytes(entropy.bytes()))
}

/// How often work that nobody asks for is done, such as making audit partitions.
const HOUSEKEEPING: Duration = Duration::from_secs(6 * 60 * 60);
/// How long shutdown waits for requests and streams.
const SHUTDOWN_TIME: Duration = Duration::from_secs(25);

impl ControlPlane {
    /// Brings the database up to date, listens, and serves until [`Running::shutdown`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Running, StartError> {
        // Before anything is counted.
        telemetry::metrics_handle();
        let secrets = Arc::new(Secrets::from_master_key(&config.master_key.0)?);
        let kills = Arc::new(Kills::new(&secrets, config.state_dir.clone())?);
        let own = Arc::clone(&clock);
        let api_tls = config.api_tls.as_ref().map(|tls| Followed::open(tls, own)).transpose();
        let api_tls = api_tls.map_err(ListenError::Tls)?;
        let front = config.api_front.clone().map(Arc::new);
        let encrypted = api_tls.is_some() || front.as_ref().is_some_and(|front| front.ends_tls());
        let api = serve::bind(config.api_listen, encrypted).await?;
        let auth = serve::bind(config.auth_listen, encrypted).await?;
        let admin = serve::bind(config.admin_listen, true).await?;
        let enrol = serve::bind(config.enrol_listen, true).await?;
        let grpc = serve::bind(config.grpc_listen, true).await?;
        let bound = |listener: &tokio::net::TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let (api_addr, admin_addr) = (bound(&api, config.api_listen), bound(&admin, config.admin_listen));
        let auth_addr = bound(&auth, config.auth_listen);
        let (enrol_addr, grpc_addr) = (bound(&enrol, config.enrol_listen), bound(&grpc, config.grpc_listen));

        let store = Store::open(&config.database_url, config.pools).await?;
        store.ensure_audit_partitions(clock.now()).await?;
        let failures = Arc::new(AddressTable::new(ADDRESSES, address_seed(&*entropy)));
        let attempts = Arc::new(Attempts::new(&*entropy));
        let sign_ins = Arc::new(SignIns::new(&*entropy));
        let issuers = Arc::new(Issuers::new(&*entropy));
        let registrations = Arc::new(registration::limits::Limits::new(&*entropy));
        let dns = Arc::new(Dns::new(config.dns_server));
        let tasks = Tasks::new();
        let sources =
            Sources { roots: &config.fetch_roots, networks: &config.fetch_networks, own: &config.urls };
        let (to_names, seams) = (Arc::clone(&dns), (Arc::clone(&clock), Arc::clone(&entropy)));
        let fetcher = Fetcher::new(to_names, sources, tasks.clone(), seams.0, seams.1);
        let redis = config.redis.clone().map(|address| start_redis(address, &tasks, &entropy));
        let core = Core {
            store,
            clock,
            entropy,
            secrets,
            redis,
            kills,
            tasks,
            revocations: Arc::default(),
            watches: Arc::default(),
            key_uses: Arc::default(),
            dns,
            fetcher: fetcher.map_err(StartError::FetchRoots)?,
            polls: watch::Sender::new(0),
            quotas: Arc::new(Quotas::new(config.api_limits)),
            config: Arc::new(config),
            failures,
            known: Arc::default(),
            looks: Arc::default(),
            issuers,
            registrations,
            hashing: Arc::default(),
            attempts,
            sign_ins,
            answers: Arc::default(),
        };
        bootstrap(&core).await?;

        let started = admin::Started::default();
        serve::serve(
            admin,
            None,
            None,
            admin::routes(core.clone(), started.clone()),
            &core.tasks,
            "admin listener",
        );
        let (routes, _) = router::routes().split_for_parts();
        let speaks = api_tls.as_ref().map(|tls| tls.config());
        let (auth_speaks, auth_front) = (speaks.clone(), front.clone());
        serve::serve(api, speaks, front, middleware::stack(routes, &core), &core.tasks, "api listener");
        let routes = middleware::public(oauth::router::routes(), &core);
        serve::serve(auth, auth_speaks, auth_front, routes, &core.tasks, "auth listener");
        if let Some(tls) = api_tls {
            core.tasks.spawn("certificates", tls.follow(core.tasks.stopping()));
        }
        let hub = Hub::start(core.clone()).await?;
        core.kills.start(&core, &hub).await?;
        global::advance::start(&core, &hub);
        fleet::server::start(core.clone(), hub, enrol, grpc).await?;
        core.tasks.spawn("housekeeping", housekeeping(core.clone()));
        core.tasks.spawn("uses of keys", uses::follow(core.clone()));
        core.tasks.spawn("changes of the past", trim::follow(core.clone()));
        core.tasks.spawn("signing keys", oauth::schedule::follow(core.clone()));
        core.tasks.spawn("assertion keys", assertions::schedule::follow(core.clone()));
        core.tasks.spawn("unused clients", registration::sweep::follow(core.clone()));
        core.tasks.spawn("published origins", oauth::origins::publish(core.clone()));
        core.tasks.spawn("private halves", oauth::schedule::tidy(core.clone()));
        started.set();
        tracing::info!(%api_addr, %auth_addr, %enrol_addr, %grpc_addr, %admin_addr, "control plane started");
        Ok(Running { api_addr, auth_addr, enrol_addr, grpc_addr, admin_addr, core })
    }
}

impl Running {
    /// What its parts work with, for programs that it is a part of.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// Stops accepting, lets requests in flight end, and closes the database.
    pub async fn shutdown(self) {
        if !self.core.tasks.shutdown(SHUTDOWN_TIME).await {
            tracing::warn!("some tasks did not end in time");
        }
        self.core.store.close().await;
    }
}

/// What has to exist before the first request: the shared pool, and the operator token that was configured.
async fn bootstrap(core: &Core) -> Result<(), StartError> {
    let now = core.clock.now();
    let mut tx = core.store.operator().await?;
    let pool = PoolId::from_parts(now.millis(), core.entropy.bytes());
    queries::ensure_pool(&mut tx, pool, SHARED_POOL, now.to_offset()).await?;
    if let Some(token) = &core.config.operator_token {
        let token = key::parse(KeyKind::OperatorToken, token.expose_secret())?;
        let id = uuid::Builder::from_unix_timestamp_millis(now.millis(), &core.entropy.bytes()).into_uuid();
        let hash = core.secrets.hash_token(&token);
        queries::ensure_operator_token(&mut tx, id, "configured", token.lookup, &hash, now.to_offset())
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn start_redis(address: redis_link::Address, tasks: &Tasks, entropy: &Arc<dyn Entropy>) -> Link {
    let (link, keeper) = Link::new(address, Arc::clone(entropy));
    let stopping = tasks.stopping();
    tasks.spawn("redis", async move {
        tokio::select! {
            () = keeper.run() => {}
            () = stopping.cancelled() => {}
        }
    });
    link
}

async fn housekeeping(core: Core) {
    let stopping = core.tasks.stopping();
    loop {
        if let Err(error) = fleet::commands::forget(&core).await {
            tracing::error!(error.cause = %error, "commands of the past were not deleted");
        }
        if let Err(error) = idempotency::forget(&core).await {
            tracing::error!(error.cause = %error, "stored answers of the past were not deleted");
        }
        if let Err(error) = kills::forget(&core).await {
            tracing::error!(error.cause = %error, "revocations of the past were not deleted");
        }
        if let Err(error) = oauth::client::forget(&core).await {
            tracing::error!(error.cause = %error, "assertions of the past were not deleted");
        }
        if let Err(error) = oauth::device::forget(&core).await {
            tracing::error!(error.cause = %error, "device codes of the past were not deleted");
        }
        if let Err(error) = oauth::trusted::forget(&core).await {
            tracing::error!(error.cause = %error, "trusted issuers' assertions of the past were not deleted");
        }
        if let Err(error) = oauth::authorize::forget(&core).await {
            tracing::error!(error.cause = %error, "codes and tokens of the past were not deleted");
        }
        if let Err(error) = session::forget(&core).await {
            tracing::error!(error.cause = %error, "sessions of the past were not deleted");
        }
        tokio::select! {
            () = tokio::time::sleep(HOUSEKEEPING) => {}
            () = stopping.cancelled() => return,
        }
        if let Err(error) = core.store.ensure_audit_partitions(core.clock.now()).await {
            tracing::error!(error.cause = %error, "audit partitions were not made; records go to the default partition");
        }
    }
}
