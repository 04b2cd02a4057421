//! What the control plane reads from servers of others: documents that describe clients, and key sets of issuers that a tenant
//! trusts. Who asks for that is often nobody yet, so whatever is fetched, from where and how often is bounded.
//!
//! HTTPS alone, verified, one GET, no redirects and no proxy. A name is resolved here, every address that it has is checked, and the
//! connection is made to an address that was checked: what the name says a moment later (DNS rebinding) is not asked. What comes is
//! short, of the right type, and in time, or it is refused.
//!
//! What a tenant's administrator named and what anybody may name ([`NamedBy`]) share nothing that can be used up: neither turns nor
//! room, and only the former goes where the tenant's egress rules let it.

mod connect;
mod counted;
mod error;
mod exchange;
mod kept;
mod kind;
mod rates;
mod shelf;
mod turns;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use egress::{Networks, Rules};
use ids::TenantId;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::CertificateDer;
use seams::{Clock, Entropy, Monotonic};
use tokio::sync::watch;
use url::Url;

pub use self::{
    error::{Detail, FetchError},
    exchange::Sent,
    kind::Kind,
};
use self::{
    kept::Kept,
    kind::NamedBy,
    rates::Rates,
    turns::{Turn, Turns},
};
use crate::{config::PublicUrls, dns::Dns, tasks::Tasks};

/// For everything: resolving, connecting, the request and all of the answer; and for whoever waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a URL.
const MAX_URL: usize = 2_048;
/// The youngest that something is fetched anew because it lacks something.
const YOUNGEST: Duration = Duration::from_secs(10);

/// What to fetch, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose bounds are used.
    pub tenant: TenantId,
    /// Its egress rules. They count for what its administrator named, and for nothing else.
    pub rules: &'a Rules,
    /// What.
    pub kind: Kind,
    /// From where.
    pub url: &'a Url,
    /// Something is missing in what is kept: it is fetched anew if it is as old as that, and ten seconds at least.
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

/// Whom an operator trusts with documents, and what is his own.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Roots that are trusted beside the public ones.
    pub roots: &'a [CertificateDer<'static>],
    /// Networks from which documents may come, on any port, that strangers name; otherwise port 443 of public addresses.
    pub networks: &'a Networks,
    /// What is served here: strangers do not make us ask ourselves.
    pub own: &'a PublicUrls,
}

/// What is fetched, kept and waited for as one. What was fetched by other rules is another thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    tenant: TenantId,
    kind: Kind,
    url: Url,
    /// The tenant's, where they count.
    rules: Option<Rules>,
}

impl Asked {
    /// The name or address of its server. One with a period behind it is the same.
    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_end_matches('.')
    }
}

/// The way to servers of others. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    dns: Arc<Dns>,
    tls: Arc<ClientConfig>,
    networks: Networks,
    own: Vec<Box<str>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tasks: Tasks,
    kept: Kept,
    turns: Turns,
    rates: Rates,
    under_way: Mutex<HashMap<Asked, Arc<Answer>>>,
}

/// What those wait for who ask for the same.
type Answer = watch::Sender<Option<Result<Document, FetchError>>>;

/// A fetch that is under way, until it is dropped.
struct UnderWay {
    inner: Arc<Inner>,
    asked: Asked,
    _turn: Turn,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.inner.under_way.lock().remove(&self.asked);
    }
}

impl Fetcher {
    /// Nothing fetched yet. Servers are verified against the public roots, and those of `sources` as well.
    ///
    /// # Errors
    /// If one of these cannot be a root.
    pub fn new(
        dns: Arc<Dns>,
        sources: Sources<'_>,
        tasks: Tasks,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, rustls::Error> {
        let own = [&sources.own.control, &sources.own.auth, &sources.own.gateway];
        Ok(Self(Arc::new(Inner {
            dns,
            tls: Arc::new(tls(sources.roots)?),
            networks: sources.networks.clone(),
            own: own.into_iter().filter_map(|url| url.host_str().map(Into::into)).collect(),
            clock,
            tasks,
            kept: Kept::default(),
            turns: Turns::default(),
            rates: Rates::new(&*entropy),
            entropy,
            under_way: Mutex::default(),
        })))
    }

    /// The document: one that is kept, or fetched now. Whoever asks for the same meanwhile waits for the same answer, and one that
    /// failed is not tried again at once. A fetch that has begun ends, whoever still waits for it.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, wanted: Wanted<'_>) -> Result<Document, FetchError> {
        let inner = &self.0;
        let asked = inner.asked(&wanted)?;
        let anew_after = wanted.anew_after.map(|anew| anew.max(YOUNGEST));
        let got = match inner.begin(&asked, anew_after) {
            Ok(Begun::Known(known)) => known,
            Ok(Begun::Waiting(answer)) => wait(answer).await,
            Err(error) => Err(error),
        };
        // Where it cannot be had anew, for whatever reason, what there is stays good for as long as it was.
        got.or_else(|error| inner.kept.document(&asked, inner.clock.monotonic()).ok_or(error))
    }
}

