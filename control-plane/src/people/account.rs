//! `{auth origin}/account`: what somebody who has signed in sees of themselves, and where they sign out.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};
use ids::{ConsentId, TenantId};

use super::{
    cookie::Cookie,
    html::Html,
    invitation::PageForm,
    log,
    page::{Page, PageError, see_other},
    password,
    queries::{self, Membership},
    session,
    session::Session,
    sign_in::{self, SignedIn, To},
    visitor::Visitor,
};
use crate::{
    app::Core,
    kills,
    oauth::{client::Origin, families, form::Form},
    resources::consents::queries as consents,
};

/// Where it is.
const PLACE: &str = "/account";
/// Consents of one tenant that are shown.
const CONSENTS: i64 = 200;

/// Shows the page, or where one signs in to it.
pub(crate) async fn show(
    State(core): State<Core>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let mut visitor = Visitor::of(&core, &headers, &origin).await?;
    let Some(session) = visitor.session.clone() else {
        return Ok(sign_in::page(&mut visitor, PLACE, To::Any { typed: "" }, None).into_response());
    };
    Ok(page(&core, &mut visitor, &session, None).await?.into_response())
}

async fn page(
    core: &Core,
    visitor: &mut Visitor,
    session: &Session,
    wrong: Option<&str>,
) -> Result<Page, PageError> {
    let memberships = memberships(core, session).await?;
    let mut body = Html::default();
    body.markup("<p>Signed in as <strong>")
        .text(session.email.as_str())
        .markup("</strong>.</p><h2>Organisations</h2><ul>");
    for membership in &memberships {
        body.markup("<li>")
            .text(&membership.name)
            .markup(" (<code>")
            .text(&membership.slug)
            .markup("</code>)");
        body.markup(if membership.enabled { "</li>" } else { ": switched off</li>" });
    }
    body.markup("</ul><h2>Applications that act for you</h2><ul>");
    for membership in &memberships {
        let mut tx = core.store.tenant(membership.tenant).await?;
        let consents = consents::of_member(&mut tx, membership.member, CONSENTS).await?;
        drop(tx);
        for consent in consents {
            body.markup("<li><strong>").text(&consent.client_name).markup("</strong> at <code>");
            body.text(&consent.resource).markup("</code> ").text(&consent.scopes.join(" "));
            visitor.form(&mut body, PLACE);
            body.hidden("act", "withdraw").hidden("tenant", &membership.tenant.to_string());
            body.hidden("consent", &consent.id.to_string()).markup("<button>Withdraw</button></form></li>");
        }
    }
    body.markup("</ul>");
    body.markup("<h2>Password</h2>");
    if let Some(wrong) = wrong {
        body.markup("<p class=\"wrong\" role=\"alert\">").text(wrong).markup("</p>");
    }
    visitor.form(&mut body, PLACE);
    body.hidden("act", "change_password")
        .markup("<label>Present password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>")
        .markup("<label>New password<input name=\"new_password\" type=\"password\" autocomplete=\"new-password\" required></label>")
        .markup("<button>Change and sign out everywhere else</button></form>");
    for (act, label) in [("sign_out", "Sign out"), ("sign_out_everywhere", "Sign out everywhere")] {
        visitor.form(&mut body, PLACE);
        body.hidden("act", act).markup("<button>").markup(label).markup("</button></form>");
    }
    let mut page = Page::new("Your account", body);
    page.cookies = visitor.cookies();
    if wrong.is_some() {
        page.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(page)
}

/// Does what one of its forms says.
pub(crate) async fn act(
    State(core): State<Core>,
    origin: Origin,
    PageForm(form): PageForm,
) -> Result<Response, PageError> {
    let mut visitor = Visitor::who_posted(&core, &form, &origin, PLACE).await?;
    match (form.get("act"), visitor.session.clone()) {
        (Some("sign_in"), _) => {
            let slug = form.get("tenant").unwrap_or_default().trim();
            match sign_in::with(&core, slug, &form, &origin, &visitor).await? {
                SignedIn::Yes(cookies) => see_other(PLACE, cookies),
                SignedIn::No(typed) => {
                    let to = To::Any { typed: slug };
                    Ok(sign_in::page(&mut visitor, PLACE, to, Some(&typed)).into_response())
                }
            }
        }
        (Some("sign_out"), Some(session)) => {
            session::end(&core, &session).await?;
            log::record(&core, session.account, &origin, "sign_out", None).await?;
            see_other(PLACE, vec![Cookie::Session.clear(&core)?])
        }
        (Some("sign_out_everywhere"), Some(session)) => {
            session::end_all(&core, &session).await?;
            log::record(&core, session.account, &origin, "sign_out_everywhere", None).await?;
            see_other(PLACE, vec![Cookie::Session.clear(&core)?])
        }
        (Some("change_password"), Some(session)) => {
            match change_password(&core, &form, &origin, &visitor, &session).await? {
                Ok(cookies) => see_other(PLACE, cookies),
                Err(wrong) => Ok(page(&core, &mut visitor, &session, Some(wrong)).await?.into_response()),
            }
        }
        (Some("withdraw"), Some(session)) => {
            withdraw(&core, &form, &origin, &session).await?;
            see_other(PLACE, Vec::new())
        }
        _ => Err(PageError::Form),
    }
}

/// Gives the account another password: all sessions end, and this browser has a new one. What is wrong with it, if something is.
async fn change_password(
    core: &Core,
    form: &Form,
    origin: &Origin,
    visitor: &Visitor,
    session: &Session,
) -> Result<Result<Vec<HeaderValue>, &'static str>, PageError> {
    let (typed, new) =
        (form.get("password").unwrap_or_default(), form.get("new_password").unwrap_or_default());
    if let Err(wrong) = password::check(new, &session.email) {
        return Ok(Err(wrong));
    }
    if !sign_in::is_password(core, origin, session, typed).await? {
        return Ok(Err("This is not the present password."));
    }
    let hash = password::hash(core, new).await?;
    let mut tx = core.store.people().await?;
    queries::change_password(&mut tx, session.account, &hash, core.clock.now().to_offset()).await?;
    queries::end_sessions(&mut tx, session.account).await?;
    tx.commit().await?;
    log::record(core, session.account, origin, "change_password", None).await?;
    Ok(Ok(sign_in::remember(core, session.account, visitor).await?))
}

