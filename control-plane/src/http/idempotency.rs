//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated write is answered as the first was, and not
//! done again, by whichever replica, for a day, as long as the caller's tenant does not store more than is kept ([`bounds`]).
//!
//! First the key is claimed, in a transaction of its own, so that of twins one works and the other is told so. The write's
//! own transaction, which [`Ending::Keep`] leaves open, then stores the answer: both are there or neither is. Who dies in
//! between has written nothing, and the claim can be taken over when it has run out. What is refused is not kept.

mod answer;
mod bounds;
mod queries;

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};
use crypto::digest;
use tracing::Instrument as _;

use answer::{Answer, Slot};
pub use bounds::{Written, forget};

use super::{auth, body::MAX_BODY, problem::ApiError, write::Awaited};
use crate::{
    app::Core,
    audit::ending::{Ending, Kept, Open},
    db::StoreError,
    publish::commit,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("portcullis-replayed");
/// Longest key.
const MAX_KEY: usize = 255;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a claim keeps others away that did not end in an answer: longer than any request lasts.
const CLAIMED_FOR: Duration = Duration::from_secs(90);
/// When to ask again for the answer to a twin.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A request's idempotency key.
pub(super) struct Key(String);

impl Key {
    /// The key, quoted as a structured field or bare. Kills take none: they are not to wait for it, and killing twice
    /// does no harm; nor do reports of leaks.
    ///
    /// # Errors
    /// [`ApiError::Malformed`].
    pub(super) fn of(parts: &Parts) -> Result<Option<Self>, ApiError> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) if !(is_of_kills(parts) || is_of_leaks(parts)) => value,
            (Some(_), Some(_)) => return Err(ApiError::Malformed("there are several Idempotency-Keys")),
            _ => return Ok(None),
        };
        let text = value.to_str().ok().map(|text| {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            inner.unwrap_or(text).to_owned()
        });
        let fits = |text: &String| {
            (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
        };
        text.filter(fits)
            .map(|key| Some(Self(key)))
            .ok_or(ApiError::Malformed("Idempotency-Key must be 1 to 255 visible ASCII characters"))
    }
}

/// Whether the request is one of the kill switch's: by its route, for ids and slugs are the caller's to choose.
pub(super) fn is_of_kills(parts: &Parts) -> bool {
    let route = parts.extensions.get::<MatchedPath>();
    route.is_some_and(|route| route.as_str().split('/').any(|part| part == "kills"))
}

/// Whether it reports leaks, which is open to anybody: nobody is known whose keys these could be.
fn is_of_leaks(parts: &Parts) -> bool {
    parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str() == "/v1/leaks")
}

/// Does the write unless it was done, and answers as it was answered.
///
/// # Errors
/// [`ApiError::InProgress`] while a twin runs, [`ApiError::KeyReused`] if the key belongs to another request.
pub(super) async fn once(
    core: Core,
    key: Key,
    mut parts: Parts,
    body: Body,
    next: Next,
) -> Result<Response, ApiError> {
    let kept = Kept::default();
    parts.extensions.insert(Ending::Keep(kept.clone()));
    // Before anything is read or stored for them.
    let caller = auth::authenticate(&mut parts, &core).await?;
    let body = read(&core, body).await?;
    let actor = caller.caller().actor.to_string();
    let slot = Slot::new(&core, caller.tenant(), &actor, &key.0, fingerprint(&parts, &body));
    let mut response = match claim(&core, &slot).await? {
        Some(answer) => {
            let mut response = answer.into_response()?;
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            response
        }
        None => {
            let request = Request::from_parts(parts, Body::from(body));
            run(core.clone(), slot, kept, request, next).await?
        }
    };
    if let Some(awaited) = response.extensions_mut().remove::<Awaited>() {
        awaited.settle(&core, &mut response).await?;
    }
    Ok(response)
}

async fn read(core: &Core, body: Body) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(core.config.api_limits.body_time, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error);
            let too_large = cause.is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if too_large { ApiError::TooLarge } else { ApiError::Malformed("the body was cut short") })
        }
        Err(_) => Err(ApiError::Timeout),
    }
}

