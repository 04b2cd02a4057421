//! `{issuer}/authorize` (RFC 6749 section 4.1, OAuth 2.1): a person lets a client of the tenant act for them at one endpoint.
//!
//! What the request is stands in its URL, and every step reads it from there anew; a form is posted to the same URL and carries a token
//! that is good for that URL alone. So nothing is kept between the steps, and there is no place to be sent on to but the client's own.
//! Until the client and its redirect URI are known to be good, what goes wrong is said on a page (RFC 6749 section 4.1.2.1).

pub(crate) mod admin;
mod answer;
mod consent;
pub(crate) mod queries;
mod request;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use errors::ErrorCode;
use ids::MemberId;
use seams::Timestamp;

use self::{
    answer::Denied,
    request::{Asked, Prompt},
};
use super::{
    asking::place,
    client::Origin,
    issuer::{self, Issuer},
};
use crate::{
    app::Core,
    db::StoreError,
    people::{
        invitation::PageForm,
        log,
        page::{Page, PageError, see_other, source_of},
        session::Session,
        sign_in::{self, SignedIn, To},
        visitor::Visitor,
    },
};

/// What is asked for, and by which URL.
struct Step<'a> {
    core: &'a Core,
    issuer: &'a Issuer,
    asked: Asked,
    /// Path and query.
    place: String,
    origin: Origin,
}

/// Shows what comes next, or sends back to the client what it is given.
pub(crate) async fn show(
    State(core): State<Core>,
    Path(slug): Path<String>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    if admin::is_asked(&uri) {
        let mut visitor = Visitor::of(&core, &headers, &origin).await?;
        return admin::show(&core, &issuer, &uri, &mut visitor).await;
    }
    let (asked, denied) = request::read(&core, &issuer, uri.query().unwrap_or_default(), &origin).await?;
    if let Some(denied) = denied {
        return answer::denied(&issuer, &asked, denied);
    }
    let step = Step { core: &core, issuer: &issuer, asked, place: place(&uri), origin };
    let mut visitor = Visitor::of(&core, &headers, &step.origin).await?;
    let session = visitor.session.clone().filter(|session| step.is_fresh(session));
    let Some(session) = session else {
        return match step.asked.prompt {
            Prompt::None => answer::denied(&issuer, &step.asked, Denied::LoginRequired),
            _ => Ok(step.sign_in(&mut visitor, None)),
        };
    };
    let Some(member) = step.member(&session).await? else {
        return match step.asked.prompt {
            Prompt::None => answer::denied(&issuer, &step.asked, Denied::Refused),
            _ => Ok(step.page(consent::stranger(&step, &mut visitor, &session))),
        };
    };
    if step.is_agreed(member).await? {
        return step.give(&session, member, false).await;
    }
    match step.asked.prompt {
        Prompt::None => answer::denied(&issuer, &step.asked, Denied::ConsentRequired),
        _ => Ok(step.page(consent::page(&step, &mut visitor, &session))),
    }
}

/// Does what a form of the page says.
pub(crate) async fn act(
    State(core): State<Core>,
    Path(slug): Path<String>,
    uri: Uri,
    origin: Origin,
    PageForm(form): PageForm,
) -> Result<Response, PageError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let place = place(&uri);
    let mut visitor = Visitor::who_posted(&core, &form, &origin, &place).await?;
    if admin::is_asked(&uri) {
        return admin::act(&core, &issuer, &uri, (&mut visitor, &form, &origin)).await;
    }
    let (asked, denied) = request::read(&core, &issuer, uri.query().unwrap_or_default(), &origin).await?;
    if let Some(denied) = denied {
        return answer::denied(&issuer, &asked, denied);
    }
    let step = Step { core: &core, issuer: &issuer, asked, place, origin };
    match (form.get("act"), visitor.session.clone()) {
        (Some("sign_in"), _) => {
            match sign_in::with(&core, &issuer.slug, &form, &step.origin, &visitor).await? {
                // Whoever was to sign in anew has done so.
                SignedIn::Yes(cookies) => see_other(&request::without_login(&uri), cookies),
                SignedIn::No(typed) => Ok(step.sign_in(&mut visitor, Some(&typed))),
            }
        }
        (Some("other"), Some(_)) => Ok(step.sign_in(&mut visitor, None)),
        (Some("allow"), Some(session)) if !step.is_fresh(&session) => Ok(step.sign_in(&mut visitor, None)),
        (Some("allow"), Some(session)) => match step.member(&session).await? {
            Some(member) => step.give(&session, member, true).await,
            None => answer::denied(&issuer, &step.asked, Denied::Refused),
        },
        (Some("deny"), Some(session)) => {
            if let Some(member) = step.member(&session).await? {
                let act = log::act(member, &step.origin, "authorize", step.asked.target());
                log::refused(&core, issuer.tenant, &act, ErrorCode::AccessDenied).await?;
            }
            answer::denied(&issuer, &step.asked, Denied::Refused)
        }
        _ => Err(PageError::Form),
    }
}

