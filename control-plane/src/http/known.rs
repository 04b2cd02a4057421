//! Tokens that exist, by what is stored of them, in memory: a guess costs no query, and is told from a token of ours though both
//! come from one address.
//!
//! What is found here is believed for two things only, both before the database is asked: that whoever has used up a quota
//! is refused at once ([`Known::whose`]), and that an address from which too many wrong tokens came may go on with good
//! ones ([`Known::has`]). Whether a token is still good is asked of the database in every case.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use crypto::{KeyKind, Presented, key};
use ids::{AdminTokenId, TenantId, Uuid};
use parking_lot::Mutex;
use seams::Monotonic;

use super::queries;
use crate::{app::Core, audit::Actor, db::StoreError, http::problem::ApiError, secrets::Secrets};

/// Tokens remembered that were presented here lately, and of those that have ended.
const RECENT: usize = 16_384;
/// All are read again when one is not found, but not sooner than this,
const READ_AGAIN: Duration = Duration::from_secs(1);
/// nor so often that reading takes more than this part of the time.
const SHARE: u32 = 20;

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Operator(Uuid),
    Admin(TenantId, Uuid),
    /// A proxy's that joins.
    Joining,
}

/// What is stored of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) hash: [u8; 32],
    pub(crate) whose: Whose,
}

type Entries = HashMap<Box<str>, Entry>;

/// This replica's.
#[derive(Debug, Default)]
pub struct Known {
    recent: Mutex<Entries>,
    /// Those of which the database has said that they are good no longer: they count as guesses.
    ended: Mutex<HashSet<Box<str>>>,
    all: tokio::sync::Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    entries: Entries,
    again_at: Option<Monotonic>,
}

/// What is presented, if it is a token for the API.
pub(super) fn token(presented: &str) -> Option<Presented<'_>> {
    [KeyKind::OperatorToken, KeyKind::AdminToken]
        .into_iter()
        .find_map(|kind| key::parse(kind, presented).ok())
}

/// What came of asking the database. A token that was ours and has ended opens nothing any more, not even the way to the
/// database: from then on it is a guess as any other.
pub(super) fn learn<T>(
    core: &Core,
    address: Option<IpAddr>,
    token: Option<&Presented<'_>>,
    found: &Result<T, ApiError>,
) {
    match (found, token) {
        (Ok(_), Some(token)) => core.known.is_good(token),
        (Err(ApiError::Unauthenticated), token) => {
            core.authentication_failed(address);
            if let Some(token) = token.filter(|token| core.known.whose(&core.secrets, token).is_some()) {
                core.known.ended(token);
            }
        }
        _ => {}
    }
}

/// Whether it is one of ours.
pub(super) async fn is_ours(core: &Core, token: Option<Presented<'_>>) -> Result<bool, StoreError> {
    match token {
        Some(token) => core.known.has(core, &token).await,
        None => Ok(false),
    }
}

impl Whose {
    /// Whose quotas it uses.
    pub(super) fn counted(self) -> Option<(Actor, Option<TenantId>)> {
        match self {
            Self::Operator(id) => Some((Actor::Operator(id), None)),
            Self::Admin(tenant, id) => Some((Actor::AdminToken(AdminTokenId::from_uuid(id)), Some(tenant))),
            Self::Joining => None,
        }
    }
}

impl Known {
    /// The database has just said so.
    pub(super) fn note(&self, token: &Presented<'_>, hash: [u8; 32], whose: Whose) {
        let mut recent = self.recent.lock();
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(token.lookup.into(), Entry { hash, whose });
    }

    /// It was ours, and is good no longer.
    pub(crate) fn ended(&self, token: &Presented<'_>) {
        self.recent.lock().remove(token.lookup);
        let mut ended = self.ended.lock();
        if ended.len() >= RECENT {
            ended.clear();
        }
        ended.insert(token.lookup.into());
    }

    /// It is good, whatever was said of it before: its tenant may have come back.
    pub(super) fn is_good(&self, token: &Presented<'_>) {
        let mut ended = self.ended.lock();
        if !ended.is_empty() {
            ended.remove(token.lookup);
        }
    }

    /// Whose it is, if it was presented here lately.
    pub(super) fn whose(&self, secrets: &Secrets, token: &Presented<'_>) -> Option<Whose> {
        let entry = self.recent.lock().get(token.lookup).copied();
        entry.filter(|entry| secrets.verify_token(token, &entry.hash)).map(|entry| entry.whose)
    }

    /// Whether there is such a token, as far as is known here. All that is asked of the database meanwhile is, now and then, which there are.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be read.
    pub(crate) async fn has(&self, core: &Core, token: &Presented<'_>) -> Result<bool, StoreError> {
        if self.whose(&core.secrets, token).is_some() {
            return Ok(true);
        }
        if self.ended.lock().contains(token.lookup) {
            core.secrets.dummy_token(token);
            return Ok(false);
        }
        let mut all = self.all.lock().await;
        let now = core.clock.monotonic();
        if !all.entries.contains_key(token.lookup) && all.again_at.is_none_or(|at| at <= now) {
            // First, so that whoever asks and goes away does not let the next one read everything again.
            all.again_at = Some(Monotonic::from_nanos(now.nanos() + READ_AGAIN.as_nanos() as u64));
            all.entries = queries::tokens(&mut core.store.auth().await?).await?.into_iter().collect();
            let after = core.clock.monotonic();
            let pause = READ_AGAIN.max(after.since(now).saturating_mul(SHARE));
            all.again_at = Some(Monotonic::from_nanos(after.nanos() + pause.as_nanos() as u64));
        }
        let entry = all.entries.get(token.lookup).copied();
        drop(all);
        Ok(match entry {
            Some(entry) => core.secrets.verify_token(token, &entry.hash),
            None => {
                core.secrets.dummy_token(token);
                false
            }
        })
    }
}
