//! `{issuer}/device`: where a member types what a device shows, sees what it asks for, and decides.
//!
//! What the page is about stands in its URL, and a form is good for that URL alone. Codes that are none are counted by account and by address:
//! who has signed in and guesses is stopped long before there is a chance (RFC 8628 section 5.1).

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use errors::ErrorCode;
use ids::MemberId;

use super::{Asking, code, queries};
use crate::{
    app::Core,
    oauth::{asking, authorize, client::Origin, issuer, issuer::Issuer, registration},
    people::{
        html::Html,
        invitation::PageForm,
        log,
        page::{Page, PageError, see_other},
        session::Session,
        sign_in::{self, SignedIn, To},
        visitor::Visitor,
    },
};

/// Bytes of a query.
const MAX_QUERY: usize = 256;

/// Who looks at the page, and at which.
struct Step<'a> {
    core: &'a Core,
    issuer: &'a Issuer,
    /// Path and query.
    place: String,
    /// What was typed; not that there is such a code.
    typed: Option<String>,
    origin: Origin,
}

/// Shows where to type, or what is asked for.
pub(in crate::oauth) async fn show(
    State(core): State<Core>,
    Path(slug): Path<String>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let step = Step::new(&core, &issuer, &uri, origin)?;
    let mut visitor = Visitor::of(&core, &headers, &step.origin).await?;
    let Some(session) = visitor.session.clone() else {
        return Ok(step.sign_in(&mut visitor, None));
    };
    let Some(_) = step.member(&session).await? else { return Ok(step.stranger(&mut visitor, &session)) };
    let Some(typed) = &step.typed else { return Ok(step.ask(&mut visitor, None)) };
    match step.find(&session, typed).await? {
        Some((_, asking)) => step.consent(&mut visitor, &session, typed, &asking).await,
        None => Ok(step.ask(&mut visitor, Some(ErrorCode::OauthDeviceCodeExpired))),
    }
}

/// Does what a form of the page says.
pub(in crate::oauth) async fn act(
    State(core): State<Core>,
    Path(slug): Path<String>,
    uri: Uri,
    origin: Origin,
    PageForm(form): PageForm,
) -> Result<Response, PageError> {
    let issuer = issuer::find(&core, &slug, origin.address).await?;
    let step = Step::new(&core, &issuer, &uri, origin)?;
    let mut visitor = Visitor::who_posted(&core, &form, &step.origin, &step.place).await?;
    match (form.get("act"), visitor.session.clone()) {
        (Some("sign_in"), _) => {
            match sign_in::with(&core, &issuer.slug, &form, &step.origin, &visitor).await? {
                SignedIn::Yes(cookies) => see_other(&step.place, cookies),
                SignedIn::No(typed) => Ok(step.sign_in(&mut visitor, Some(&typed))),
            }
        }
        (Some("other"), Some(_)) => Ok(step.sign_in(&mut visitor, None)),
        (Some("find"), Some(_)) => match form.get("user_code").and_then(code::typed) {
            Some(typed) => {
                see_other(&format!("{}?user_code={}", uri.path(), code::shown(&typed)), Vec::new())
            }
            None => Ok(step.ask(&mut visitor, Some(ErrorCode::OauthDeviceCodeExpired))),
        },
        (Some(decision @ ("allow" | "deny")), Some(session)) => {
            let Some(member) = step.member(&session).await? else {
                return Ok(step.stranger(&mut visitor, &session));
            };
            step.decide(&session, member, decision == "allow").await
        }
        _ => Err(PageError::Form),
    }
}

