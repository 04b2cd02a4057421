//! Members at the API's origin, where they administer what their `admin_role` allows. They come there by a code of their tenant's issuer,
//! whose built-in client this is, and have a cookie of that origin. What it stands for belongs to their session at the authorization
//! servers' origin and ends with it, when they are removed, and when what they are changes.

pub(crate) mod pages;
mod queries;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{digest, secret::ct_eq};
use ids::{AccountId, MemberId, TenantId};
use seams::Timestamp;

use super::{
    cookie::Value,
    session::{self, Session},
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    resources::members::types::AdminRole,
};

/// How long a code is good.
const CODE_GOOD_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// A member who administers.
#[derive(Debug, Clone)]
pub(crate) struct AdminSession {
    pub(crate) tenant: TenantId,
    pub(crate) slug: String,
    pub(crate) member: MemberId,
    pub(crate) account: AccountId,
    /// When they signed in.
    pub(crate) signed_in_at: Timestamp,
    /// The tenant for which alone they have signed in.
    pub(crate) only: Option<TenantId>,
    /// Of the session at the authorization servers' origin.
    parent: [u8; 32],
    pub(crate) value: Value,
}

/// A member, and what they may administer as things stand.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) session: AdminSession,
    pub(crate) email: String,
    pub(crate) role: AdminRole,
}

/// Whether somebody does something now, or something asks that they left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    Used,
    LeftOpen,
}

/// Whose session at the API's origin it is, if it goes on and they may administer something.
pub(crate) async fn find(core: &Core, value: &Value, asking: Asking) -> Result<Option<Standing>, StoreError> {
    let now = core.clock.now().to_offset();
    let mut tx = core.store.people().await?;
    let Some((session, seen_at)) = queries::find(&mut tx, value, session::good_since(now)).await? else {
        return Ok(None);
    };
    if core.kills.stop_member(session.tenant, session.member) {
        // Also for when the kill is lifted.
        queries::end(&mut tx, &value.digest()).await?;
        tx.commit().await?;
        return Ok(None);
    }
    if asking == Asking::Used && session::is_to_be_noted(seen_at, now) {
        session::note(&mut tx, &session.parent, now).await?;
        tx.commit().await?;
    } else {
        drop(tx);
    }
    let mut tx = core.store.tenant(session.tenant).await?;
    let found = queries::role(&mut tx, session.member).await?;
    Ok(found.filter(|(role, _)| role.administers()).map(|(role, email)| Standing { session, email, role }))
}

/// What a member may administer; `None`: nothing, or they are switched off.
pub(crate) async fn role(tx: &mut TenantTx, member: MemberId) -> Result<Option<AdminRole>, StoreError> {
    Ok(queries::role(tx, member).await?.map(|(role, _)| role).filter(|role| role.administers()))
}

/// What the issuer gives the member who has signed in, with this digest, for who has made the challenge.
pub(crate) async fn grant(
    tx: &mut TenantTx,
    core: &Core,
    (member, session): (MemberId, &Session),
    code: &[u8; 32],
    challenge: &str,
) -> Result<(), StoreError> {
    let until = core.clock.now().plus(CODE_GOOD_FOR).to_offset();
    queries::insert(tx, (member, &session.value.digest()), (code, challenge, until)).await
}

/// Begins the session for which the code was given, under `value`; whose it is. A code that comes twice ends what came of it.
async fn redeem(
    tx: &mut TenantTx,
    core: &Core,
    (code, verifier): (&[u8; 32], &str),
    value: &Value,
) -> Result<Option<(MemberId, [u8; 32])>, StoreError> {
    let Some(granted) = queries::hold(tx, code).await? else { return Ok(None) };
    let made = URL_SAFE_NO_PAD.encode(digest::sha256(verifier.as_bytes()));
    let now = core.clock.now().to_offset();
    if granted.used || granted.until <= now || !ct_eq(made.as_bytes(), granted.challenge.as_bytes()) {
        queries::delete(tx, code).await?;
        return Ok(None);
    }
    queries::begin(tx, code, &value.digest()).await?;
    Ok(Some((granted.member, granted.session)))
}

/// Ends the member's sessions at the API's origin: what they may is another from now on.
pub(crate) async fn end_of_member(tx: &mut TenantTx, member: MemberId) -> Result<(), StoreError> {
    queries::end_of_member(tx, member).await
}

/// Forgets codes that nobody has used.
pub(super) async fn forget(core: &Core) -> Result<(), StoreError> {
    let mut tx = core.store.people().await?;
    queries::forget(&mut tx, core.clock.now().to_offset()).await?;
    tx.commit().await
}
