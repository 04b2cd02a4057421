//! `{auth origin}/invitations/{invitation}`: where somebody who was invited becomes a member. Whoever has the link is the person that
//! the tenant meant; whose account the address is already, says its password as well.

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
    Ok(page(&invited, &mut visitor, uri.path(), None).into_response())
}

fn page(invited: &Invited, visitor: &mut Visitor, place: &str, wrong: Option<&str>) -> Page {
    let mut body = Html::default();
    body.markup("<p><strong>")
        .text(&invited.tenant_name)
        .markup("</strong> (<code>")
        .text(&invited.tenant_slug);
    body.markup("</code>) has invited <strong>");
    body.text(invited.email.as_str()).markup("</strong>.</p>");
    body.markup(match invited.known {
        true => "<p>There is an account with this address. Its password joins you.</p>",
        false => "<p>Choose a password of at least 12 characters.</p>",
    });
    if let Some(wrong) = wrong {
        body.markup("<p class=\"wrong\" role=\"alert\">").text(wrong).markup("</p>");
    }
    visitor.form(&mut body, place);
    body.markup("<label>Password<input name=\"password\" type=\"password\" required autocomplete=\"");
    body.markup(if invited.known { "current-password" } else { "new-password" });
    body.markup("\"></label><button>Join</button></form>");
    let mut page = Page::new("You are invited", body);
    page.cookies = visitor.cookies();
    if wrong.is_some() {
        page.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    page
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
    let wrong = |visitor: &mut Visitor, wrong: &str| {
        Ok(page(&invited, visitor, uri.path(), Some(wrong)).into_response())
    };
    let account = if invited.known {
        match sign_in::check(&core, &origin, invited.email.as_str(), typed).await? {
            Some(account) => Who::Known(account),
            None => return wrong(&mut visitor, "This is not the password of the account."),
        }
    } else {
        if let Err(why) = password::check(typed, &invited.email) {
            return wrong(&mut visitor, why);
        }
        core.sign_ins
            .take(origin.address, invited.email.as_str(), core.clock.monotonic())
            .map_err(|retry_after| PageError::Limited { retry_after })?;
        Who::New(password::hash(&core, typed).await?)
    };
    let account = join(&core, &invited, account, &origin).await?;
    let cookies = sign_in::remember(&core, account, &visitor).await?;
    see_other("/account", cookies)
}

fn gone(error: StoreError) -> PageError {
    if matches!(error, StoreError::NotFound) { PageError::Invitation } else { error.into() }
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
            let made = queries::create_account(&mut outside, account, &invited.email, &hash, now.to_offset())
                .await?;
            if !made {
                // Somebody with another invitation was faster: now there is a password that is asked for.
                return Err(PageError::Invitation);
            }
            tx = outside.enter(invited.tenant).await?;
            account
        }
    };
    let member = MemberId::from_parts(now.millis(), core.entropy.bytes());
    members::join(&mut tx, member, account, (&invited.email, role), now.to_offset()).await?;
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
