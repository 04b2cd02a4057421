//! `{auth origin}/invitations/{invitation}`: where somebody who was invited becomes a member. Whoever has the link is the person that
//! the tenant meant, and makes an account that belongs to it; or joins with one that they have, which is decided by who knows its
//! password, or has just signed in with it, and by nobody else.

use std::fmt;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{Zeroizing, digest};
use http::StatusCode;
use ids::{AccountId, MemberId};

use super::{
    html::Html,
    log,
    page::{Page, PageError, see_other},
    password,
    queries::{self, Invited},
    reset,
    session::Session,
    sign_in,
    visitor::Visitor,
};
use crate::{
    app::Core,
    db::StoreError,
    http::problem::ApiError,
    oauth::{client::Origin, form::Form},
    publish::commit::commit,
    resources::members,
};

/// What stands before the secret, for scanners.
const PREFIX: &str = "pci_";

/// What an invitation's link holds. Shown once.
pub(crate) struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    pub(crate) fn new(core: &Core) -> Self {
        let bytes = Zeroizing::new(core.entropy.bytes::<32>());
        Self(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()))))
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_bytes())
    }

    /// The link.
    pub(crate) fn link(&self, core: &Core) -> String {
        format!("{}/invitations/{}", core.config.urls.auth.as_str().trim_end_matches('/'), *self.0)
    }
}

/// The invitation that the path names.
async fn find(core: &Core, given: &str, origin: &Origin) -> Result<Invited, PageError> {
    let now = core.clock.now().to_offset();
    let found = match given.starts_with(PREFIX) && given.len() <= 128 {
        true => {
            let digest = digest::sha256(given.as_bytes());
            queries::invitation(&mut core.store.people().await?, &digest, now).await?
        }
        false => None,
    };
    if found.is_none() {
        let limited = |retry_after| PageError::Limited { retry_after };
        core.sign_ins.unknown(origin.address, core.clock.monotonic()).map_err(limited)?;
    }
    found.ok_or(PageError::Invitation)
}

/// Shows what one is invited to.
pub(crate) async fn show(
    State(core): State<Core>,
    Path(given): Path<String>,
    uri: Uri,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let invited = find(&core, &given, &origin).await?;
    let mut visitor = Visitor::of(&core, &headers, &origin).await?;
    Ok(page(&core, &invited, &mut visitor, uri.path(), None).into_response())
}

/// The page says the same whether or not there is an account with the address somewhere: that is nothing that who invites is to learn.
fn page(core: &Core, invited: &Invited, visitor: &mut Visitor, place: &str, wrong: Option<&str>) -> Page {
    if invited.member.is_some() {
        return finished(reset::page(invited, visitor, place, wrong), visitor, wrong);
    }
    let mut body = Html::default();
    body.markup("<p><strong>")
        .text(&invited.tenant_name)
        .markup("</strong> (<code>")
        .text(&invited.tenant_slug);
    body.markup("</code>) has invited <strong>");
    body.text(invited.email.as_str()).markup("</strong>.</p>");
    if let Some(wrong) = wrong {
        body.markup("<p class=\"wrong\" role=\"alert\">").text(wrong).markup("</p>");
    }
    body.markup("<h2>With a new account</h2><p>Choose a password of at least 12 characters that nobody else knows.</p>");
    visitor.form(&mut body, place);
    body.hidden("act", "new")
        .markup("<label>Password<input name=\"password\" type=\"password\" autocomplete=\"new-password\" required></label>")
        .markup("<button>Join</button></form>");
    body.markup("<h2>With an account that you have</h2><p>If you are a member of another organisation here with the same address, you can use one account for both. Do so only if nobody but you has ever known its password.</p>");
    visitor.form(&mut body, place);
    body.hidden("act", "join");
    sign_in::organisation(&mut body, "");
    body.markup("<label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>")
        .markup("<button>Join with that account</button></form>");
    if visitor.session.as_ref().is_some_and(|session| may_join(core, invited, session)) {
        body.markup("<p>You have just signed in with this address in this browser.</p>");
        visitor.form(&mut body, place);
        body.hidden("act", "join_signed_in").markup("<button>Join as you are signed in</button></form>");
    }
    finished(Page::new("You are invited", body), visitor, wrong)
}

