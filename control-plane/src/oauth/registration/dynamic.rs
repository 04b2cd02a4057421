//! `POST {issuer}/register` (RFC 7591): a client registers itself. With an initial access token where the tenant asks for one; without
//! one within bounds, and for users alone.

use axum::{
    Json,
    body::to_bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use crypto::{ExposeSecret as _, KeyKind, key};
use ids::{ClientId, InitialAccessTokenId};
use serde::Serialize;

use super::{
    error::RegistrationError,
    keys,
    limits::Limits,
    queries::{self, dynamic},
    said::{Said, Speaker},
    stored,
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::TenantTx,
    oauth::{
        attempts::Named,
        client::Origin,
        issuer::{self, Issuer},
        keys as signing, log,
    },
    publish::commit::commit,
    resources::{
        client_secrets,
        fields::Name,
        registration::{queries as policies, types::DynamicAdmission},
    },
};

/// Bytes of a body.
const MAX_BODY: usize = 16 * 1024;
/// Clients of a tenant that nobody vouches for and that were never given a token.
const MAX_UNUSED: i64 = 200;

/// RFC 7591 section 3.2.1.
#[derive(Serialize)]
pub(super) struct Information<'a> {
    pub(super) client_id: String,
    pub(super) client_id_issued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret: Option<&'a str>,
    /// 0: it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret_expires_at: Option<u64>,
    pub(super) registration_client_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) registration_access_token: Option<&'a str>,
    #[serde(flatten)]
    pub(super) said: &'a Said,
}

/// Where a client manages its registration.
pub(super) fn location(issuer: &Issuer, client: ClientId) -> String {
    format!("{}/register/{client}", issuer.url)
}

/// Registers a client.
pub(in crate::oauth) async fn register(
    State(core): State<Core>,
    Path(slug): Path<String>,
    origin: Origin,
    request: Request,
) -> Result<Response, RegistrationError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let result = admitted(&core, &issuer, &origin, request).await;
    if let Err(error) = &result {
        recorded(&core, &issuer, &origin, error).await?;
    }
    result
}

/// Refusals are on record, as far as a tenant's log has room for what anybody can cause.
async fn recorded(
    core: &Core,
    issuer: &Issuer,
    origin: &Origin,
    error: &RegistrationError,
) -> Result<(), RegistrationError> {
    let ours = matches!(
        error,
        RegistrationError::Store(_) | RegistrationError::Internal(_) | RegistrationError::Limited { .. }
    );
    if !ours && core.registrations.refusal(issuer.tenant, core.clock.monotonic()).is_ok() {
        let what = ("register_client", "dynamic".to_owned());
        log::unregistered(core, issuer, origin, what, error.code()).await?;
    }
    Ok(())
}

async fn admitted(
    core: &Core,
    issuer: &Issuer,
    origin: &Origin,
    request: Request,
) -> Result<Response, RegistrationError> {
    let by = policies::get(&mut core.store.tenant(issuer.tenant).await?).await?.settings.dynamic.by;
    if by == DynamicAdmission::Off {
        return Err(RegistrationError::Closed);
    }
    let token = bearer(request.headers())?.map(ToOwned::to_owned);
    match &token {
        Some(token) => check_token(core, issuer, origin, token).await?,
        None if by == DynamicAdmission::Token => return Err(RegistrationError::Token),
        None => within(&core.registrations, core, issuer, origin)?,
    }
    let body = body(core, request).await?;
    let said = Said::read(&body, Speaker::Somebody { vouched: token.is_some() })?;
    store(core, issuer, origin, token.as_deref(), &said).await
}

fn within(limits: &Limits, core: &Core, issuer: &Issuer, origin: &Origin) -> Result<(), RegistrationError> {
    let taken = limits.registration(issuer.tenant, origin.address, core.clock.monotonic());
    taken.map_err(|retry_after| RegistrationError::Limited { retry_after })
}

/// The one token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, RegistrationError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.map(Some).ok_or(RegistrationError::Token)
}

/// The body, bounded in size and time, whatever it is.
pub(super) async fn body(core: &Core, request: Request) -> Result<bytes::Bytes, RegistrationError> {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let media_type = types.next().filter(|_| types.next().is_none()).and_then(|value| value.to_str().ok());
    let bare = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    if !bare.is_some_and(|bare| bare.eq_ignore_ascii_case("application/json")) {
        return Err(RegistrationError::Body("the body has to be JSON"));
    }
    let reading =
        tokio::time::timeout(core.config.api_limits.body_time, to_bytes(request.into_body(), MAX_BODY));
    reading.await.map_err(|_| RegistrationError::Slow)?.map_err(|_| RegistrationError::TooLarge)
}