impl Fetcher {
    /// What a server that the tenant's administrator has named answers when it is sent something. Nothing of it is kept, and it is sent
    /// once.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn post(&self, wanted: Wanted<'_>, sent: Sent) -> Result<Bytes, FetchError> {
        let inner = &self.0;
        let asked = inner.asked(&wanted)?;
        let _turn = inner.turns.take(&asked).ok_or(FetchError::Crowded)?;
        inner.rates.take(&asked, inner.clock.monotonic())?;
        let request = exchange::post(&asked.url, sent)?;
        let sending = async {
            let stream = connect::connect(inner, &asked).await?;
            exchange::get(stream, request, asked.kind).await
        };
        let answered = tokio::time::timeout(PATIENCE, sending).await.unwrap_or(Err(FetchError::Time));
        Ok(answered?.0)
    }
}

/// What there is at once.
enum Begun {
    Known(Result<Document, FetchError>),
    Waiting(watch::Receiver<Option<Result<Document, FetchError>>>),
}

async fn wait(
    mut answer: watch::Receiver<Option<Result<Document, FetchError>>>,
) -> Result<Document, FetchError> {
    let waiting = tokio::time::timeout(PATIENCE, answer.wait_for(Option::is_some));
    match waiting.await {
        Ok(Ok(answer)) => answer.clone().unwrap_or(Err(FetchError::Time)),
        // It took too long, or its task is gone.
        Ok(Err(_)) | Err(_) => Err(FetchError::Time),
    }
}

impl Inner {
    /// What is wanted, if it could be fetched at all.
    fn asked(&self, wanted: &Wanted<'_>) -> Result<Asked, FetchError> {
        let url = wanted.url;
        let admin = wanted.kind.named_by() == NamedBy::Admin;
        if !is_plain(url) {
            return Err(FetchError::Url);
        }
        let rules = admin.then(|| wanted.rules.clone());
        let asked = Asked { tenant: wanted.tenant, kind: wanted.kind, url: url.clone(), rules };
        // A tenant may trust another's issuer of this installation; a stranger would make us ask ourselves, again and again.
        let own = !admin && self.own.iter().any(|own| **own == *asked.host());
        if own { Err(FetchError::Url) } else { Ok(asked) }
    }

    /// What is known, or the answer of a fetch that is under way by now.
    fn begin(self: &Arc<Self>, asked: &Asked, anew_after: Option<Duration>) -> Result<Begun, FetchError> {
        let now = self.clock.monotonic();
        if let Some(known) = self.kept.known(asked, anew_after, now) {
            return Ok(Begun::Known(known));
        }
        let mut under_way = self.under_way.lock();
        if let Some(answer) = under_way.get(asked) {
            if answer.receiver_count() >= asked.kind.named_by().bounds().waiting {
                return Err(FetchError::Crowded);
            }
            return Ok(Begun::Waiting(answer.subscribe()));
        }
        // It may have ended since: what came is kept before it is no longer under way.
        if let Some(known) = self.kept.known(asked, anew_after, now) {
            return Ok(Begun::Known(known));
        }
        let turn = self.turns.take(asked).ok_or(FetchError::Crowded)?;
        self.rates.take(asked, now)?;
        let (answer, waiting) = watch::channel(None);
        let answer = Arc::new(answer);
        under_way.insert(asked.clone(), Arc::clone(&answer));
        let own = UnderWay { inner: Arc::clone(self), asked: asked.clone(), _turn: turn };
        // Of nobody who waits: it takes its few seconds at shutdown too.
        self.tasks.spawn("document", async move {
            let result = own.inner.fetch(&own.asked).await;
            drop(own);
            answer.send_replace(Some(result));
        });
        Ok(Begun::Waiting(waiting))
    }

    async fn fetch(&self, asked: &Asked) -> Result<Document, FetchError> {
        let fetching = async {
            let request = exchange::request(&asked.url)?;
            let stream = connect::connect(self, asked).await?;
            exchange::get(stream, request, asked.kind).await
        };
        let fetched = tokio::time::timeout(PATIENCE, fetching).await.unwrap_or(Err(FetchError::Time));
        let now = self.clock.monotonic();
        let result = fetched.map(|(body, age)| Document { body, at: now, age });
        let (tenant, url) = (asked.tenant, &asked.url);
        match &result {
            Ok(_) => tracing::debug!(tenant.id = %tenant, %url, "document fetched"),
            Err(error) if asked.kind.named_by() == NamedBy::Admin => {
                tracing::info!(tenant.id = %tenant, %url, error.cause = %error.detail(), "document not fetched");
            }
            // Anybody can cause these.
            Err(error) => {
                tracing::debug!(tenant.id = %tenant, %url, error.cause = %error.detail(), "document not fetched");
            }
        }
        metrics::counter!(telemetry::metric::DOCUMENTS_FETCHED, "result" => if result.is_ok() { "fetched" } else { "failed" })
            .increment(1);
        self.kept.keep(asked, &result, now);
        result
    }
}

fn tls(roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
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
    // A session that one tenant's fetch began is not gone on with for another.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// Whether the URL is one that could be fetched: `https`, a host, a port, short, and neither user nor fragment.
#[must_use]
pub fn is_plain(url: &Url) -> bool {
    url.scheme() == "https"
        && url.as_str().len() <= MAX_URL
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