fn finished(mut page: Page, visitor: &mut Visitor, wrong: Option<&str>) -> Page {
    page.cookies = visitor.cookies();
    if wrong.is_some() {
        page.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    page
}

/// Whether who has signed in is whom the invitation is for, and has done so just now: nobody else decides where an account is a member.
fn may_join(core: &Core, invited: &Invited, session: &Session) -> bool {
    session.email == invited.email && session.only.is_none() && session.is_fresh(core.clock.now())
}

/// Joins.
pub(crate) async fn accept(
    State(core): State<Core>,
    Path(given): Path<String>,
    uri: Uri,
    origin: Origin,
    form: PageForm,
) -> Result<Response, PageError> {
    let PageForm(form) = form;
    let mut visitor = Visitor::who_posted(&core, &form, &origin, uri.path()).await?;
    let invited = find(&core, &given, &origin).await?;
    let typed = form.get("password").unwrap_or_default();
    let who = match (form.get("act"), visitor.session.clone()) {
        // Each of the two kinds of pages has its own forms.
        (act, _) if invited.member.is_some() != (act == Some("reset")) => return Err(PageError::Form),
        (Some("new" | "reset"), _) => match password::check(typed, &invited.email) {
            Ok(()) => {
                sign_in::take(&core, &origin, invited.email.as_str())?;
                Ok(Who::New(password::hash(&core, typed).await?))
            }
            Err(wrong) => Err(wrong),
        },
        (Some("join"), _) => {
            let slug = form.get("tenant").unwrap_or_default().trim();
            let account = sign_in::check(&core, &origin, (slug, invited.email.as_str()), typed).await?;
            account
                .map(Who::Known)
                .ok_or("This is not the password of a member of that organisation with this address.")
        }
        (Some("join_signed_in"), Some(session)) if may_join(&core, &invited, &session) => {
            Ok(Who::Known(session.account))
        }
        _ => return Err(PageError::Form),
    };
    let who = match who {
        Ok(who) => who,
        Err(wrong) => {
            return Ok(page(&core, &invited, &mut visitor, uri.path(), Some(wrong)).into_response());
        }
    };
    let account = match &who {
        Who::New(hash) if invited.member.is_some() => reset::choose(&core, &invited, hash, &origin).await?,
        _ => join(&core, &invited, who, &origin).await?,
    };
    let now = core.clock.now();
    // Who joins with the session that they have has not signed in anew.
    let at = match (form.get("act"), &visitor.session) {
        (Some("join_signed_in"), Some(session)) => session.signed_in_at,
        _ => now,
    };
    let cookies = sign_in::begin(&core, account, at, &visitor).await?;
    see_other("/account", cookies)
}

pub(super) fn gone(error: StoreError) -> PageError {
    match error {
        // The tenant, or the account that was to join, is.
        StoreError::NotFound | StoreError::Conflict(_) => PageError::Invitation,
        error => error.into(),
    }
}

enum Who {
    Known(AccountId),
    /// With this hash of their password.
    New(String),
}

/// The invitation is over, and whom it was for is a member, in one transaction.
async fn join(core: &Core, invited: &Invited, who: Who, origin: &Origin) -> Result<AccountId, PageError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(invited.tenant).await.map_err(gone)?;
    let role = members::take_invitation(&mut tx, invited.id, now.to_offset()).await?;
    let role = role.ok_or(PageError::Invitation)?;
    let account = match who {
        Who::Known(account) => account,
        Who::New(hash) => {
            let account = AccountId::from_parts(now.millis(), core.entropy.bytes());
            let mut outside = tx.leave().await?;
            let at_home = (invited.tenant, &invited.email);
            queries::create_account(&mut outside, account, at_home, Some(&hash), now.to_offset())
                .await
                .map_err(gone)?;
            tx = outside.enter(invited.tenant).await?;
            account
        }
    };
    let member = MemberId::from_parts(now.millis(), core.entropy.bytes());
    members::join(&mut tx, member, account, (&invited.email, role), now.to_offset()).await.map_err(gone)?;
    let act = log::act(member, origin, "accept_invitation", invited.id.to_string());
    commit(tx, core, &act).await.map_err(ApiError::from)?;
    Ok(account)
}

/// A form that a page of ours has.
pub(crate) struct PageForm(pub(crate) Form);

impl axum::extract::FromRequest<Core> for PageForm {
    type Rejection = PageError;

    async fn from_request(request: axum::extract::Request, core: &Core) -> Result<Self, PageError> {
        Ok(Self(Form::read(request, core).await?))
    }
}
