//! What the control plane reads from servers of others: documents that describe clients, and key sets of issuers that a tenant
//! trusts. Who asks for that is often nobody yet, so whatever is fetched, from where and how often is bounded.
//!
//! HTTPS alone, verified, one GET, no redirects and no proxy. A name is resolved here, every address that it has is checked by the
//! tenant's egress rules, and the connection is made to an address that was checked: what the name says a moment later (DNS
//! rebinding) is not asked. What comes is short, of the right type, and in time, or it is refused.

mod connect;
mod exchange;
mod kept;

use std::{collections::HashMap, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use egress::Rules;
use ids::TenantId;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use seams::{Clock, Entropy, Monotonic};
use tokio::sync::Semaphore;
use url::Url;

use self::kept::{Kept, Place};
use crate::dns::Dns;

/// For everything: resolving, connecting, the request and all of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fetches at once; of one tenant.
const AT_ONCE: usize = 32;
const OF_TENANT: usize = 4;

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client's description of itself (draft-ietf-oauth-client-id-metadata-document).
    ClientMetadata,
    /// The keys of an issuer, or of such a client (RFC 7517).
    KeySet,
}

/// How long a document of a kind is kept.
#[derive(Debug, Clone, Copy)]
struct Ages {
    least: Duration,
    default: Duration,
    most: Duration,
}

impl Kind {
    /// Bytes.
    const fn most(self) -> usize {
        match self {
            Self::ClientMetadata => 5 * 1024,
            Self::KeySet => 64 * 1024,
        }
    }

    fn ages(self) -> Ages {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        match self {
            Self::ClientMetadata => Ages { least: minutes(1), default: minutes(60), most: minutes(24 * 60) },
            // A key that its owner has withdrawn is believed for an hour at most.
            Self::KeySet => Ages { least: minutes(1), default: minutes(5), most: minutes(60) },
        }
    }
}

/// What to fetch, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose rules and whose bounds are used.
    pub tenant: TenantId,
    /// Its egress rules.
    pub rules: &'a Rules,
    /// What.
    pub kind: Kind,
    /// From where.
    pub url: &'a Url,
    /// Something is missing in what is kept: it is fetched anew if it is as old as that.
    pub anew_after: Option<Duration>,
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its bytes.
    pub body: Bytes,
    /// When it was fetched.
    pub at: Monotonic,
    /// How long it may be kept from then on.
    pub age: Duration,
}

/// Why there is no document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Not `https`, or with something in it that has no business there.
    #[error("not a plain https URL")]
    Url,
    /// Too many fetches are under way.
    #[error("too many fetches are under way")]
    Crowded,
    /// DNS does not say where it is.
    #[error("the name cannot be resolved: {0}")]
    Resolve(Arc<str>),
    /// It has an address that must not be reached.
    #[error(transparent)]
    Refused(#[from] egress::Refused),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(io::ErrorKind),
    /// Its certificate is not good, or it does not speak TLS.
    #[error("TLS failed: {0}")]
    Tls(Arc<str>),
    /// It took too long.
    #[error("it took too long")]
    Time,
    /// What came is not HTTP.
    #[error("the exchange broke off: {0}")]
    Exchange(Arc<str>),
    /// Any other status than 200; redirects are not followed.
    #[error("answered with status {0}")]
    Status(u16),
    /// Not JSON, or encoded.
    #[error("the answer is not plain JSON")]
    Type,
    /// Over the limit.
    #[error("the answer is too large")]
    Size,
}

/// The way to servers of others.
pub struct Fetcher {
    dns: Arc<Dns>,
    tls: Arc<ClientConfig>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    places: Semaphore,
    fetching: Mutex<HashMap<TenantId, usize>>,
    kept: Kept,
    patience: Duration,
}

/// A tenant's place, until it is dropped.
struct Turn<'a> {
    fetching: &'a Mutex<HashMap<TenantId, usize>>,
    tenant: TenantId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut fetching = self.fetching.lock();
        if let Some(count) = fetching.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                fetching.remove(&self.tenant);
            }
        }
    }
}

impl Fetcher {
    /// Nothing fetched yet. Servers are verified against the public roots, and `roots` as well.
    ///
    /// # Errors
    /// If one of these cannot be a root.
    pub fn new(
        dns: Arc<Dns>,
        roots: &[CertificateDer<'static>],
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in roots {
            store.add(root.clone())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(store)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            dns,
            tls: Arc::new(tls),
            clock,
            entropy,
            places: Semaphore::new(AT_ONCE),
            fetching: Mutex::default(),
            kept: Kept::default(),
            patience: PATIENCE,
        })
    }

    /// The document: one that is kept, or fetched now. Whoever asks for the same meanwhile waits for the same answer, and one that
    /// failed is not tried again at once.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, wanted: Wanted<'_>) -> Result<Document, FetchError> {
        if !is_plain(wanted.url) {
            return Err(FetchError::Url);
        }
        let came = self.clock.monotonic();
        let place = self.kept.place(&wanted, came);
        if let Some(known) = place.known(&wanted, came) {
            return known;
        }
        let _alone = place.alone().await;
        // Somebody may have fetched it meanwhile.
        if let Some(known) = place.known(&wanted, self.clock.monotonic()) {
            return known;
        }
        self.fetch(&place, &wanted).await
    }

    async fn fetch(&self, place: &Place, wanted: &Wanted<'_>) -> Result<Document, FetchError> {
        let _turn = self.turn(wanted.tenant)?;
        let waiting = tokio::time::timeout(self.patience, self.places.acquire());
        let _place = waiting.await.map_err(|_| FetchError::Crowded)?.map_err(|_| FetchError::Crowded)?;
        let fetching = async {
            let stream = connect::connect(self, wanted).await?;
            exchange::get(stream, wanted).await
        };
        let fetched = tokio::time::timeout(self.patience, fetching).await.unwrap_or(Err(FetchError::Time));
        let result = match fetched {
            Ok((body, age)) => {
                tracing::debug!(tenant.id = %wanted.tenant, url = %wanted.url, "document fetched");
                Ok(Document { body, at: self.clock.monotonic(), age })
            }
            Err(error) => {
                tracing::info!(tenant.id = %wanted.tenant, url = %wanted.url, error.cause = %error, "document not fetched");
                Err(error)
            }
        };
        metrics::counter!(telemetry::metric::DOCUMENTS_FETCHED, "result" => if result.is_ok() { "fetched" } else { "failed" })
            .increment(1);
        place.keep(result, self.clock.monotonic())
    }

    fn turn(&self, tenant: TenantId) -> Result<Turn<'_>, FetchError> {
        let mut fetching = self.fetching.lock();
        let count = fetching.entry(tenant).or_default();
        if *count >= OF_TENANT {
            return Err(FetchError::Crowded);
        }
        *count += 1;
        Ok(Turn { fetching: &self.fetching, tenant })
    }
}

/// Whether the URL is one that could be fetched: `https`, a host, a port, and neither user nor fragment.
#[must_use]
pub fn is_plain(url: &Url) -> bool {
    url.scheme() == "https"
        && url.host().is_some()
        && url.port() != Some(0)
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher(…)")
    }
}
