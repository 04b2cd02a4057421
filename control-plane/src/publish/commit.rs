//! Committing a change of a tenant's configuration: compile, store, record, commit, wake.

mod queries;

use prost::Message as _;
use telemetry::metric;
use wire::{kill::Credential, snapshot::delta};

use super::{CompileError, Finding, compile, queries as rows};
use crate::{
    app::Core,
    assertions,
    audit::{
        Act, act,
        ending::{After, Ending, Open},
    },
    db::{AuditTx, OperatorTx, StoreError, TenantTx},
    kills, oauth,
};

/// Revisions kept of each tenant.
const KEEP: i64 = 50;
/// Changes are kept of so many revisions and for so long, whichever is less: a proxy that was away for longer is given the whole
/// tenant.
const KEEP_DELTAS: i64 = 1_000;
pub(super) const KEEP_DELTAS_FOR: time::Duration = time::Duration::hours(1);

/// A committed revision.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its number.
    pub rev: u64,
    /// The snapshot's digest.
    pub digest: [u8; 32],
    /// What does nothing as it stands, such as a grant for a tool that is gone.
    pub findings: Vec<Finding>,
    /// Whether it is in force already. Not before the answer is stored with it, and never after a dry run.
    pub committed: bool,
}

/// Why a change was not committed. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The configuration would not compile.
    #[error("the change does not compile")]
    Rejected(#[source] CompileError),
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Commits what `tx` changed as the tenant's next revision. Raising the revision locks the tenant's row, so writes of one
/// tenant follow each other, and revisions are gapless and in order of commit.
///
/// # Errors
/// [`CommitError::Rejected`] if the configuration does not compile; then nothing is stored.
pub async fn commit(tx: TenantTx, core: &Core, act: &Act) -> Result<Published, CommitError> {
    commit_revoking(tx, core, act, None).await
}

/// As [`commit`]. The credential is dead in the same transaction, and goes out on the kill stream at once: it does not wait
/// for the configuration without it.
///
/// # Errors
/// As [`commit`].
pub async fn commit_revoking(
    tx: TenantTx,
    core: &Core,
    act: &Act,
    revoked: Option<Credential>,
) -> Result<Published, CommitError> {
    let started = core.clock.monotonic();
    let mut tx = tx;
    let now = core.clock.now();
    let rev = rows::raise_revision(&mut tx, &core.config.urls.published()).await?;
    let mut rows = rows::load(&mut tx, now).await?;
    core.config.urls.gateway.as_str().trim_end_matches('/').clone_into(&mut rows.gateway);
    rows.issuer = oauth::issuer::published(&mut tx, core, &rows.tenant.slug).await?;
    rows.assertions = assertions::keys::published(&mut tx, core, &rows.tenant.slug).await?;
    let former = queries::snapshot_at(&mut tx, rev - 1).await?;
    // Compiling a large tenant takes long enough to hold up other requests on this thread.
    let (compiled, changes) = tokio::task::spawn_blocking(move || {
        let compiled = compile(&rows, rev)?;
        let changes = former.and_then(|(before, digest)| Some((digest, changes(&before, &compiled.bytes)?)));
        Ok((compiled, changes))
    })
    .await
    .map_err(|error| StoreError::Bug(Box::new(error)))?
    .map_err(|error| CommitError::Rejected(about(&act.target, error)))?;
    rows::store_snapshot(&mut tx, rev, &compiled.bytes, &compiled.digest, now.to_offset()).await?;
    if let Some((from, changes)) = changes {
        queries::store_delta(&mut tx, rev, &from, &compiled.digest, &changes, now.to_offset()).await?;
    }
    let newest = i64::try_from(rev).unwrap_or(i64::MAX);
    if newest > KEEP {
        rows::trim(&mut tx, newest - KEEP).await?;
    }
    queries::trim_deltas(&mut tx, newest - KEEP_DELTAS, now.to_offset() - KEEP_DELTAS_FOR).await?;
    if let Some(credential) = revoked {
        kills::revoke(&mut tx, &core.kills, credential, now).await?;
    }
    let mut audit = tx.into_audit_writer().await?;
    act::record(&mut audit, act, act::Place::Revision(rev), &*core.clock, &*core.entropy).await?;
    end(audit, core, act, if revoked.is_some() { After::Kill } else { After::Wake }).await?;
    metrics::histogram!(metric::PUBLISH).record(core.clock.monotonic().since(started).as_secs_f64());
    let committed = matches!(act.ending, Ending::Commit);
    Ok(Published { rev, digest: compiled.digest, findings: compiled.findings, committed })
}

/// What changed, where it is worth keeping: no less than the whole, or a lot, and proxies are given the whole.
fn changes(before: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    let changes = delta::diff(before, after)?;
    let size = delta::size(&changes);
    (size < after.len() && size <= delta::MAX_DELTA_BYTES).then(|| changes.encode_to_vec())
}

/// Faults of the resource that the act is about point into the act's own document, so they name no resource.
fn about(target: &str, mut error: CompileError) -> CompileError {
    for fault in &mut error.faults {
        if fault.resource == target {
            fault.resource.clear();
        }
    }
    error
}

/// Commits an act on the installation, or the deletion of a tenant: there is no revision to follow from it.
///
/// # Errors
/// [`StoreError`].
pub async fn commit_operator(
    tx: OperatorTx,
    core: &Core,
    act: &Act,
    deleted: Option<ids::TenantId>,
) -> Result<(), StoreError> {
    let mut audit = tx.into_audit_writer(deleted).await?;
    act::record(&mut audit, act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
    end(audit, core, act, if deleted.is_some() { After::Wake } else { After::Nothing }).await
}

/// Commits an act on the configuration of the fleet.
///
/// # Errors
/// [`StoreError`].
pub async fn commit_global(tx: OperatorTx, core: &Core, act: &Act) -> Result<(), StoreError> {
    let mut audit = tx.into_audit_writer(None).await?;
    act::record(&mut audit, act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
    end(audit, core, act, After::Wake).await
}

/// Commits an act in a tenant that changes nothing of its configuration, such as asking for work.
///
/// # Errors
/// [`StoreError`].
pub async fn commit_unpublished(tx: TenantTx, core: &Core, act: &Act) -> Result<(), StoreError> {
    let mut audit = tx.into_audit_writer().await?;
    act::record(&mut audit, act, act::Place::NoRevision, &*core.clock, &*core.entropy).await?;
    end(audit, core, act, After::Wake).await
}

/// Ends the transaction as the act says.
async fn end(audit: AuditTx, core: &Core, act: &Act, after: After) -> Result<(), StoreError> {
    match &act.ending {
        Ending::Commit => {
            audit.commit().await?;
            follow(core, after).await;
            Ok(())
        }
        Ending::RollBack => Ok(()),
        Ending::Keep(kept) => {
            kept.keep(Open { audit, after }).map_err(|_| StoreError::Bug("two commits in one request".into()))
        }
    }
}

/// What follows a commit.
pub async fn follow(core: &Core, after: After) {
    match after {
        After::Nothing => {}
        After::Wake => wake(core).await,
        After::Kill => core.kills.changed(core).await,
    }
}

/// The write is committed, so a lost wake-up is no error: replicas poll every second.
async fn wake(core: &Core) {
    if let Err(error) = core.store.wake().await {
        tracing::debug!(error.cause = %error, "wake-up was not sent");
    }
}
