//! The API's origin as a client of every tenant's issuer: built in, with one redirect URI. Members who may administer something need not
//! agree to it: they are given nothing there that they do not have.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{digest, secret::ct_eq};
use http::Uri;
use ids::MemberId;

use super::{
    answer::{self, Code},
    request::{self, Fresh},
};
use crate::{
    app::Core,
    db::StoreError,
    oauth::{
        asking::{self, place},
        client::Origin,
        form::Form,
        issuer::Issuer,
    },
    people::{
        admin,
        page::{Page, PageError, see_other},
        session::Session,
        sign_in::{self, SignedIn, To},
        visitor::Visitor,
    },
};

/// Its id.
pub(crate) const CLIENT: &str = "portcullis-admin";
/// What is said on the page of sign-in.
const NAME: &str = "administration";

/// Where it is answered.
pub(crate) fn redirect_uri(core: &Core) -> String {
    format!("{}/session/callback", core.config.urls.control.as_str().trim_end_matches('/'))
}

/// The challenge of a verifier (`S256`).
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes()))
}

/// Whether it is what asks.
pub(super) fn is_asked(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "client_id" && value == CLIENT)
}

struct Asked {
    state: String,
    challenge: String,
    fresh: Fresh,
}

/// There is nobody else to be told what is wrong.
fn read(core: &Core, uri: &Uri) -> Result<Asked, PageError> {
    let wrong = || PageError::Authorization("The request is not one that the pages of administration make.");
    let form = request::form(uri.query().unwrap_or_default())?;
    let own = redirect_uri(core);
    let is_own = form.get("redirect_uri").is_some_and(|given| ct_eq(given.as_bytes(), own.as_bytes()));
    if !is_own || form.get("response_type") != Some("code") {
        return Err(wrong());
    }
    Ok(Asked {
        state: form.get("state").filter(|state| state.len() <= 64).ok_or_else(wrong)?.to_owned(),
        challenge: request::challenge(&form).ok_or_else(wrong)?.to_owned(),
        fresh: Fresh::read(&form).map_err(|_| wrong())?,
    })
}

/// Sends back with a code, or asks to sign in.
pub(super) async fn show(
    core: &Core,
    issuer: &Issuer,
    uri: &Uri,
    visitor: &mut Visitor,
) -> Result<Response, PageError> {
    let asked = read(core, uri)?;
    let place = place(uri);
    let now = core.clock.now();
    let session = visitor.session.clone().filter(|session| asked.fresh.is_met_by(session, now));
    let Some(session) = session else {
        return Ok(sign_in_page(core, issuer, &place, visitor, None).into_response());
    };
    let mut tx = core.store.tenant(issuer.tenant).await?;
    let member = match super::queries::member(&mut tx, &session).await? {
        Some(member) if !core.kills.stop_member(issuer.tenant, member) => {
            may_administer(&mut tx, member).await?.then_some(member)
        }
        _ => None,
    };
    let Some(member) = member else {
        return Ok(asking::stranger((issuer, &place), visitor, &session, "").into_response());
    };
    give(core, issuer, tx, (member, &session), &asked).await
}

async fn may_administer(tx: &mut crate::db::TenantTx, member: MemberId) -> Result<bool, StoreError> {
    Ok(admin::role(tx, member).await?.is_some())
}

async fn give(
    core: &Core,
    issuer: &Issuer,
    mut tx: crate::db::TenantTx,
    (member, session): (MemberId, &Session),
    asked: &Asked,
) -> Result<Response, PageError> {
    let limited = |retry_after| PageError::Limited { retry_after };
    core.sign_ins.code(member, core.clock.monotonic()).map_err(limited)?;
    let code = Code::new(core);
    admin::grant(&mut tx, core, (member, session), &code.digest(), &asked.challenge).await?;
    tx.commit_unpublished().await?;
    answer::back(&redirect_uri(core), Some(&asked.state), &issuer.url, &[("code", code.text())])
}

/// Does what a form says: signs in, or lets somebody else do so.
pub(super) async fn act(
    core: &Core,
    issuer: &Issuer,
    uri: &Uri,
    (visitor, form, origin): (&mut Visitor, &Form, &Origin),
) -> Result<Response, PageError> {
    read(core, uri)?;
    let place = place(uri);
    match form.get("act") {
        Some("sign_in") => match sign_in::with(core, &issuer.slug, form, origin, visitor).await? {
            SignedIn::Yes(cookies) => see_other(&request::without_login(uri), cookies),
            SignedIn::No(typed) => {
                Ok(sign_in_page(core, issuer, &place, visitor, Some(&typed)).into_response())
            }
        },
        Some("other") => Ok(sign_in_page(core, issuer, &place, visitor, None).into_response()),
        _ => Err(PageError::Form),
    }
}

fn sign_in_page(
    core: &Core,
    issuer: &Issuer,
    place: &str,
    visitor: &mut Visitor,
    refused: Option<&str>,
) -> Page {
    let to = To::Tenant { issuer, then: NAME };
    let mut page = sign_in::page(visitor, place, to, refused);
    page.leads_to = crate::people::page::source_of(core.config.urls.control.as_str());
    page
}
