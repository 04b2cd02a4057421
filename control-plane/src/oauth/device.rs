//! Device authorization (RFC 8628): a program that has no browser shows a code, a member types it where they have signed in and agrees, and
//! the program, which asks meanwhile, gets an access token for them.
//!
//! What a device holds is random and stored hashed; what a person types is short, so it is stored keyed, ends after ten minutes, and wrong ones
//! are counted (`device/page.rs`).

mod code;
pub(super) mod page;
mod queries;

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use crypto::{ExposeSecret as _, KeyKind, claims::Subject, key};
use ids::{ClientId, Uuid};
use serde::Serialize;

use self::queries::Decision;
use super::{
    access_token::{self, Asked, Issued},
    audience,
    client::{self, Client, Origin},
    error::{DeviceError, OAuthError},
    families,
    form::Form,
    issuer::{self, Issuer},
    log, registration, scopes,
};
use crate::{app::Core, db::StoreError};

/// The grant, as in requests and in the metadata.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long a person has.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// Between two questions of a device; whoever asks sooner waits so much longer from then on.
const INTERVAL: i32 = 5;
const LONGER: i32 = 5;
/// Codes of a tenant, and of one client of it, that nobody has decided about.
const MOST: i64 = 1_000;
const OF_CLIENT: i64 = 200;

/// RFC 8628 section 3.2.
#[derive(Serialize)]
struct Answer<'a> {
    device_code: &'a str,
    user_code: &'a str,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u64,
    interval: i32,
}

/// Where people type codes.
fn verification_uri(issuer: &Issuer) -> String {
    format!("{}/device", issuer.url)
}

/// Gives a device its two codes.
pub(super) async fn authorize(
    State(core): State<Core>,
    Path(slug): Path<String>,
    origin: Origin,
    form: Form,
) -> Result<Response, OAuthError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    // One that a document describes may not have been here yet.
    if let Some(text) = form.get("client_id").filter(|text| registration::is_url(text)) {
        registration::resolve(&core, &issuer, text, &origin).await?;
    }
    let client = client::authenticate(&core, &issuer, &form, &origin).await?;
    match begin(&core, &issuer, (&client, &origin), &form).await {
        Ok(response) => Ok(response),
        Err(error) => {
            log::refused(&core, &issuer, (&client, &origin), "begin_device_authorization", error.code())
                .await?;
            Err(error)
        }
    }
}

async fn begin(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Response, OAuthError> {
    if core.kills.stop_client(issuer.tenant, client.id) {
        return Err(OAuthError::Killed);
    }
    let registered = registration::may(core, issuer, client.id, DEVICE_CODE).await?;
    let device = key::mint(KeyKind::DeviceCode, &*core.entropy);
    let presented =
        key::parse(KeyKind::DeviceCode, device.text.expose_secret()).map_err(OAuthError::internal)?;
    let hash = core.secrets.hash_token(&presented);
    let user_code = code::new(&*core.entropy);
    let now = core.clock.now();
    let id = uuid::Builder::from_unix_timestamp_millis(now.millis(), &core.entropy.bytes()).into_uuid();

    let mut tx = core.store.tenant(issuer.tenant).await?;
    client.still(&mut tx, core).await?;
    // One that an administrator has made is for users if it says where they return to, or can keep no secret.
    if registered.is_none() && !queries::is_for_users(&mut tx, client.id).await? {
        return Err(OAuthError::NotForThisClient);
    }
    let resource = audience::choose(&mut tx, core, issuer, client.id, form.get("resource")).await?;
    let scopes = scopes::asked(&mut tx, form).await?;
    queries::forget_of_tenant(&mut tx, now.to_offset()).await?;
    let (all, own) = queries::pending(&mut tx, client.id).await?;
    if all >= MOST || own >= OF_CLIENT {
        return Err(OAuthError::Limited { retry_after: LIFE });
    }
    let new = queries::New {
        id,
        client: client.id,
        lookup: &device.lookup,
        hash: &hash,
        user_code: &core.secrets.user_code_mac(issuer.tenant, &user_code),
        resource: &resource,
        scopes: &scopes,
        interval: INTERVAL,
    };
    queries::insert(&mut tx, &new, (now.to_offset(), now.plus(LIFE).to_offset())).await?;
    let what = format!("{id} {resource} by {}", client.by);
    log::done(tx, core, (client, origin), "begin_device_authorization", what).await?;
    let shown = code::shown(&user_code);
    let answer = Answer {
        device_code: device.text.expose_secret(),
        user_code: &shown,
        verification_uri: verification_uri(issuer),
        verification_uri_complete: format!("{}?user_code={shown}", verification_uri(issuer)),
        expires_in: LIFE.as_secs(),
        interval: INTERVAL,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// The token, when its record is committed; before a person has decided, an error that says so.
pub(super) async fn issue(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    form: &Form,
) -> Result<Issued, OAuthError> {
    let unknown = || OAuthError::Assertion("the device code is none that this client was given, or was used");
    let text = form.need("device_code")?;
    let presented = key::parse(KeyKind::DeviceCode, text).map_err(|_| unknown())?;
    let now = core.clock.now();
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let made = client.still(&mut tx, core).await?;
    let Some(found) = queries::hold(&mut tx, client.id, presented.lookup).await? else {
        core.secrets.dummy_token(&presented);
        return Err(unknown());
    };
    if !core.secrets.verify_token(&presented, &found.hash) {
        return Err(unknown());
    }
    if found.expires_at <= now {
        return Err(OAuthError::Device(DeviceError::Expired));
    }
    let (member, signed_in_at) = match found.decision {
        Decision::Denied => return Err(OAuthError::Device(DeviceError::Denied)),
        Decision::Allowed(member, signed_in_at) => (member, signed_in_at),
        Decision::Pending => {
            let patience = Duration::from_secs(found.interval.unsigned_abs().into());
            let soon = found.polled_at.is_some_and(|at| now.since(at) < patience);
            let interval = if soon { found.interval.saturating_add(LONGER) } else { found.interval };
            queries::polled(&mut tx, found.id, interval, now.to_offset()).await?;
            tx.commit_unpublished().await?;
            return Err(OAuthError::Device(if soon { DeviceError::SlowDown } else { DeviceError::Pending }));
        }
    };
    // Asked again: it was some minutes ago that they agreed.
    if !families::queries::hold_member(&mut tx, member).await? {
        return Err(OAuthError::Device(DeviceError::Denied));
    }
    let audience = audience::choose(&mut tx, core, issuer, client.id, Some(&found.resource)).await?;
    // Good once.
    queries::delete(&mut tx, found.id).await?;
    let asked = Asked {
        subject: Subject::Member(member),
        client: client.id,
        made,
        lifetime: client.lifetime,
        audience,
        scopes: found.scopes,
        confirmation: client.confirmation,
        auth_time: Some(signed_in_at.secs()),
        actor: None,
    };
    let issued = access_token::issue(&mut tx, core, issuer, asked).await?;
    let what = format!("{} {} for {member} by {}", issued.id(), issued.claims.aud, client.by);
    log::done(tx, core, (client, origin), "issue_token", what).await?;
    Ok(issued)
}

/// What a person is shown of what they decide about.
struct Asking {
    id: Uuid,
    client: ClientId,
    resource: String,
    scopes: ids::Scopes,
}

/// Forgets codes that have ended.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.operator().await?;
    let forgotten = queries::forget(&mut tx, core.clock.now().to_offset()).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "device codes of the past deleted");
    Ok(())
}
