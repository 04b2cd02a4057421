//! Who this proxy is: kept on disk, renewed in time, and the connection that shows it.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ids::ProxyId;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use seams::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tonic::transport::Channel;
use wire::v1;

use super::{Config, ControlError, Enrolled, Shared, backoff, channel, enrol, tls};
use crate::snapshot::archive::Archive;

const FILE: &str = "identity.json";
/// Between attempts that were refused: only an operator can change the answer.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);

/// After the fleet's authorities have changed, its proxies renew within this time.
const RENEW_SPREAD: Duration = Duration::from_secs(5);

/// Between renewals at least, whatever the clocks say.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// A key, the certificate over it, and whom to trust.
pub(super) struct Identity {
    pub(super) proxy: ProxyId,
    pub(super) pool: String,
    pub(super) key: KeyPair,
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) ca: Vec<CertificateDer<'static>>,
    pub(super) issued: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The file. Its mode is 0600; a proxy's key never leaves the machine.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    proxy: ProxyId,
    pool: String,
    key_pkcs8: String,
    chain: Vec<String>,
    ca: Vec<String>,
    issued_micros: u64,
    not_after_micros: u64,
}

impl Identity {
    /// Whether its parts belong together.
    pub(super) fn check(&self) -> Result<(), ControlError> {
        let leaf = self.chain.first().ok_or(ControlError::Identity("no certificate"))?;
        if self.ca.is_empty() {
            return Err(ControlError::Identity("no CA"));
        }
        if !enrol::is_over(leaf, &self.key) {
            return Err(ControlError::Identity("the certificate is over another key"));
        }
        Ok(())
    }

    pub(super) fn load(state_dir: &Path) -> Result<Option<Self>, ControlError> {
        let bytes = match fs::read(state_dir.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let broken = ControlError::Identity("file is not an identity");
        let Ok(stored) = serde_json::from_slice::<Stored>(&bytes) else { return Err(broken) };
        let decode = |text: &String| STANDARD.decode(text).map_err(|_| ControlError::Identity("base 64"));
        let certificates = |texts: &[String]| {
            texts.iter().map(|text| decode(text).map(CertificateDer::from)).collect::<Result<Vec<_>, _>>()
        };
        if stored.version != 1 {
            return Err(broken);
        }
        let pkcs8 = crypto::Zeroizing::new(decode(&stored.key_pkcs8)?);
        let identity = Self {
            proxy: stored.proxy,
            pool: stored.pool,
            key: KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &PKCS_ECDSA_P256_SHA256)?,
            chain: certificates(&stored.chain)?,
            ca: certificates(&stored.ca)?,
            issued: Timestamp::from_micros(stored.issued_micros),
            not_after: Timestamp::from_micros(stored.not_after_micros),
        };
        identity.check()?;
        Ok(Some(identity))
    }

