//! Signing in with a password. That there is no account, and that the password is another, is the same answer after the same time.

use crypto::{Zeroizing, password};
use errors::ErrorCode;
use http::{HeaderValue, StatusCode};
use ids::AccountId;

use super::{
    cookie::Cookie,
    email::Email,
    html::Html,
    log,
    page::{Page, PageError},
    password::NOBODYS,
    queries, session,
    visitor::Visitor,
};
use crate::{
    app::Core,
    oauth::{client::Origin, form::Form},
};

/// How it went.
pub(crate) enum SignedIn {
    /// Good: the cookies to be set.
    Yes(Vec<HeaderValue>),
    /// No account has this address and this password. What was typed as the address.
    No(String),
}

/// Signs in with what the form says, in the browser of `visitor`, who sees it under another value from then on.
pub(crate) async fn with(
    core: &Core,
    form: &Form,
    origin: &Origin,
    visitor: &Visitor,
) -> Result<SignedIn, PageError> {
    let typed = form.get("email").unwrap_or_default();
    let Some(account) = check(core, origin, typed, form.get("password").unwrap_or_default()).await? else {
        return Ok(SignedIn::No(typed.to_owned()));
    };
    Ok(SignedIn::Yes(remember(core, account, visitor).await?))
}

/// A session for the account, in a browser of which nothing from before is kept.
pub(super) async fn remember(
    core: &Core,
    account: AccountId,
    visitor: &Visitor,
) -> Result<Vec<HeaderValue>, PageError> {
    let before = visitor.session.as_ref().map(|session| &session.value);
    let value = session::begin(core, account, before).await?;
    Ok(vec![Cookie::Session.set(core, &value)?, Cookie::Visit.clear(core)?])
}

/// Whose e-mail address and password these are.
pub(super) async fn check(
    core: &Core,
    origin: &Origin,
    email: &str,
    given: &str,
) -> Result<Option<AccountId>, PageError> {
    let email = Email::parse(email.trim());
    // What is no address is somebody who does not exist.
    let counted = email.as_ref().map_or("", Email::as_str);
    let limited = |retry_after| PageError::Limited { retry_after };
    let recorded = core.sign_ins.take(origin.address, counted, core.clock.monotonic()).map_err(limited)?;
    let found = match &email {
        Some(email) => queries::account(&mut core.store.people().await?, email).await?,
        None => None,
    };
    let (account, hash) = match found {
        Some((account, Some(hash))) => (Some(account), hash),
        Some((_, None)) | None => (None, NOBODYS.to_owned()),
    };
    let given = Zeroizing::new(given.to_owned());
    let fits = core.sign_ins.hashing.run(move || password::verify(given.as_bytes(), &hash)).await?;
    let fits = fits.map_err(PageError::internal)?;
    if !fits {
        metrics::counter!(telemetry::metric::SIGN_INS_FAILED).increment(1);
    }
    match account {
        // Nobody is signed in without its being recorded.
        Some(account) if fits => log::record(core, account, origin, "sign_in", None).await?,
        Some(account) if recorded => log::refused_sign_in(core, account, origin),
        _ => {}
    }
    Ok(account.filter(|_| fits))
}

/// The page on which one signs in, at the place of the page that was asked for.
pub(crate) fn page(visitor: &mut Visitor, place: &str, to: Option<&str>, refused: Option<&str>) -> Page {
    let mut body = Html::default();
    if let Some(to) = to {
        body.markup("<p>To go on to <strong>").text(to).markup("</strong></p>");
    }
    if refused.is_some() {
        let entry = ErrorCode::SignInRefused.entry();
        body.markup("<p class=\"wrong\" role=\"alert\">").text(entry.title).markup(". ").text(entry.remedy);
        body.markup(" <code>").text(entry.slug).markup("</code></p>");
    }
    visitor.form(&mut body, place);
    body.hidden("act", "sign_in")
        .markup("<label>E-mail address<input name=\"email\" type=\"email\" autocomplete=\"username\" required value=\"")
        .text(refused.unwrap_or_default())
        .markup("\"></label><label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>")
        .markup("<button>Sign in</button></form>");
    let mut page = Page::new("Sign in", body);
    if refused.is_some() {
        page.status = StatusCode::UNAUTHORIZED;
    }
    page.cookies = visitor.cookies();
    page
}
