//! `{auth origin}/account`: what somebody who has signed in sees of themselves, and where they sign out.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};

use super::{
    cookie::Cookie,
    html::Html,
    invitation::PageForm,
    log,
    page::{Page, PageError, see_other},
    queries, session,
    session::Session,
    sign_in::{self, SignedIn},
    visitor::Visitor,
};
use crate::{app::Core, oauth::client::Origin};

/// Where it is.
const PLACE: &str = "/account";

/// Shows the page, or where one signs in to it.
pub(crate) async fn show(
    State(core): State<Core>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let mut visitor = Visitor::of(&core, &headers, &origin).await?;
    let Some(session) = visitor.session.clone() else {
        return Ok(sign_in::page(&mut visitor, PLACE, None, None).into_response());
    };
    Ok(page(&core, &mut visitor, &session).await?.into_response())
}

async fn page(core: &Core, visitor: &mut Visitor, session: &Session) -> Result<Page, PageError> {
    let memberships =
        queries::memberships(&mut core.store.auth().await?, session.account, log::TENANTS).await?;
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
    body.markup("</ul>");
    for (act, label) in [("sign_out", "Sign out"), ("sign_out_everywhere", "Sign out everywhere")] {
        visitor.form(&mut body, PLACE);
        body.hidden("act", act).markup("<button>").markup(label).markup("</button></form>");
    }
    let mut page = Page::new("Your account", body);
    page.cookies = visitor.cookies();
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
        (Some("sign_in"), _) => match sign_in::with(&core, &form, &origin, &visitor).await? {
            SignedIn::Yes(cookies) => see_other(PLACE, cookies),
            SignedIn::No(typed) => Ok(sign_in::page(&mut visitor, PLACE, None, Some(&typed)).into_response()),
        },
        (Some("sign_out"), Some(session)) => {
            session::end(&core, &session).await?;
            log::record(&core, session.account, &origin, "sign_out", None).await?;
            see_other(PLACE, vec![Cookie::Session.clear(&core)?])
        }
        (Some("sign_out_everywhere"), Some(session)) => {
            session::end_all(&core, session.account).await?;
            log::record(&core, session.account, &origin, "sign_out_everywhere", None).await?;
            see_other(PLACE, vec![Cookie::Session.clear(&core)?])
        }
        _ => Err(PageError::Form),
    }
}
