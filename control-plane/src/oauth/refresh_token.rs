//! The grant `refresh_token` (RFC 6749 section 6), with rotation (RFC 9700 section 4.14.2): each is good once, and the one that follows
//! comes with the answer. Used twice, one of the two was a thief, so the family ends. Who sends one twice within seconds, because an
//! answer was lost or two of its threads were as fast, is given the same successor again.
//!
//! Postgres has a token's hash alone; the successor follows from the token and a key of the installation, so that nobody finds it who
//! has but the one or the other.

use std::{fmt, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{Zeroizing, digest, secret::ct_eq};
use http::{HeaderValue, header};
use ids::Scopes;
use seams::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::{
    access_token::Issued,
    audience,
    client::{Client, Origin},
    error::OAuthError,
    families::{self, Family, queries, queries::Which},
    form::Form,
    issuer::Issuer,
    log, scopes,
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
};

/// What stands before the secret, for scanners.
const PREFIX: &str = "pcr_";
/// A token that is not used for so long ends.
const IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// For so long one that was used gives its successor again.
const GRACE: Duration = Duration::from_secs(10);

/// A refresh token. Shows nothing in `Debug`.
pub(super) struct Refresh(Zeroizing<String>);

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresh(…)")
    }
}

impl Serialize for Refresh {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Refresh {
    /// The first of a family.
    pub(super) fn first(core: &Core) -> Self {
        Self::of(&Zeroizing::new(core.entropy.bytes()))
    }

    fn of(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()))))
    }

    fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_bytes())
    }

    /// Stores it as one of the family's.
    pub(super) async fn store(
        &self,
        tx: &mut TenantTx,
        family: &Family,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ends = now.plus(IDLE).min(family.expires_at);
        queries::insert_refresh_token(tx, &self.digest(), family.id, ends).await
    }
}

/// Whether the text is to be taken for a refresh token.
pub(super) fn is_one(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The tokens, when their record is committed.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<(Issued, Option<Refresh>), OAuthError> {
    let given = form.need("refresh_token")?;
    let digest = digest::sha256(given.as_bytes());
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let family = queries::of_refresh_token(&mut tx, &digest).await?;
    let family = family.filter(|family| family.client == client.id).ok_or(OAuthError::GrantInvalid)?;
    let wanted = families::is_wanted(&mut tx, &family).await?;
    let now = core.clock.now();
    if !wanted || !queries::hold(&mut tx, family.id, now.to_offset()).await? {
        return Err(OAuthError::GrantInvalid);
    }
    let key = client.confirmation.and_then(|bound| bound.jkt);
    let stored = queries::refresh_token(&mut tx, &digest).await?;
    if stored.expires_at <= now || !queries::is_good_with(&mut tx, family.id, key).await? {
        return Err(OAuthError::GrantInvalid);
    }
    if stored.used_at.is_some_and(|used| now.since(used) > GRACE) {
        let dead = families::end(&mut tx, Which::One(family.id), now).await?;
        let what = format!("{}: a refresh token was used twice", family.id);
        log::ended(tx, core, (client, origin), dead, what).await?;
        return Err(OAuthError::GrantInvalid);
    }
    if form.get("resource").is_some_and(|resource| resource != family.resource) {
        return Err(OAuthError::Target("not the endpoint that the member was asked about"));
    }
    // Fewer scopes may be asked for, and never more.
    let scopes = match form.get("scope") {
        None => family.scopes.clone(),
        Some(_) => scopes::asked(&mut tx, form).await?,
    };
    if !within(&scopes, &family.scopes) {
        return Err(OAuthError::Scope);
    }
    audience::choose(&mut tx, core, issuer, client.id, Some(&family.resource)).await?;
    let successors = core.secrets.refresh_successors(given);
    let successors = successors.iter().map(Refresh::of);
    let next = match &stored.successor {
        // The master key it was made with may have been rotated away within these seconds.
        Some(own) => successors.into_iter().find(|next| ct_eq(&next.digest(), own)),
        None => successors.into_iter().next(),
    };
    let next = next.ok_or(OAuthError::GrantInvalid)?;
    if stored.successor.is_none() {
        next.store(&mut tx, &family, now).await?;
        queries::supersede(&mut tx, &digest, &next.digest(), now).await?;
    }
    let issued = families::issue(&mut tx, core, issuer, (client, made), (&family, scopes)).await?;
    let what = format!("{} {} for {} by {}", issued.id(), family.resource, family.member, client.by);
    log::done(tx, core, (client, origin), "refresh_token", what).await?;
    Ok((issued, Some(next)))
}

fn within(some: &Scopes, all: &Scopes) -> bool {
    some.iter().all(|scope| all.has(scope.as_str()))
}

/// Ends the token's family, if it is the client's. What is none, or has ended, is as good.
pub(super) async fn revoke(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    token: &str,
) -> Result<(), OAuthError> {
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let digest = digest::sha256(token.as_bytes());
    let Some(family) = queries::of_refresh_token(&mut tx, &digest).await? else { return Ok(()) };
    if family.client != client.id {
        drop(tx);
        let error = OAuthError::NotForThisClient;
        log::refused(core, issuer, (client, origin), "revoke_token", error.code()).await?;
        return Err(error);
    }
    let now = core.clock.now();
    if queries::hold(&mut tx, family.id, now.to_offset()).await? {
        let dead = families::end(&mut tx, Which::One(family.id), now).await?;
        log::ended(tx, core, (client, origin), dead, family.id.to_string()).await?;
    }
    Ok(())
}

/// What the token is, for the client that it was given to.
pub(super) async fn introspect(
    core: &Core,
    issuer: &Issuer,
    client: &Client,
    token: &str,
) -> Result<Response, OAuthError> {
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let (digest, now) = (digest::sha256(token.as_bytes()), core.clock.now());
    let family = queries::of_refresh_token(&mut tx, &digest).await?;
    let stopped = core.kills.stop_client(issuer.tenant, client.id);
    let mut answer = json!({"active": false});
    if let Some(family) = family.filter(|family| family.client == client.id && !stopped) {
        let goes_on = families::is_wanted(&mut tx, &family).await?
            && queries::hold(&mut tx, family.id, now.to_offset()).await?;
        let stored = queries::refresh_token(&mut tx, &digest).await?;
        if goes_on && stored.used_at.is_none() && stored.expires_at > now {
            answer = json!({
                "active": true, "iss": issuer.url, "client_id": client.id, "sub": family.member,
                "aud": family.resource, "scope": family.scopes, "exp": stored.expires_at.micros() / 1_000_000,
            });
        }
    }
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