impl<'a> Step<'a> {
    fn new(core: &'a Core, issuer: &'a Issuer, uri: &Uri, origin: Origin) -> Result<Self, PageError> {
        let query = uri.query().unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(PageError::Form);
        }
        let mut codes = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "user_code");
        let typed = codes.next().and_then(|(_, value)| code::typed(&value));
        Ok(Self { core, issuer, place: asking::place(uri), typed, origin })
    }

    async fn member(&self, session: &Session) -> Result<Option<MemberId>, PageError> {
        let mut tx = self.core.store.tenant(self.issuer.tenant).await?;
        Ok(authorize::queries::member(&mut tx, session).await?)
    }

    /// What the code asks for. Wrong ones are counted, and after some the right one is not looked for either.
    async fn find(
        &self,
        session: &Session,
        typed: &str,
    ) -> Result<Option<(crate::db::TenantTx, Asking)>, PageError> {
        let (limits, now) = (&self.core.registrations, self.core.clock.monotonic());
        let limited = |retry_after| PageError::Limited { retry_after };
        limits.may_guess(session.account, self.origin.address, now).map_err(limited)?;
        let mac = self.core.secrets.user_code_mac(self.issuer.tenant, typed);
        let mut tx = self.core.store.tenant(self.issuer.tenant).await?;
        let found = queries::asking(&mut tx, &mac, self.core.clock.now().to_offset()).await?;
        if found.is_none() {
            limits.guessed(session.account, self.origin.address, now);
        }
        Ok(found.map(|asking| (tx, asking)))
    }

    async fn decide(&self, session: &Session, member: MemberId, allow: bool) -> Result<Response, PageError> {
        let typed = self.typed.as_deref().ok_or(PageError::Form)?;
        let Some((mut tx, asking)) = self.find(session, typed).await? else {
            return Ok(self.done("This code has ended", "Ask for another on your device."));
        };
        let allowed = allow.then(|| (member, session.signed_in_at.to_offset()));
        queries::decide(&mut tx, asking.id, allowed).await?;
        let target = format!("{} {} {}", asking.id, asking.client, asking.resource);
        let act = log::act(member, &self.origin, "authorize_device", target);
        if allow {
            log::done(tx, self.core, &act).await?;
            return Ok(self.done("Done", "You can go back to your device."));
        }
        tx.commit_unpublished().await?;
        log::refused(self.core, self.issuer.tenant, &act, ErrorCode::OauthDeviceDenied).await?;
        Ok(self.done("Refused", "The device was given nothing."))
    }

    fn sign_in(&self, visitor: &mut Visitor, refused: Option<&str>) -> Response {
        let to = To::Tenant { issuer: self.issuer, then: "a device" };
        sign_in::page(visitor, &self.place, to, refused).into_response()
    }

    /// Where to type.
    fn ask(&self, visitor: &mut Visitor, wrong: Option<ErrorCode>) -> Response {
        let mut body = Html::default();
        if let Some(code) = wrong {
            let entry = code.entry();
            body.markup("<p class=\"wrong\" role=\"alert\">")
                .text(entry.title)
                .markup(". ")
                .text(entry.remedy);
            body.markup(" <code>").text(entry.slug).markup("</code></p>");
        }
        visitor.form(&mut body, &self.place);
        body.hidden("act", "find")
            .markup("<label>Code on your device<input name=\"user_code\" autocomplete=\"off\" autocapitalize=\"characters\" required></label>")
            .markup("<button>Go on</button></form>");
        let mut page = Page::new("Let a device act for you", body);
        page.status = if wrong.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
        page.cookies = visitor.cookies();
        page.into_response()
    }

    /// What is asked for.
    async fn consent(
        &self,
        visitor: &mut Visitor,
        session: &Session,
        typed: &str,
        what: &Asking,
    ) -> Result<Response, PageError> {
        let mut tx = self.core.store.tenant(self.issuer.tenant).await?;
        let client = registration::client(&mut tx, what.client).await?.ok_or(PageError::Form)?;
        drop(tx);
        let mut body = Html::default();
        body.markup("<p>A device that shows <strong>")
            .text(&code::shown(typed))
            .markup("</strong> and runs <strong>");
        body.text(&client.name)
            .markup("</strong> wants to act for you (<strong>")
            .text(session.email.as_str());
        body.markup("</strong>) at</p><p><code>").text(&what.resource).markup("</code></p>");
        asking::whose_word(&mut body, &client);
        asking::scopes(&mut body, &what.scopes);
        body.markup("<p class=\"warning\">Agree only if you have the device before you and have just started this yourself. Whoever has sent you a link or a code wants to act as you.</p>");
        visitor.form(&mut body, &self.place);
        body.markup("<button name=\"act\" value=\"allow\">Allow</button><button name=\"act\" value=\"deny\">Refuse</button>");
        body.markup(asking::OTHER);
        let mut page = Page::new("May this device act for you?", body);
        page.cookies = visitor.cookies();
        Ok(page.into_response())
    }

    fn stranger(&self, visitor: &mut Visitor, session: &Session) -> Response {
        asking::stranger((self.issuer, &self.place), visitor, session, "").into_response()
    }

    fn done(&self, title: &'static str, text: &'static str) -> Response {
        let mut body = Html::default();
        body.markup("<p>").text(text).markup("</p>");
        Page::new(title, body).into_response()
    }
}
