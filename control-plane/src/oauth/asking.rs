//! What the pages have in common on which a member decides whether a client may act for them: where they are, who asks, for what, and who
//! may not decide.

use axum::http::{StatusCode, Uri};
use ids::Scopes;
use url::Url;

use super::{
    issuer::Issuer,
    registration::{Kind, Resolved},
};
use crate::people::{html::Html, page::Page, session::Session, visitor::Visitor};

/// Path and query of the page: its form is posted there, and is good there alone.
pub(super) fn place(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string)
}

/// The scopes that are asked for.
pub(super) fn scopes(body: &mut Html, scopes: &Scopes) {
    if scopes.is_empty() {
        return;
    }
    body.markup("<p>with these scopes:</p><ul>");
    for scope in scopes.iter() {
        body.markup("<li><code>").text(scope.as_str()).markup("</code></li>");
    }
    body.markup("</ul>");
}

/// Whose word the client's name is, where nobody has made it.
pub(super) fn whose_word(body: &mut Html, client: &Resolved) {
    match (client.kind, client.document.as_ref().and_then(Url::host_str)) {
        (Some(Kind::Document), Some(host)) => {
            body.markup("<p class=\"warning\">It says of itself who it is, at <strong>").text(host);
            body.markup("</strong>. Nobody of your organisation has checked it.</p>");
        }
        (Some(_), _) => {
            body.markup("<p class=\"warning\">It has registered itself. Its name is its own choice, and nobody of your organisation has checked it.</p>");
        }
        (None, _) => {}
    }
}

/// The button by which somebody else signs in, and the end of the form.
pub(super) const OTHER: &str =
    "<button name=\"act\" value=\"other\">Sign in as somebody else</button></form>";

/// Says that whoever has signed in is no member of the tenant, or one who may not sign in. `back`: a button that leads away, if there
/// is somewhere to go.
pub(super) fn stranger(
    (issuer, place): (&Issuer, &str),
    visitor: &mut Visitor,
    session: &Session,
    back: &'static str,
) -> Page {
    let mut body = Html::default();
    body.markup("<p><strong>").text(session.email.as_str()).markup("</strong> may not sign in to <strong>");
    body.text(&issuer.slug).markup("</strong>.</p>");
    visitor.form(&mut body, place);
    body.markup(back).markup(OTHER);
    let mut page = Page::new("Not a member", body);
    page.status = StatusCode::FORBIDDEN;
    page.cookies = visitor.cookies();
    page
}