    /// Replaces the file whole: a crash leaves the old one or the new one.
    pub(super) fn save(&self, state_dir: &Path) -> Result<(), ControlError> {
        let texts = |list: &[CertificateDer<'_>]| list.iter().map(|each| STANDARD.encode(each)).collect();
        let stored = Stored {
            version: 1,
            proxy: self.proxy,
            pool: self.pool.clone(),
            key_pkcs8: STANDARD.encode(self.key.serialized_der()),
            chain: texts(&self.chain),
            ca: texts(&self.ca),
            issued_micros: self.issued.micros(),
            not_after_micros: self.not_after.micros(),
        };
        let bytes = crypto::Zeroizing::new(serde_json::to_vec(&stored).map_err(io::Error::other)?);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        let temporary = state_dir.join(format!("{FILE}.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, state_dir.join(FILE))?;
        File::open(state_dir)?.sync_all()?;
        Ok(())
    }

    fn enrolled(&self) -> Enrolled {
        Enrolled { proxy_id: self.proxy, pool: self.pool.clone(), not_after: self.not_after }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("proxy", &self.proxy)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Gets the identity, keeps it and renews it for as long as the process lives.
pub(super) struct Keeper {
    pub(super) config: Config,
    pub(super) state_dir: PathBuf,
    pub(super) archive: Arc<Archive>,
    pub(super) shared: Shared,
    pub(super) identity: watch::Sender<Option<Enrolled>>,
    pub(super) channel: watch::Sender<Option<Channel>>,
    /// Whom the fleet trusts, as the control plane last said.
    pub(super) told: watch::Receiver<Option<Trust>>,
}

/// Authorities of the fleet, by the SHA-256 of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    trusted: BTreeSet<[u8; 32]>,
    issuing: [u8; 32],
}

impl Trust {
    /// `None` when what was said makes no sense.
    pub(super) fn of(said: &v1::Authorities) -> Option<Self> {
        let hash = |bytes: &Vec<u8>| bytes.as_slice().try_into().ok();
        let trusted = said.trusted.iter().map(hash).collect::<Option<BTreeSet<_>>>()?;
        let issuing = hash(&said.issuing)?;
        trusted.contains(&issuing).then_some(Self { trusted, issuing })
    }

    /// Whether an identity trusts these and no others, and is of the one that issues.
    fn suits(&self, identity: &Identity) -> bool {
        let trusts: BTreeSet<_> = identity.ca.iter().filter_map(tls::key_hash).collect();
        trusts == self.trusted && identity.chain.get(1).and_then(tls::key_hash) == Some(self.issuing)
    }
}

impl Keeper {
    pub(super) async fn run(self) {
        let stopping = self.shared.tasks.token();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut current = match Identity::load(&self.state_dir) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error.code = error.code().slug(), error.cause = error.cause(), "{error}");
                None
            }
        };
        let mut least = Duration::ZERO;
        loop {
            if let Some(identity) = &current {
                if identity.not_after > self.shared.clock.now() {
                    self.publish(identity).await;
                }
                tokio::select! {
                    () = tokio::time::sleep(self.until_renewal(identity).max(least)) => {}
                    () = self.until_unsuited(identity, least) => {
                        tracing::info!("authorities of the fleet have changed; renewing the certificate");
                    }
                }
            }
            current = Some(self.next(current).await);
            least = RENEW_AGAIN;
        }
    }

    async fn publish(&self, identity: &Identity) {
        // Before the first stream with it brings anything to keep.
        let (archive, proxy) = (Arc::clone(&self.archive), identity.proxy);
        let _panicked = self.shared.tasks.runtime().spawn_blocking(move || archive.belong_to(proxy)).await;
        match tls::mutual(identity, &self.shared.clock) {
            Ok(tls) => {
                self.channel.send_replace(Some(channel::lazy(&self.config.grpc_url, tls)));
                self.identity.send_replace(Some(identity.enrolled()));
            }
            Err(error) => {
                tracing::error!(error.code = error.code().slug(), error.cause = error.cause(), "{error}");
            }
        }
    }

    /// Half of the certificate's life, ±10 %, so that a fleet that was started together does not renew together.
    fn until_renewal(&self, identity: &Identity) -> Duration {
        let life = identity.not_after.since(identity.issued);
        let jitter = backoff::uniform(&*self.shared.entropy, life / 10);
        identity.issued.plus(life * 9 / 20 + jitter).since(self.shared.clock.now())
    }

    /// Until the control plane has said that it trusts others, and then a little, so that a fleet does not renew at once.
    async fn until_unsuited(&self, identity: &Identity, least: Duration) {
        let mut told = self.told.clone();
        let unsuited = told.wait_for(|told| told.as_ref().is_some_and(|told| !told.suits(identity)));
        if unsuited.await.is_err() {
            std::future::pending::<()>().await;
        }
        let wait = backoff::uniform(&*self.shared.entropy, RENEW_SPREAD);
        tokio::time::sleep(wait.max(least)).await;
    }

    /// Tries until there is one. What is stored is not given up before there is another.
    async fn next(&self, current: Option<Identity>) -> Identity {
        let mut waits = backoff::Backoff::default();
        loop {
            let attempt = match self.attempt(current.as_ref()).await {
                Ok(identity) => identity.save(&self.state_dir).map(|()| identity),
                Err(error) => Err(error),
            };
            match attempt {
                Ok(identity) => {
                    tracing::info!(
                        portcullis.proxy.id = %identity.proxy,
                        pool = identity.pool,
                        renewed = current.is_some(),
                        "proxy has a certificate"
                    );
                    return identity;
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code().slug(), error.cause = error.cause(), "{error}");
                    let wait = waits.next(&*self.shared.entropy);
                    let refused = matches!(
                        error,
                        ControlError::Refused(_) | ControlError::NoToken | ControlError::Token(_)
                    );
                    tokio::time::sleep(if refused { REFUSED_AGAIN + wait } else { wait }).await;
                }
            }
        }
    }

    async fn attempt(&self, current: Option<&Identity>) -> Result<Identity, ControlError> {
        let Some(current) = current else { return self.join().await };
        let renewed = enrol::renew(&self.config, current, &self.shared.clock).await;
        if renewed.as_ref().is_err_and(ControlError::is_revocation) {
            // Ends what goes on with the old one.
            self.channel.send_if_modified(|channel| channel.take().is_some());
        }
        match renewed {
            // Unknown there, such as after a new installation was set up: a token, if there is one, joins that.
            Err(ControlError::Refused(status)) if self.config.join_token.is_some() => {
                self.join().await.map_err(|error| match error {
                    ControlError::Refused(_) => ControlError::Refused(status),
                    other => other,
                })
            }
            answer => answer,
        }
    }

    async fn join(&self) -> Result<Identity, ControlError> {
        let token = self.config.join_token.as_ref().ok_or(ControlError::NoToken)?;
        enrol::join(&self.config, token, &self.shared.clock).await
    }
}
