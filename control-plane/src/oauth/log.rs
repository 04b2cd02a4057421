//! What an issuer does for clients, in the audit log of its tenant.
//!
//! Of clients that have proven who they are each issuance, each revocation and each refusal is a record; how many these can be is
//! bounded by client ([`super::attempts`]). Who has proven nothing can send any number of requests, so failed authentications are
//! counted (`portcullis_client_authentications_failed_total`) and not recorded; of clients that come by themselves and are refused a bounded
//! number is recorded; introspections, which change nothing, are counted by
//! the requests' own metric.

use errors::ErrorCode;
use wire::kill::Credential;

use super::{
    client::{Client, Origin, Shown},
    issuer::Issuer,
};
use crate::{
    app::Core,
    audit::{Act, Actor, act, ending::Ending},
    db::{StoreError, TenantTx},
    kills,
};

fn act(client: &Client, origin: &Origin, operation: &'static str, target: String) -> Act {
    Act {
        actor: Actor::Client(client.id),
        operation,
        target,
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    }
}

/// Commits what was done for the client, with its record. Nothing of it is configuration, so nobody is woken.
pub(super) async fn done(
    tx: TenantTx,
    core: &Core,
    (client, origin): (&Client, &Origin),
    operation: &'static str,
    target: String,
) -> Result<(), StoreError> {
    let mut audit = tx.into_audit_writer().await?;
    let act = act(client, origin, operation, target);
    act::record(&mut audit, &act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
    audit.commit().await
}

/// Records that somebody was refused who is no client yet. How many of these there are is bounded by whoever calls.
pub(super) async fn unregistered(
    core: &Core,
    issuer: &Issuer,
    origin: &Origin,
    (operation, target): (&'static str, String),
    code: ErrorCode,
) -> Result<(), StoreError> {
    let mut audit = core.store.audit_writer(issuer.tenant).await?;
    let act = Act {
        actor: Actor::Stranger,
        operation,
        target,
        address: origin.address,
        request_id: origin.request_id.clone(),
        ending: Ending::Commit,
    };
    act::record_refusal(&mut audit, &act, code, &*core.clock, &*core.entropy).await?;
    audit.commit().await
}

/// As [`done`], for the end of a token: it goes out on the kill stream at once.
pub(super) async fn revoked(
    mut tx: TenantTx,
    core: &Core,
    (client, origin): (&Client, &Origin),
    credential: Credential,
    target: String,
) -> Result<(), StoreError> {
    kills::revoke(&mut tx, &core.kills, credential, core.clock.now()).await?;
    done(tx, core, (client, origin), "revoke_token", target).await?;
    core.kills.changed(core).await;
    Ok(())
}

/// As [`revoked`], for all that came of a member's authorization.
pub(super) async fn ended(
    mut tx: TenantTx,
    core: &Core,
    (client, origin): (&Client, &Origin),
    credentials: Vec<Credential>,
    target: String,
) -> Result<(), StoreError> {
    for credential in credentials {
        kills::revoke(&mut tx, &core.kills, credential, core.clock.now()).await?;
    }
    done(tx, core, (client, origin), "end_authorization", target).await?;
    core.kills.changed(core).await;
    Ok(())
}

/// Records that a client was refused what it asked for; of one that has proven nothing, nothing.
pub(super) async fn refused(
    core: &Core,
    issuer: &Issuer,
    (client, origin): (&Client, &Origin),
    operation: &'static str,
    code: ErrorCode,
) -> Result<(), StoreError> {
    // It may be anybody.
    if client.by == Shown::Nothing {
        return Ok(());
    }
    let mut audit = core.store.audit_writer(issuer.tenant).await?;
    let act = act(client, origin, operation, client.by.to_string());
    act::record_refusal(&mut audit, &act, code, &*core.clock, &*core.entropy).await?;
    audit.commit().await
}
