//! A member of a tenant chooses another password, by a link that one of its owners has made: the page of an invitation, for somebody who
//! is a member already.

use ids::{AccountId, MemberId};

use super::{
    admin,
    html::Html,
    invitation::gone,
    log,
    page::{Page, PageError},
    queries::{self, Invited},
    visitor::Visitor,
};
use crate::{
    app::Core,
    http::problem::ApiError,
    oauth::{client::Origin, families},
    publish::commit::commit_revoking,
    resources::members,
};

pub(super) fn page(invited: &Invited, visitor: &mut Visitor, place: &str, wrong: Option<&str>) -> Page {
    let mut body = Html::default();
    body.markup("<p><strong>").text(&invited.tenant_name).markup("</strong> (<code>");
    body.text(&invited.tenant_slug).markup("</code>) lets <strong>").text(invited.email.as_str());
    body.markup("</strong> choose another password. It is good for this organisation; where you have signed in to it you have to do so again.</p>");
    if let Some(wrong) = wrong {
        body.markup("<p class=\"wrong\" role=\"alert\">").text(wrong).markup("</p>");
    }
    visitor.form(&mut body, place);
    body.hidden("act", "reset")
        .markup("<label>New password<input name=\"password\" type=\"password\" autocomplete=\"new-password\" required></label>")
        .markup("<button>Choose</button></form>");
    Page::new("Choose another password", body)
}

/// The link is over, the password is this one, and what went by the one before has ended: in one transaction.
pub(super) async fn choose(
    core: &Core,
    invited: &Invited,
    hash: &str,
    origin: &Origin,
) -> Result<AccountId, PageError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(invited.tenant).await.map_err(gone)?;
    let taken = members::take_reset(&mut tx, invited.id, now.to_offset()).await?;
    let (member, account): (MemberId, AccountId) = taken.ok_or(PageError::Invitation)?;
    let new = AccountId::from_parts(now.millis(), core.entropy.bytes());
    let mut outside = tx.leave().await?;
    let of = (account, invited.tenant);
    let is_new =
        queries::reset_password(&mut outside, of, (new, hash), now.to_offset()).await.map_err(gone)?;
    tx = outside.enter(invited.tenant).await?;
    if is_new {
        members::change_account(&mut tx, member, new, now.to_offset()).await?;
    }
    admin::end_of_member(&mut tx, member).await?;
    let dead = families::end_of_member(&mut tx, member, now).await?;
    let act = log::act(member, origin, "reset_password", member.to_string());
    commit_revoking(tx, core, &act, Some(dead)).await.map_err(ApiError::from)?;
    Ok(if is_new { new } else { account })
}
