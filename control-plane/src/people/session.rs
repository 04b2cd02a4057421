//! Sessions of people who have signed in, at the authorization servers' origin: one for all their tenants. The browser has a random
//! value, Postgres its hash; they end when nothing was asked for a while, and after a time whatever was asked.

use std::time::Duration;

use ids::{AccountId, TenantId};
use seams::Timestamp;
use time::OffsetDateTime;

use super::{
    admin,
    cookie::{Cookie, Value},
    email::Email,
    page::PageError,
    queries,
};
use crate::{
    app::Core,
    db::{PeopleTx, StoreError},
    oauth::client::Origin,
};

/// How long a session lasts in which nothing is asked,
const IDLE: Duration = Duration::from_secs(60 * 60);
/// and how long any does.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// How often it is noted that something was asked.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long ago somebody may have signed in who does what only the account's owner is to do.
pub(crate) const FRESH: Duration = Duration::from_secs(10 * 60);
/// Sessions that a person has at a time; the oldest ends for the next.
const MOST: i64 = 32;

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) account: AccountId,
    pub(crate) email: Email,
    /// When the person has signed in.
    pub(crate) signed_in_at: Timestamp,
    /// The tenant for which alone it is good: one by whose provider they have. `None`: all of the account's.
    pub(crate) only: Option<TenantId>,
    pub(crate) value: Value,
}

/// How a session comes to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// When the person has signed in.
    pub(crate) at: Timestamp,
    /// See [`Session::only`].
    pub(crate) only: Option<TenantId>,
}

impl Session {
    /// Whether it is good for the tenant, as far as that is its own.
    pub(crate) fn is_for(&self, tenant: TenantId) -> bool {
        self.only.is_none_or(|only| only == tenant)
    }

    /// Whether somebody has just signed in.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.signed_in_at) <= FRESH
    }
}

/// The session whose cookie the browser has, if it is good.
pub(crate) async fn current(
    core: &Core,
    headers: &http::HeaderMap,
    origin: &Origin,
) -> Result<Option<Session>, PageError> {
    let Some(value) = Cookie::Session.read(core, headers) else { return Ok(None) };
    let now = core.clock.now().to_offset();
    let mut tx = core.store.people().await?;
    let found = queries::session(&mut tx, &value.digest(), good_since(now)).await?;
    let Some(found) = found else {
        // Whoever has a session that is good is not held up by those who look for some.
        let limited = |retry_after| PageError::Limited { retry_after };
        core.sign_ins.unknown(origin.address, core.clock.monotonic()).map_err(limited)?;
        return Ok(None);
    };
    if is_to_be_noted(found.seen_at, now) {
        note(&mut tx, &value.digest(), now).await?;
        tx.commit().await?;
    }
    let queries::Found { account, email, signed_in_at, only, .. } = found;
    Ok(Some(Session { account, email, signed_in_at: Timestamp::from_offset(signed_in_at), only, value }))
}

/// Since when a session has to have been in use, and to have begun, that is good.
pub(super) fn good_since(now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
    (now - IDLE, now - LONGEST)
}

/// Whether it is time to note that a session is in use.
pub(super) fn is_to_be_noted(seen_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    seen_at <= now - NOTED_EVERY
}

/// Notes that a session is in use.
pub(super) async fn note(
    tx: &mut PeopleTx,
    digest: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    queries::seen(tx, digest, now).await
}

/// A new session of the account, in the place of the one that the browser has: no value outlives a change of who has signed in.
pub(super) async fn begin(
    core: &Core,
    account: AccountId,
    made: Made,
    before: Option<&Value>,
) -> Result<Value, StoreError> {
    let value = Value::new(core);
    let now = core.clock.now().to_offset();
    let mut tx = core.store.people().await?;
    if let Some(before) = before {
        queries::end_session(&mut tx, &before.digest()).await?;
    }
    let times = (made.at.to_offset(), now);
    queries::begin_session(&mut tx, &value.digest(), (account, made.only), times, MOST).await?;
    tx.commit().await?;
    Ok(value)
}

/// Ends a session.
pub(super) async fn end(core: &Core, session: &Session) -> Result<(), StoreError> {
    end_by_digest(core, &session.value.digest()).await
}

/// As [`end`].
pub(super) async fn end_by_digest(core: &Core, digest: &[u8; 32]) -> Result<(), StoreError> {
    let mut tx = core.store.people().await?;
    queries::end_session(&mut tx, digest).await?;
    tx.commit().await
}

/// Ends all sessions of the account: of one that is good for one tenant alone, those that are too.
pub(super) async fn end_all(core: &Core, session: &Session) -> Result<(), StoreError> {
    let mut tx = core.store.people().await?;
    match session.only {
        Some(only) => queries::end_sessions_of(&mut tx, session.account, only).await?,
        None => queries::end_sessions(&mut tx, session.account).await?,
    }
    tx.commit().await
}

/// Whether the session with this digest was not ended.
pub(crate) async fn goes_on(tx: &mut PeopleTx, digest: &[u8]) -> Result<bool, StoreError> {
    queries::session_exists(tx, digest).await
}

/// Forgets sessions that have ended.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(core: &Core) -> Result<(), StoreError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.people().await?;
    let forgotten = queries::forget_sessions(&mut tx, good_since(now)).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "sessions of the past deleted");
    admin::forget(core).await
}
