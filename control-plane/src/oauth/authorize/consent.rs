//! The page on which a member is asked whether a client may act for them.

use url::Url;

use super::Step;
use crate::{
    oauth::registration::Kind,
    people::{html::Html, page::Page, session::Session, visitor::Visitor},
};

/// Asks.
pub(super) fn page(step: &Step<'_>, visitor: &mut Visitor, session: &Session) -> Page {
    let asked = &step.asked;
    let (destination, local) = asked.destination();
    let mut body = Html::default();
    body.markup("<p><strong>").text(&asked.client.name).markup("</strong> wants to act for you (<strong>");
    body.text(session.email.as_str()).markup("</strong>) at</p><p><code>").text(&asked.resource);
    body.markup("</code></p>");
    if asked.scopes.is_empty() {
        body.markup("<p>It may call what your roles allow without a scope.</p>");
    } else {
        body.markup("<p>with these scopes:</p><ul>");
        for scope in asked.scopes.iter() {
            body.markup("<li><code>").text(scope.as_str()).markup("</code></li>");
        }
        body.markup("</ul>");
    }
    body.markup("<p>The answer goes to <strong>").text(&destination).markup("</strong>.</p>");
    if local {
        body.markup("<p class=\"warning\">This is a program on your own machine. Any program there can say that it is ");
        body.text(&asked.client.name).markup(": agree only if you have just started it yourself.</p>");
    }
    match (asked.client.kind, asked.client.document.as_ref().and_then(Url::host_str)) {
        (Some(Kind::Document), Some(host)) => {
            body.markup("<p class=\"warning\">It says of itself who it is, at <strong>").text(host);
            body.markup("</strong>. Nobody of your organisation has checked it.</p>");
        }
        (Some(_), _) => {
            body.markup("<p class=\"warning\">It has registered itself. Its name is its own choice, and nobody of your organisation has checked it.</p>");
        }
        (None, _) => {}
    }
    visitor.form(&mut body, &step.place);
    body.markup("<button name=\"act\" value=\"allow\">Allow</button><button name=\"act\" value=\"deny\">Refuse</button>");
    body.markup("<button name=\"act\" value=\"other\">Sign in as somebody else</button></form>");
    let mut page = Page::new("May this application act for you?", body);
    page.cookies = visitor.cookies();
    page
}

/// Says that whoever has signed in is no member of the tenant, or one who may not sign in.
pub(super) fn stranger(step: &Step<'_>, visitor: &mut Visitor, session: &Session) -> Page {
    let mut body = Html::default();
    body.markup("<p><strong>").text(session.email.as_str()).markup("</strong> may not sign in to <strong>");
    body.text(&step.issuer.slug).markup("</strong>.</p>");
    visitor.form(&mut body, &step.place);
    body.markup("<button name=\"act\" value=\"other\">Sign in as somebody else</button>");
    body.markup("<button name=\"act\" value=\"deny\">Go back</button></form>");
    let mut page = Page::new("Not a member", body);
    page.status = http::StatusCode::FORBIDDEN;
    page.cookies = visitor.cookies();
    page
}
