//! Certificates in files, followed while the listener runs: whoever renews them only has to write them.
//!
//! What they hold is compared every few seconds, and at SIGHUP. What cannot be used changes nothing: the certificates in force
//! stay, a metric says that the files hold others, and the log says why.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crypto::digest::sha256;
use parking_lot::Mutex;
use rustls::ServerConfig;
use seams::Clock;
use telemetry::metric;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    callers::Wants,
    certificate::{Certificate, CertificateError},
    table::{Certificates, Others},
    tls::{self, Floor},
};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A chain or key is a few kilobytes; whatever is larger is something else.
const MAX_FILE: u64 = 1024 * 1024;

/// TLS of a listener, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// One certificate at least; the first also for callers that ask for no name.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version.
    pub floor: Floor,
}

/// PEM files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub chain: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// Why TLS cannot be spoken, or the files not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// None was given.
    #[error("TLS needs a certificate")]
    NoCertificate,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        #[source]
        /// Why.
        source: io::Error,
    },
    /// What it holds cannot be used.
    #[error("{path} cannot be used: {source}")]
    Certificate {
        /// Its chain's file.
        path: PathBuf,
        #[source]
        /// Why.
        source: CertificateError,
    },
    /// Nobody would accept it.
    #[error("the certificate in {0} has expired")]
    Expired(PathBuf),
    /// Versions and suites.
    #[error("TLS cannot be configured")]
    Config(#[from] rustls::Error),
}

/// Certificates that come from files.
#[derive(Debug)]
pub struct Followed {
    files: Vec<CertificateFiles>,
    certificates: Arc<Certificates>,
    config: Arc<ServerConfig>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// What was found at the last look: the digest of all files, or why they could not be read.
    found: String,
    /// When the first of the certificates in force expires, in seconds since 1970.
    not_after: i64,
}

/// What a look at the files led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// They hold what they held.
    Same,
    /// What they hold is in force.
    Loaded,
    /// What they hold cannot be used; what was in force stays.
    Refused,
}

impl Followed {
    /// Reads all files. An expired certificate is taken here, with a warning: the machine's clock may be wrong.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(tls: &Tls, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        Self::open_with(tls, None, clock)
    }

    /// The same, with certificates from elsewhere for the names that those in the files are not for.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open_with(
        tls: &Tls,
        others: Option<Arc<dyn Others>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TlsError> {
        Self::open_asking(tls, others, None, clock)
    }

    /// The same, which asks callers for a certificate while somebody wants that.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open_asking(
        tls: &Tls,
        others: Option<Arc<dyn Others>>,
        wants: Option<Arc<dyn Wants>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TlsError> {
        if tls.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let (found, contents) = read(&tls.certificates)?;
        let certificates = parse(&contents, None)?;
        let not_after = first_end(&certificates);
        let resolver = Arc::new(Certificates::new(&certificates).and_others(others));
        let config = Arc::new(tls::server_asking(resolver.clone(), tls.floor, wants)?);
        let followed = Self {
            files: tls.certificates.clone(),
            certificates: resolver,
            config,
            clock,
            seen: Mutex::new(Seen { found, not_after }),
        };
        if followed.measure() <= 0.0 {
            tracing::error!("a certificate has expired; callers will not accept it");
        }
        metrics::gauge!(metric::TLS_FILES_REFUSED).set(0.0);
        Ok(Arc::new(followed))
    }

    /// What listeners speak; always with the certificates that are in force.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Looks at the files now and then, and at every SIGHUP, until `stopping`.
    pub async fn follow(self: Arc<Self>, stopping: CancellationToken) {
        self.follow_every(LOOK_EVERY, stopping).await;
    }

    async fn follow_every(self: Arc<Self>, every: Duration, stopping: CancellationToken) {
        let mut hangups = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(error.cause = %error, "SIGHUP cannot be followed"))
            .ok();
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(every) => {}
                _hangup = hangup => {}
            }
            let own = Arc::clone(&self);
            // A file may be on a network. Whether this one look was cut off does not matter.
            let _ended = tokio::task::spawn_blocking(move || own.look()).await;
        }
    }

    /// Puts in force what the files hold now.
    pub fn look(&self) -> Look {
        let (found, contents) = match read(&self.files) {
            Ok((found, contents)) => (found, Ok(contents)),
            Err(error) => (error.to_string(), Err(error)),
        };
        if std::mem::replace(&mut self.seen.lock().found, found.clone()) == found {
            self.measure();
            return Look::Same;
        }
        match contents.and_then(|contents| parse(&contents, Some(&*self.clock))) {
            Ok(certificates) => {
                self.certificates.replace(&certificates);
                self.seen.lock().not_after = first_end(&certificates);
                self.measure();
                metrics::counter!(metric::TLS_FILES_READ, "result" => "loaded").increment(1);
                metrics::gauge!(metric::TLS_FILES_REFUSED).set(0.0);
                tracing::info!("certificates were read again and are in force");
                Look::Loaded
            }
            Err(error) => {
                metrics::counter!(metric::TLS_FILES_READ, "result" => "refused").increment(1);
                metrics::gauge!(metric::TLS_FILES_REFUSED).set(1.0);
                tracing::error!(
                    error.cause = %error,
                    "certificate files cannot be used; those read before stay in force"
                );
                Look::Refused
            }
        }
    }

    /// Seconds that the first certificate to expire still has.
    fn measure(&self) -> f64 {
        let remaining = self.seen.lock().not_after - seconds(&*self.clock);
        metrics::gauge!(metric::TLS_CERTIFICATE_REMAINING).set(remaining as f64);
        remaining as f64
    }
}

/// What the files of one certificate hold.
struct Contents<'a> {
    files: &'a CertificateFiles,
    chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Contents<'_> {
    /// With a clock, what has expired is refused: it is no better than what is in force.
    fn parse(&self, clock: Option<&dyn Clock>) -> Result<Certificate, TlsError> {
        let path = || self.files.chain.clone();
        let certificate = Certificate::from_pem(&self.chain, &self.key)
            .map_err(|source| TlsError::Certificate { path: path(), source })?;
        match clock {
            Some(clock) if certificate.not_after <= seconds(clock) => Err(TlsError::Expired(path())),
            _ => Ok(certificate),
        }
    }
}

fn parse(contents: &[Contents<'_>], clock: Option<&dyn Clock>) -> Result<Vec<Certificate>, TlsError> {
    contents.iter().map(|each| each.parse(clock)).collect()
}

fn read(files: &[CertificateFiles]) -> Result<(String, Vec<Contents<'_>>), TlsError> {
    let mut contents = Vec::with_capacity(files.len());
    let mut digests = String::new();
    for files in files {
        let (chain, key) = (read_file(&files.chain)?, read_file(&files.key)?);
        digests.push_str(&hex::encode(sha256(&chain)));
        digests.push_str(&hex::encode(sha256(&key)));
        contents.push(Contents { files, chain, key });
    }
    Ok((digests, contents))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Since 1970.
fn seconds(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().secs()).unwrap_or(i64::MAX)
}

fn first_end(certificates: &[Certificate]) -> i64 {
    certificates.iter().map(|each| each.not_after).min().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