/// What makes two requests the same.
fn fingerprint(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = digest::Sha256::default();
    let mut put = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    put(parts.method.as_str().as_bytes());
    put(parts.uri.path().as_bytes());
    put(parts.uri.query().unwrap_or_default().as_bytes());
    put(parts.headers.get(http::header::IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default());
    put(body);
    hash.finish()
}

/// `None`: the key is this request's now. Else the answer that there is.
async fn claim(core: &Core, slot: &Slot) -> Result<Option<Answer>, ApiError> {
    let now = core.clock.now();
    let claim = slot.seal(core, None)?;
    let mut tx = core.store.answers(slot.tenant.is_some()).await?;
    let until = now.plus(CLAIMED_FOR).to_offset();
    if queries::claim(&mut tx, slot, &claim, now.to_offset(), until, now.plus(KEPT_FOR).to_offset()).await? {
        tx.commit().await?;
        bounds::written(core, slot.tenant);
        return Ok(None);
    }
    let in_progress = || ApiError::InProgress { retry_after: ASK_AGAIN };
    let sealed = queries::find(&mut tx, &slot.lookup).await?.ok_or_else(in_progress)?;
    drop(tx);
    // Under another master key: of a replica that knows a newer one already.
    let (fingerprint, answer) = slot.open(&sealed).ok_or_else(in_progress)?;
    if fingerprint != slot.fingerprint {
        return Err(ApiError::KeyReused);
    }
    answer.map(Some).ok_or_else(in_progress)
}

/// In a task of its own: a caller that goes away does not stop the write half-way, and finds its answer when it asks again.
async fn run(core: Core, slot: Slot, kept: Kept, request: Request, next: Next) -> Result<Response, ApiError> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tasks = core.tasks.clone();
    let work = async move {
        let response = next.run(request).await;
        // Nobody waits for it any more: the answer is kept.
        let _unheard = tell.send(finish(&core, &slot, &kept, response).await);
    };
    tasks.spawn("keyed write", work.instrument(tracing::Span::current()));
    told.await.unwrap_or_else(|_| Err(ApiError::internal("a keyed write panicked")))
}

/// As [`stored`]. Where that fails, the key is free again: nothing was written, or it was, with its answer.
async fn finish(core: &Core, slot: &Slot, kept: &Kept, response: Response) -> Result<Response, ApiError> {
    let stored = stored(core, slot, kept, response).await;
    if stored.is_err()
        && let Err(error) = release(core, slot).await
    {
        tracing::warn!(error.cause = %error, "a claim stays until it runs out");
    }
    stored
}

async fn stored(core: &Core, slot: &Slot, kept: &Kept, response: Response) -> Result<Response, ApiError> {
    let open = kept.take();
    if !response.status().is_success() {
        // Rolls back what there may be.
        drop(open);
        if let Err(error) = release(core, slot).await {
            tracing::warn!(error.cause = %error, "a claim stays until it runs out");
        }
        return Ok(response);
    }
    let (response, answer) = Answer::of(response).await?;
    let sealed = slot.seal(core, Some(&answer))?;
    match open {
        Some(Open { mut audit, after }) => {
            audit.become_operator().await?;
            if !queries::answer_with(&mut audit, slot, &sealed).await? {
                // Too slow, and somebody else has the key: that one's write counts.
                return Err(ApiError::InProgress { retry_after: ASK_AGAIN });
            }
            audit.commit().await?;
            commit::follow(core, after).await;
        }
        // There was nothing to change.
        None => {
            let mut tx = core.store.answers(slot.tenant.is_some()).await?;
            queries::answer(&mut tx, slot, &sealed).await?;
            tx.commit().await?;
        }
    }
    Ok(response)
}

async fn release(core: &Core, slot: &Slot) -> Result<(), StoreError> {
    let mut tx = core.store.answers(slot.tenant.is_some()).await?;
    queries::release(&mut tx, slot).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests;
