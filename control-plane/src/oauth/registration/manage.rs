//! `{issuer}/register/{client}` (RFC 7592): a client that has registered itself reads its registration, changes it, and ends it, by the
//! token that it was given for that. Any other token, and any other client, is answered the same.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use crypto::{KeyKind, key};
use ids::ClientId;
use serde::{Deserialize, de::IgnoredAny};
use wire::kill::Credential;

use super::{
    dynamic::{Information, bearer, body, location},
    error::RegistrationError,
    keys, queries,
    queries::dynamic::{self, Managed},
    said::{Said, SaidError, Speaker},
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
    },
    publish::commit::{commit, commit_revoking},
};

/// What a client must not send (RFC 7592 section 2.2), and what it has to.
#[derive(Deserialize)]
struct Update {
    client_id: Option<String>,
    client_secret: Option<IgnoredAny>,
    registration_access_token: Option<IgnoredAny>,
    registration_client_uri: Option<IgnoredAny>,
    client_secret_expires_at: Option<IgnoredAny>,
    client_id_issued_at: Option<IgnoredAny>,
}

/// Says what is registered. A secret is not said again.
pub(in crate::oauth) async fn read(
    State(core): State<Core>,
    Path((slug, client)): Path<(String, String)>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, RegistrationError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let (id, managed) = managed(&mut tx, &core, &issuer, &client, &origin, &headers).await?;
    answer(&issuer, id, &managed, &said(&managed)?)
}

/// Replaces what is registered.
pub(in crate::oauth) async fn update(
    State(core): State<Core>,
    Path((slug, client)): Path<(String, String)>,
    origin: Origin,
    request: Request,
) -> Result<Response, RegistrationError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let headers = request.headers().clone();
    let token = {
        let mut tx = core.store.tenant(issuer.tenant).await?;
        managed(&mut tx, &core, &issuer, &client, &origin, &headers).await?;
        bearer(&headers)?.map(ToOwned::to_owned).ok_or(RegistrationError::Token)?
    };
    // Nothing is read from whoever has shown nothing; no transaction waits for it.
    let body = body(&core, request).await?;
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(issuer.tenant).await?;
    let (id, managed) = look_up(&mut tx, &core, &client, &token).await?.ok_or(RegistrationError::Token)?;
    let before = said(&managed)?;
    let sent: Update = serde_json::from_slice(&body)
        .map_err(|_| RegistrationError::Body("the body is not a JSON object"))?;
    if sent.client_id.as_deref() != Some(client.as_str()) {
        return Err(SaidError::Metadata("`client_id` is missing, or another's").into());
    }
    let ours = [
        sent.client_secret,
        sent.registration_access_token,
        sent.registration_client_uri,
        sent.client_secret_expires_at,
        sent.client_id_issued_at,
    ];
    if ours.iter().any(Option::is_some) {
        return Err(SaidError::Metadata(
            "secrets, tokens and what the server says of them are not the client's to send",
        )
        .into());
    }
    let new = Said::read(&body, Speaker::Somebody { vouched: managed.vouched })?;
    let (from, to) = (before.token_endpoint_auth_method, new.token_endpoint_auth_method);
    if from != to && !(from.is_secret() && to.is_secret()) {
        return Err(
            SaidError::Metadata("a client cannot change how it proves who it is; register it anew").into()
        );
    }
    let (value, digest) = stored(&new)?;
    queries::update_client(&mut tx, id, &new, now.to_offset()).await?;
    queries::update(&mut tx, id, (&value, &digest), now.to_offset()).await?;
    keys::replace(&mut tx, &core, id, new.jwks.as_ref()).await?;
    commit(tx, &core, &act(id, &origin, "update_registered_client")).await?;
    answer(&issuer, id, &managed, &new)
}

/// Ends the client, with everything that was given to it.
pub(in crate::oauth) async fn delete(
    State(core): State<Core>,
    Path((slug, client)): Path<(String, String)>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, RegistrationError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let mut tx = core.store.tenant_for_write(issuer.tenant).await?;
    let (id, _) = managed(&mut tx, &core, &issuer, &client, &origin, &headers).await?;
    dynamic::delete_client(&mut tx, id).await?;
    let dead = Credential::Client(issuer.tenant, id);
    commit_revoking(tx, &core, &act(id, &origin, "delete_registered_client"), Some(dead)).await?;
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

fn act(id: ClientId, origin: &Origin, operation: &'static str) -> Act {
    Act {
        actor: Actor::Client(id),
        operation,
        target: id.to_string(),
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    }
}

/// The client that the path names, if the request has the token that manages it. Guesses are counted.
async fn managed(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    client: &str,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<(ClientId, Managed), RegistrationError> {
    let (named, now) = (Named { tenant: issuer.tenant, client: client.parse().ok() }, core.clock.monotonic());
    let may = core.attempts.may(origin.address, named, now);
    may.map_err(|retry_after| RegistrationError::Limited { retry_after })?;
    let found = match bearer(headers) {
        Ok(Some(token)) => look_up(tx, core, client, token).await?,
        _ => None,
    };
    let Some(found) = found else {
        core.attempts.failed(origin.address, named, now);
        return Err(RegistrationError::Token);
    };
    let taken = core.attempts.request(named, now);
    taken.map_err(|retry_after| RegistrationError::Limited { retry_after })?;
    Ok(found)
}

async fn look_up(
    tx: &mut TenantTx,
    core: &Core,
    client: &str,
    token: &str,
) -> Result<Option<(ClientId, Managed)>, RegistrationError> {
    let Ok(presented) = key::parse(KeyKind::RegistrationToken, token) else { return Ok(None) };
    let found = match client.parse::<ClientId>() {
        Ok(id) => dynamic::managed(tx, id, presented.lookup).await?.map(|managed| (id, managed)),
        Err(_) => None,
    };
    let Some((id, managed)) = found else {
        core.secrets.dummy_token(&presented);
        return Ok(None);
    };
    let good = core.secrets.verify_token(&presented, &managed.hash) && managed.enabled;
    Ok(good.then_some((id, managed)))
}

fn said(managed: &Managed) -> Result<Said, RegistrationError> {
    serde_json::from_value(managed.metadata.clone())
        .map_err(|error| RegistrationError::Internal(error.into()))
}

fn answer(
    issuer: &Issuer,
    id: ClientId,
    managed: &Managed,
    said: &Said,
) -> Result<Response, RegistrationError> {
    let information = Information {
        client_id: id.to_string(),
        client_id_issued_at: managed.created_at.secs(),
        client_secret: None,
        client_secret_expires_at: None,
        registration_client_uri: location(issuer, id),
        registration_access_token: None,
        said,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(information)).into_response())
}
