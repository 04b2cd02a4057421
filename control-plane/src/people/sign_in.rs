//! Signing in with a password. That there is no account, and that the password is another, is the same answer after the same time.

use crypto::{Zeroizing, password};
use errors::ErrorCode;
use http::{HeaderValue, StatusCode};
use ids::AccountId;
use seams::Timestamp;

use super::{
    company,
    cookie::Cookie,
    email::Email,
    html::Html,
    log,
    page::{Page, PageError},
    password::NOBODYS,
    queries,
    session::{self, Session},
    visitor::Visitor,
};
use crate::{
    app::Core,
    oauth::{client::Origin, form::Form, issuer::Issuer},
};

/// How it went.
pub(crate) enum SignedIn {
    /// Good: the cookies to be set.
    Yes(Vec<HeaderValue>),
    /// No account has this address and this password. What was typed as the address.
    No(String),
}

/// Signs in to the tenant with what the form says, in the browser of `visitor`, who sees it under another value from then on.
pub(crate) async fn with(
    core: &Core,
    slug: &str,
    form: &Form,
    origin: &Origin,
    visitor: &Visitor,
) -> Result<SignedIn, PageError> {
    let typed = form.get("email").unwrap_or_default();
    let password = form.get("password").unwrap_or_default();
    let Some(account) = check(core, origin, (slug, typed), password).await? else {
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
    begin(core, account, core.clock.now(), visitor).await
}

/// As [`remember`], for who has signed in at another time.
pub(super) async fn begin(
    core: &Core,
    account: AccountId,
    at: Timestamp,
    visitor: &Visitor,
) -> Result<Vec<HeaderValue>, PageError> {
    let before = visitor.session.as_ref().map(|session| &session.value);
    let made = session::Made { at, only: None };
    let value = session::begin(core, account, made, before).await?;
    Ok(vec![Cookie::Session.set(core, &value)?, Cookie::Visit.clear(core)?])
}

/// Whose e-mail address and password these are, of the tenant's members.
pub(super) async fn check(
    core: &Core,
    origin: &Origin,
    (slug, email): (&str, &str),
    given: &str,
) -> Result<Option<AccountId>, PageError> {
    let email = Email::parse(email.trim());
    // What is no address is somebody who does not exist.
    let recorded = take(core, origin, email.as_ref().map_or("", Email::as_str))?;
    let found = match &email {
        // Postgres takes no NUL, which no slug has.
        Some(email) if !slug.contains('\0') => {
            queries::account(&mut core.store.people().await?, slug, email).await?
        }
        _ => None,
    };
    verify(core, origin, found, (given, recorded)).await
}

/// Whether this is the password of the account that has signed in.
pub(super) async fn is_password(
    core: &Core,
    origin: &Origin,
    session: &Session,
    given: &str,
) -> Result<bool, PageError> {
    let recorded = take(core, origin, session.email.as_str())?;
    let hash = queries::password_hash(&mut core.store.people().await?, session.account).await?;
    Ok(verify(core, origin, Some((session.account, hash)), (given, recorded)).await?.is_some())
}

/// Takes a try. Says whether it is to be recorded.
pub(super) fn take(core: &Core, origin: &Origin, email: &str) -> Result<bool, PageError> {
    let limited = |retry_after| PageError::Limited { retry_after };
    core.sign_ins.take(origin.address, email, core.clock.monotonic()).map_err(limited)
}

async fn verify(
    core: &Core,
    origin: &Origin,
    found: Option<(AccountId, Option<String>)>,
    (given, recorded): (&str, bool),
) -> Result<Option<AccountId>, PageError> {
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

/// To what somebody signs in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To<'a> {
    /// A tenant that the page is of, to go on to what is named so.
    Tenant { issuer: &'a Issuer, then: &'a str },
    /// The tenant that they say; what they have said before.
    Any { typed: &'a str },
}

/// The page on which one signs in, at the place of the page that was asked for.
pub(crate) fn page(visitor: &mut Visitor, place: &str, to: To<'_>, refused: Option<&str>) -> Page {
    let mut body = Html::default();
    if let To::Tenant { issuer, then } = to {
        body.markup("<p>As a member of <strong>")
            .text(&issuer.slug)
            .markup("</strong>, to go on to <strong>");
        body.text(then).markup("</strong></p>");
    }
    if refused.is_some() {
        let entry = ErrorCode::SignInRefused.entry();
        body.markup("<p class=\"wrong\" role=\"alert\">").text(entry.title).markup(". ").text(entry.remedy);
        body.markup(" <code>").text(entry.slug).markup("</code></p>");
    }
    visitor.form(&mut body, place);
    body.hidden("act", "sign_in");
    if let To::Any { typed } = to {
        organisation(&mut body, typed);
    }
    body.markup("<label>E-mail address<input name=\"email\" type=\"email\" autocomplete=\"username\" required value=\"")
        .text(refused.unwrap_or_default())
        .markup("\"></label><label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>")
        .markup("<button>Sign in</button></form>");
    if let To::Tenant { issuer, .. } = to {
        company::links(&mut body, issuer, place);
    }
    let mut page = Page::new("Sign in", body);
    if refused.is_some() {
        page.status = StatusCode::UNAUTHORIZED;
    }
    page.cookies = visitor.cookies();
    page
}

/// Where one types of which tenant one is a member.
pub(super) fn organisation(body: &mut Html, typed: &str) {
    body.markup("<label>Short name of the organisation<input name=\"tenant\" autocomplete=\"organization\" autocapitalize=\"none\" required value=\"")
        .text(typed)
        .markup("\"></label>");
}