/// Of which tenants they are a member, as far as the session is good for them.
async fn memberships(core: &Core, session: &Session) -> Result<Vec<Membership>, PageError> {
    let mut all =
        queries::memberships(&mut core.store.people().await?, session.account, log::TENANTS).await?;
    all.retain(|one| session.is_for(one.tenant));
    Ok(all)
}

/// Withdraws a consent of the person's; one that is gone, or another's, changes nothing.
async fn withdraw(core: &Core, form: &Form, origin: &Origin, session: &Session) -> Result<(), PageError> {
    let memberships = memberships(core, session).await?;
    let tenant: Option<TenantId> = form.get("tenant").and_then(|id| id.parse().ok());
    let own = memberships.into_iter().find(|membership| Some(membership.tenant) == tenant);
    let consent: Option<ConsentId> = form.get("consent").and_then(|id| id.parse().ok());
    let (Some(own), Some(consent)) = (own, consent) else { return Err(PageError::Form) };
    let now = core.clock.now();
    let mut tx = core.store.tenant(own.tenant).await?;
    let Some(dead) = families::withdraw(&mut tx, consent, Some(own.member), now).await? else {
        return Ok(());
    };
    kills::revoke(&mut tx, &core.kills, dead, now).await?;
    let act = log::act(own.member, origin, "withdraw_consent", consent.to_string());
    log::done(tx, core, &act).await?;
    core.kills.changed(core).await;
    Ok(())
}
