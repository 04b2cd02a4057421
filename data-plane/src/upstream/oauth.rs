//! Tokens that the gateway gets for itself at an upstream's issuer (RFC 6749 section 4.4), kept in memory alone.
//!
//! What is known of a token belongs to one tenant's one upstream under exactly these settings, and there is no table in which another's
//! could be found: with the settings it goes. All workers share it, so that many calls at once ask for one token.

mod ask;
pub(super) mod calls;
mod error;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use crypto::{
    Zeroizing,
    jwt::{Algorithm, PrivateKey},
};
use http::HeaderValue;
use seams::{Clock, Entropy, Monotonic};
use tokio::sync::Mutex;
use url::Url;

use super::resolve::Resolver;

pub(crate) use error::TokenError;

/// A token that has just been got is not dropped when the upstream refuses it: another would be refused too.
const DROPPED_AFTER: Duration = Duration::from_secs(10);
/// After a failure nobody asks for so long; after each further one twice as long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// How the gateway gets tokens for one upstream.
pub(crate) struct Oauth {
    pub(crate) settings: Settings,
    /// What it was made from: under other settings nothing is taken over.
    pub(crate) source: [u8; 32],
    held: ArcSwapOption<Token>,
    asking: Mutex<Asking>,
}

/// What an administrator has said.
pub(crate) struct Settings {
    pub(crate) at: At,
    pub(crate) client_id: Box<str>,
    pub(crate) shown: Shown,
    /// Empty: none is asked for.
    pub(crate) scope: Box<str>,
    /// Empty: none is named.
    pub(crate) resource: Box<str>,
    /// Trusted instead of the public roots; empty: these.
    pub(crate) ca_der: Box<[Vec<u8>]>,
}

/// Where tokens are given.
#[derive(Debug)]
pub(crate) enum At {
    /// There.
    Endpoint(Url),
    /// Where the issuer's metadata says (RFC 8414).
    Issuer(Box<str>),
}

/// What the gateway shows of itself.
pub(crate) enum Shown {
    /// `client_secret_basic`.
    Basic(Zeroizing<Vec<u8>>),
    /// `client_secret_post`.
    Post(Zeroizing<Vec<u8>>),
    /// `private_key_jwt`, with the key's name.
    Key(Box<str>, PrivateKey),
    /// It does not open.
    Nothing,
}

/// A token.
pub(crate) struct Token {
    /// `Bearer` and the token, for `Authorization`.
    pub(crate) value: HeaderValue,
    obtained: Monotonic,
    refreshed_from: Monotonic,
    over: Monotonic,
}

/// What is known by whoever asks.
#[derive(Default)]
struct Asking {
    failures: u32,
    /// Until then the last failure is everybody's.
    failed: Option<(Monotonic, TokenError)>,
    /// The endpoint that was found, and until when it is believed.
    found: Option<(Url, Monotonic)>,
}

/// What asking needs.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) rules: egress::Rules,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Oauth {
    pub(crate) fn new(settings: Settings, source: [u8; 32]) -> Self {
        Self { settings, source, held: ArcSwapOption::empty(), asking: Mutex::default() }
    }

    /// The token that is good now; `None` where one has to be asked for first.
    pub(crate) fn held(&self, now: Monotonic) -> Option<Arc<Token>> {
        self.held.load_full().filter(|token| now < token.over)
    }

    /// Whether the token is to be followed by another before it is over.
    pub(crate) fn is_due(&self, token: &Token, now: Monotonic) -> bool {
        now >= token.refreshed_from && self.asking.try_lock().is_ok()
    }

    /// A token: the one that is held, or a new one. Of all who ask at once one does, and what it learns is everybody's.
    pub(crate) async fn token(&self, means: &Means) -> Result<Arc<Token>, TokenError> {
        if let Some(token) = self.held(means.clock.monotonic()) {
            return Ok(token);
        }
        let mut asking = self.asking.lock().await;
        match self.held(means.clock.monotonic()) {
            Some(token) => Ok(token),
            None => self.ask(&mut asking, means).await,
        }
    }

    /// Gets a token to follow the one that is held, if nobody does already. That one goes on to be good if this fails.
    pub(crate) async fn refresh(&self, means: &Means) {
        let Ok(mut asking) = self.asking.try_lock() else { return };
        let now = means.clock.monotonic();
        if self.held(now).is_some_and(|token| now >= token.refreshed_from)
            && let Err(error) = self.ask(&mut asking, means).await
        {
            tracing::warn!(%error, "a token for an upstream was not refreshed");
        }
    }

    /// The upstream has refused the token: it is not shown again. Says whether another may be accepted.
    pub(crate) fn refused(&self, token: &Arc<Token>, now: Monotonic) -> bool {
        let held = self.held.load_full();
        if !held.is_some_and(|held| Arc::ptr_eq(&held, token)) {
            // Somebody has dropped it already.
            return true;
        }
        let dropped = now.since(token.obtained) >= DROPPED_AFTER;
        if dropped {
            self.held.store(None);
        }
        dropped
    }

    async fn ask(&self, asking: &mut Asking, means: &Means) -> Result<Arc<Token>, TokenError> {
        let now = means.clock.monotonic();
        if let Some((until, error)) = asking.failed
            && now < until
        {
            return Err(error);
        }
        match ask::ask(&self.settings, &mut asking.found, means).await {
            Ok(given) => {
                let token = Arc::new(Token::new(given, means));
                (asking.failures, asking.failed) = (0, None);
                self.held.store(Some(token.clone()));
                Ok(token)
            }
            Err(error) => {
                let longer = 1_u32.checked_shl(asking.failures.min(16)).unwrap_or(u32::MAX);
                let pause = RETRY_AFTER.saturating_mul(longer).min(RETRY_AFTER_AT_MOST);
                // Not everybody at the same moment: half of it to all of it.
                let pause = pause.mul_f64(0.5 + 0.5 * part(means));
                asking.failures = asking.failures.saturating_add(1);
                asking.failed = Some((after(means.clock.monotonic(), pause), error));
                // What was found may be where nobody answers any more.
                asking.found = None;
                Err(error)
            }
        }
    }
}

impl Token {
    fn new(given: ask::Given, means: &Means) -> Self {
        let obtained = means.clock.monotonic();
        // A call that begins with it has to end with it, as far as that can be known.
        let good = given.life.saturating_sub(Duration::from_secs(5).min(given.life / 10));
        let early = good.mul_f64(0.75 + 0.15 * part(means));
        Self {
            value: given.value,
            obtained,
            refreshed_from: after(obtained, early),
            over: after(obtained, good),
        }
    }
}

/// 0 to 1, by chance.
fn part(means: &Means) -> f64 {
    f64::from(u16::from_le_bytes(means.entropy.bytes())) / f64::from(u16::MAX)
}

fn after(from: Monotonic, by: Duration) -> Monotonic {
    Monotonic::from_nanos(from.nanos().saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

impl Shown {
    /// The secret, by how it is shown; for a key its PKCS#8.
    pub(crate) fn key(name: &str, algorithm: Algorithm, pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self::Key(name.into(), PrivateKey::new(algorithm, pkcs8))
    }
}

impl fmt::Debug for Oauth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oauth").field("at", &self.settings.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("over", &self.over).finish_non_exhaustive()
    }
}