/// Whether it is an initial access token that can be used. Guesses are counted, and what they cost is bounded.
async fn check_token(
    core: &Core,
    issuer: &Issuer,
    origin: &Origin,
    token: &str,
) -> Result<(), RegistrationError> {
    let (named, now) = (Named { tenant: issuer.tenant, client: None }, core.clock.monotonic());
    let may = core.attempts.may(origin.address, named, now);
    may.map_err(|retry_after| RegistrationError::Limited { retry_after })?;
    let mut tx = core.store.tenant(issuer.tenant).await?;
    match verify_token(&mut tx, core, token).await? {
        Some(_) => Ok(()),
        None => {
            core.attempts.failed(origin.address, named, now);
            Err(RegistrationError::Token)
        }
    }
}

async fn verify_token(
    tx: &mut TenantTx,
    core: &Core,
    token: &str,
) -> Result<Option<InitialAccessTokenId>, RegistrationError> {
    let Ok(presented) = key::parse(KeyKind::InitialAccessToken, token) else { return Ok(None) };
    let now = core.clock.now().to_offset();
    let Some((id, hash)) = dynamic::initial_access_token(tx, presented.lookup, now).await? else {
        core.secrets.dummy_token(&presented);
        return Ok(None);
    };
    Ok(core.secrets.verify_token(&presented, &hash).then_some(id))
}

async fn store(
    core: &Core,
    issuer: &Issuer,
    origin: &Origin,
    token: Option<&str>,
    said: &Said,
) -> Result<Response, RegistrationError> {
    // Hashing is slow on purpose; no transaction waits for it.
    let secret = match said.token_endpoint_auth_method.is_secret() {
        true => Some(client_secrets::mint(core).await?),
        false => None,
    };
    let manager = key::mint(KeyKind::RegistrationToken, &*core.entropy);
    let presented = key::parse(KeyKind::RegistrationToken, manager.text.expose_secret());
    let hash =
        core.secrets.hash_token(&presented.map_err(|error| RegistrationError::Internal(error.into()))?);
    let now = core.clock.now();
    let id = ClientId::from_parts(now.millis(), core.entropy.bytes());
    let (value, digest) = stored(said)?;

    let mut tx = core.store.tenant_for_write(issuer.tenant).await?;
    // Held until the end: those who register wait for each other, and whoever forbids it meanwhile too.
    let policy = policies::lock(&mut tx).await?.settings.dynamic;
    // Asked again: it may have been used up, or deleted.
    let vouched = match token {
        Some(token) => Some(verify_token(&mut tx, core, token).await?.ok_or(RegistrationError::Token)?),
        None => None,
    };
    match (policy.by, vouched) {
        (DynamicAdmission::Off, _) => return Err(RegistrationError::Closed),
        (DynamicAdmission::Token, None) => return Err(RegistrationError::Token),
        (_, Some(token)) => dynamic::use_initial_access_token(&mut tx, token, now.to_offset()).await?,
        (DynamicAdmission::Open, None) if queries::unused(&mut tx).await? >= MAX_UNUSED => {
            return Err(RegistrationError::Limited { retry_after: std::time::Duration::from_secs(60 * 60) });
        }
        (DynamicAdmission::Open, None) => {}
    }
    queries::insert_client(&mut tx, id, said, now.to_offset()).await?;
    let manages = dynamic::Manager { lookup: &manager.lookup, hash: &hash, vouched };
    dynamic::insert_dynamic(&mut tx, id, manages, (&value, &digest), now.to_offset()).await?;
    queries::allow(&mut tx, id, &policy.endpoint_ids, now.to_offset()).await?;
    keys::replace(&mut tx, core, id, said.jwks.as_ref()).await?;
    if let Some(secret) = &secret {
        let name = Name::stored("registered".to_owned());
        client_secrets::insert(&mut tx, core, id, (secret, name)).await?;
    }
    signing::ensure(&mut tx, core).await?;
    let act = Act {
        actor: Actor::Client(id),
        operation: "register_client",
        target: match vouched {
            Some(token) => format!("{id} by {token}"),
            None => id.to_string(),
        },
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    };
    commit(tx, core, &act).await?;
    let answer = Information {
        client_id: id.to_string(),
        client_id_issued_at: now.secs(),
        client_secret: secret.as_ref().map(|secret| secret.text.expose_secret()),
        client_secret_expires_at: secret.as_ref().map(|_| 0),
        registration_client_uri: location(issuer, id),
        registration_access_token: Some(manager.text.expose_secret()),
        said,
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
