//! Who looks at a page, and the forms that pages have.

use http::{HeaderMap, HeaderValue};

use super::{
    cookie::{Cookie, Value, check_origin},
    html::Html,
    page::PageError,
    session::{self, Session},
};
use crate::{
    app::Core,
    oauth::{client::Origin, form::Form},
};

/// Who looks at a page.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// Who, if they have signed in.
    pub(crate) session: Option<Session>,
    /// By what the browser is known in which nobody has.
    visit: Value,
    /// Whether the browser was known.
    known: bool,
    /// To be set.
    cookies: Vec<HeaderValue>,
}

impl Visitor {
    /// Of a request for a page.
    pub(crate) async fn of(core: &Core, headers: &HeaderMap, origin: &Origin) -> Result<Self, PageError> {
        let session = session::current(core, headers, origin).await?;
        let mut cookies = Vec::new();
        if session.is_none() && Cookie::Session.read(core, headers).is_some() {
            // It has ended, and need not be looked for again.
            cookies.push(Cookie::Session.clear(core)?);
        }
        let known = Cookie::Visit.read(core, headers);
        let visit = known.clone().unwrap_or_else(|| Value::new(core));
        if known.is_none() {
            cookies.push(Cookie::Visit.set(core, &visit)?);
        }
        Ok(Self { session, visit, known: known.is_some(), cookies })
    }

    /// Of a form that was posted: it is one that a page at `place` has, shown in the same browser to the same person.
    ///
    /// # Errors
    /// [`PageError::Form`] if it is not.
    pub(crate) async fn who_posted(
        core: &Core,
        form: &Form,
        origin: &Origin,
        place: &str,
    ) -> Result<Self, PageError> {
        check_origin(&core.config.urls.auth, &form.headers)?;
        let visitor = Self::of(core, &form.headers, origin).await?;
        // A browser that is not known has been shown nothing.
        if visitor.session.is_none() && !visitor.known {
            return Err(PageError::Form);
        }
        visitor.value().check_form(place, form.get("form"))?;
        Ok(visitor)
    }

    /// What forms are bound to.
    const fn value(&self) -> &Value {
        match &self.session {
            Some(session) => &session.value,
            None => &self.visit,
        }
    }

    /// The beginning of a form of the page at `place`, which is posted to it.
    pub(crate) fn form(&self, html: &mut Html, place: &str) {
        html.markup("<form method=\"post\" action=\"").text(place).markup("\">");
        html.hidden("form", &self.value().form_token(place));
    }

    /// What the page has to set.
    pub(crate) fn cookies(&mut self) -> Vec<HeaderValue> {
        std::mem::take(&mut self.cookies)
    }
}