/// The same place, of somebody who has just signed in.
pub(crate) fn after_sign_in(place: &str) -> Result<String, PageError> {
    let uri: Uri = place.parse().map_err(|_| PageError::Form)?;
    Ok(if uri.query().is_some() { request::without_login(&uri) } else { place.to_owned() })
}

/// Whether whoever sends people to this place wants them to sign in anew.
pub(crate) fn asks_anew(place: &str) -> bool {
    let query = place.split_once('?').map_or("", |(_, query)| query);
    let mut names = url::form_urlencoded::parse(query.as_bytes());
    names.any(|(name, value)| name == "max_age" || (name == "prompt" && value != "consent"))
}

impl Step<'_> {
    /// Whether the person has signed in as lately as the client wants.
    fn is_fresh(&self, session: &Session) -> bool {
        self.asked.fresh.is_met_by(session, self.core.clock.now())
    }

    /// A page of this step; its form may lead to the client.
    fn page(&self, mut page: Page) -> Response {
        page.leads_to = source_of(&self.asked.redirect_uri);
        page.into_response()
    }

    fn sign_in(&self, visitor: &mut Visitor, refused: Option<&str>) -> Response {
        let to = To::Tenant { issuer: self.issuer, then: &self.asked.client.name };
        self.page(sign_in::page(visitor, &self.place, to, refused))
    }

    /// The member of the issuer's tenant that has signed in, if they may.
    async fn member(&self, session: &Session) -> Result<Option<MemberId>, PageError> {
        let mut tx = self.core.store.tenant(self.issuer.tenant).await?;
        Ok(queries::member(&mut tx, session).await?)
    }

    /// Whether the member has agreed to this before. Of a client that anybody's program on the member's machine can claim to be that is
    /// no answer to whether it is the same now (RFC 8252 section 8.6).
    async fn is_agreed(&self, member: MemberId) -> Result<bool, PageError> {
        if self.asked.prompt == Prompt::Consent || self.asked.may_be_anybody() {
            return Ok(false);
        }
        let mut tx = self.core.store.tenant(self.issuer.tenant).await?;
        let agreed = queries::agreed(&mut tx, member, self.asked.client.id, &self.asked.resource).await?;
        Ok(agreed.is_some_and(|agreed| self.asked.scopes.iter().all(|scope| agreed.has(scope.as_str()))))
    }

    /// Gives a code, and notes that the member has agreed, if they just have.
    async fn give(&self, session: &Session, member: MemberId, agreed: bool) -> Result<Response, PageError> {
        let Self { core, issuer, asked, .. } = self;
        let now = core.clock.now();
        let limited = |retry_after| PageError::Limited { retry_after };
        core.sign_ins.code(member, core.clock.monotonic()).map_err(limited)?;
        let mut tx = core.store.tenant(issuer.tenant).await?;
        if core.kills.stop_client(issuer.tenant, asked.client.id) {
            return answer::denied(issuer, asked, Denied::Killed);
        }
        if agreed {
            let id = ids::ConsentId::from_parts(now.millis(), core.entropy.bytes());
            queries::agree(&mut tx, id, member, asked, now.to_offset()).await?;
        }
        let code = answer::Code::new(core);
        queries::insert_code(&mut tx, &code.digest(), (member, session), asked, now).await?;
        let operation = if agreed { "give_consent" } else { "authorize" };
        log::done(tx, core, &log::act(member, &self.origin, operation, asked.target())).await?;
        answer::code(issuer, asked, &code)
    }
}

/// Forgets codes, families and their tokens that have ended.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.operator().await?;
    let now: Timestamp = core.clock.now();
    let forgotten = queries::forget(&mut tx, now.to_offset()).await?;
    tx.commit().await?;
    tracing::debug!(forgotten, "codes and tokens of the past deleted");
    Ok(())
}
