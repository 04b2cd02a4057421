//! What people do at the authorization servers' origin, in the audit logs of their tenants.
//!
//! Of an account each sign-in is a record in every tenant that it is a member of, and so are its refusals, as many as are taken from one
//! account ([`super::attempts`]); the others, and what is typed for accounts that do not exist, are counted alone
//! (`portcullis_sign_ins_failed_total`). Refusals are recorded after the answer, so that the time that it takes does not say whether
//! there is an account.

use errors::ErrorCode;
use ids::{AccountId, MemberId, TenantId};

use super::queries;
use crate::{
    app::Core,
    audit::{Act, Actor, act, ending::Ending},
    db::{StoreError, TenantTx},
    oauth::client::Origin,
};

/// Tenants of one account in which a sign-in is recorded.
pub(super) const TENANTS: i64 = 64;

/// An act of a member.
pub(crate) fn act(member: MemberId, origin: &Origin, operation: &'static str, target: String) -> Act {
    Act {
        actor: Actor::Member(member),
        operation,
        target,
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    }
}

/// Commits what a member did, with its record. Nothing of it is configuration.
pub(crate) async fn done(tx: TenantTx, core: &Core, act: &Act) -> Result<(), StoreError> {
    let mut audit = tx.into_audit_writer().await?;
    act::record(&mut audit, act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
    audit.commit().await
}

/// Records that a member was refused something.
pub(crate) async fn refused(
    core: &Core,
    tenant: TenantId,
    act: &Act,
    code: ErrorCode,
) -> Result<(), StoreError> {
    let mut audit = core.store.audit_writer(tenant).await?;
    act::record_refusal(&mut audit, act, code, &*core.clock, &*core.entropy).await?;
    audit.commit().await
}

/// Records, soon, that somebody was not signed in.
pub(super) fn refused_sign_in(core: &Core, account: AccountId, origin: &Origin) {
    let (task, origin) = (core.clone(), origin.clone());
    core.tasks.spawn("record of a sign-in", async move {
        let code = Some(ErrorCode::SignInRefused);
        if let Err(error) = record(&task, account, &origin, "sign_in", code).await {
            tracing::error!(error.cause = %error, "a refused sign-in was not recorded");
        }
    });
}

/// Records what somebody did to their account in every tenant of theirs.
pub(super) async fn record(
    core: &Core,
    account: AccountId,
    origin: &Origin,
    operation: &'static str,
    code: Option<ErrorCode>,
) -> Result<(), StoreError> {
    let memberships = queries::memberships(&mut core.store.people().await?, account, TENANTS).await?;
    for membership in memberships {
        let act = act(membership.member, origin, operation, membership.member.to_string());
        match code {
            Some(code) => refused(core, membership.tenant, &act, code).await?,
            None => {
                let mut audit = core.store.audit_writer(membership.tenant).await?;
                act::record(&mut audit, &act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
                audit.commit().await?;
            }
        }
    }
    Ok(())
}
