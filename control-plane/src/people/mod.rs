//! People: accounts, each at home in one tenant and a member of as many as it has joined, how they sign in, and the pages on which they do.

pub(crate) mod account;
pub(crate) mod admin;
pub mod attempts;
pub(crate) mod company;
pub(crate) mod cookie;
pub mod email;
pub(crate) mod html;
pub(crate) mod invitation;
pub(crate) mod log;
pub(crate) mod page;
mod password;
mod queries;
mod reset;
pub mod session;
pub(crate) mod sign_in;
pub(crate) mod visitor;

use ids::{AccountId, TenantId};
use time::OffsetDateTime;

use self::email::Email;

use crate::{
    app::Core,
    db::{PeopleTx, StoreError},
};

/// What becomes of an account that is no member of the tenant any more, in the same transaction.
pub(crate) async fn left(tx: &mut PeopleTx, account: AccountId, tenant: TenantId) -> Result<(), StoreError> {
    queries::settle(tx, account, tenant).await
}

/// What becomes of the accounts that are at home in a tenant that is to be deleted, in the same transaction.
pub(crate) async fn homeless(tx: &mut PeopleTx, tenant: TenantId) -> Result<(), StoreError> {
    queries::move_out(tx, tenant).await
}

/// Of which tenants the account is a member that is not switched off, with their slugs.
pub(crate) async fn tenants(core: &Core, account: AccountId) -> Result<Vec<(TenantId, String)>, StoreError> {
    let all = queries::memberships(&mut core.store.people().await?, account, log::TENANTS).await?;
    Ok(all.into_iter().filter(|one| one.enabled).map(|one| (one.tenant, one.slug)).collect())
}

/// A new account without a password, of which the tenant is the home: to become a member of it in the same transaction.
pub(crate) async fn create_account(
    tx: &mut PeopleTx,
    id: AccountId,
    at_home: (TenantId, &Email),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    queries::create_account(tx, id, at_home, None, now).await
}
