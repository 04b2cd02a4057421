//! The page on which a member is asked whether a client may act for them.

use super::Step;
use crate::{
    oauth::asking,
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
    }
    asking::scopes(&mut body, &asked.scopes);
    body.markup("<p>The answer goes to <strong>").text(&destination).markup("</strong>.</p>");
    if local {
        body.markup("<p class=\"warning\">This is a program on your own machine. Any program there can say that it is ");
        body.text(&asked.client.name).markup(": agree only if you have just started it yourself.</p>");
    }
    asking::whose_word(&mut body, &asked.client);
    visitor.form(&mut body, &step.place);
    body.markup("<button name=\"act\" value=\"allow\">Allow</button><button name=\"act\" value=\"deny\">Refuse</button>");
    body.markup(asking::OTHER);
    let mut page = Page::new("May this application act for you?", body);
    page.cookies = visitor.cookies();
    page
}

/// Says that whoever has signed in may not decide.
pub(super) fn stranger(step: &Step<'_>, visitor: &mut Visitor, session: &Session) -> Page {
    let back = "<button name=\"act\" value=\"deny\">Go back</button>";
    asking::stranger((step.issuer, &step.place), visitor, session, back)
}
