//! Who somebody is whom a company's provider has named: by its `sub` alone, once that is known. Whose address it names is somebody it may
//! speak for; that makes a new member of them, or joins them to one who shows that they are it, and nothing else.

use errors::ErrorCode;
use ids::{AccountId, MemberId};

use super::{
    claims::Said,
    provider::Provider,
    queries::{self, Found},
};
use crate::{
    app::Core,
    db::{StoreError, TenantTx},
    http::problem::ApiError,
    oauth::{client::Origin, issuer::Issuer},
    people::{self, log, page::PageError, session::Session},
    publish::commit::commit,
    resources::members::{self, types::AdminRole},
};

/// Members of a tenant.
const MOST: i64 = 10_000;

const SWITCHED_OFF: PageError = PageError::Company("You are switched off in this organisation.");
const LINK_FIRST: PageError = PageError::Company(
    "There is a member with your address already. Sign in with the password first, and then, within ten minutes and in this browser, with your organisation's sign-in.",
);
const NOT_INVITED: PageError =
    PageError::Company("You are no member of this organisation here. Ask to be invited.");
const FULL: PageError = PageError::Company("The organisation has as many members as it may have.");

/// Lets somebody in, and records it: with which account.
pub(super) async fn admit(
    core: &Core,
    (issuer, provider): (&Issuer, &Provider),
    said: &Said,
    (session, origin): (Option<&Session>, &Origin),
) -> Result<AccountId, PageError> {
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(issuer.tenant).await?;
    let known = queries::identity(&mut tx, provider.id, &said.subject).await?;
    let mut changed = false;
    let (member, account, enabled) = match known {
        Some(found) => found,
        None => {
            let found = match queries::member(&mut tx, &said.email).await? {
                Some(found) => {
                    let (_, account, _) = found;
                    let shows = |session: &Session| {
                        session.account == account && session.only.is_none() && session.is_fresh(now)
                    };
                    if !session.is_some_and(shows) {
                        return Err(LINK_FIRST);
                    }
                    found
                }
                None => {
                    changed = true;
                    let made;
                    (tx, made) = join(tx, core, provider, said).await?;
                    made
                }
            };
            let linked = queries::link(&mut tx, provider.id, (&said.subject, found.0), now.to_offset()).await;
            match linked {
                Ok(()) => found,
                // The member is somebody else of the provider's.
                Err(StoreError::Conflict(_)) => return Err(LINK_FIRST),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let act = log::act(member, origin, "sign_in", format!("{member} by {}", provider.id));
    if !enabled || core.kills.stop_member(issuer.tenant, member) {
        drop(tx);
        log::refused(core, issuer.tenant, &act, ErrorCode::CompanySignInRefused).await?;
        return Err(SWITCHED_OFF);
    }
    changed |= apply(&mut tx, core, (provider, said), member).await?;
    if changed {
        commit(tx, core, &act).await.map_err(ApiError::from)?;
    } else {
        log::done(tx, core, &act).await?;
    }
    Ok(account)
}

/// A new member, with an account that is at home here and has no password.
async fn join(
    mut tx: TenantTx,
    core: &Core,
    provider: &Provider,
    said: &Said,
) -> Result<(TenantTx, Found), PageError> {
    let now = core.clock.now();
    let role = match queries::invited(&mut tx, &said.email, now.to_offset()).await? {
        Some(role) => role,
        None if provider.settings.creates_members => AdminRole::User,
        None => return Err(NOT_INVITED),
    };
    if queries::members(&mut tx).await? >= MOST {
        return Err(FULL);
    }
    let tenant = tx.tenant();
    let account = AccountId::from_parts(now.millis(), core.entropy.bytes());
    let member = MemberId::from_parts(now.millis(), core.entropy.bytes());
    let mut outside = tx.leave().await?;
    people::create_account(&mut outside, account, (tenant, &said.email), now.to_offset()).await?;
    tx = outside.enter(tenant).await?;
    members::join(&mut tx, member, account, (&said.email, role), now.to_offset()).await?;
    Ok((tx, (member, account, true)))
}

/// Gives and takes what the rules say of the person's groups. Whether that changed anything.
async fn apply(
    tx: &mut TenantTx,
    core: &Core,
    (provider, said): (&Provider, &Said),
    member: MemberId,
) -> Result<bool, StoreError> {
    let now = core.clock.now().to_offset();
    let rules = &provider.settings.rules;
    let fitting = || rules.iter().filter(|rule| said.groups.contains(&rule.group));
    let mut changed = false;
    if rules.iter().any(|rule| rule.admin_role.is_some()) {
        let highest = fitting().filter_map(|rule| rule.admin_role).min_by_key(|role| role.rank());
        changed |= members::become_admin(tx, member, highest.unwrap_or(AdminRole::User), now).await?;
    }
    let mut named: Vec<_> = rules.iter().flat_map(|rule| rule.role_ids.iter().copied()).collect();
    named.sort_unstable();
    named.dedup();
    for role in named {
        let wanted = fitting().any(|rule| rule.role_ids.contains(&role));
        changed |= members::have_role(tx, member, role, wanted, now).await?;
    }
    Ok(changed)
}
