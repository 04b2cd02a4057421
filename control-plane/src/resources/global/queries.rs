//! `global_revisions`, for people.

use prost::Message as _;
use wire::v1::GlobalSnapshot;

use super::types::{Global, GlobalRevision};
use crate::db::{OperatorTx, StoreError};

/// Newest first, older than `before`.
pub(super) async fn list(
    tx: &mut OperatorTx,
    before: i64,
    fetch: i64,
) -> Result<Vec<GlobalRevision>, StoreError> {
    let rows = sqlx::query!(
        "SELECT rev, body, digest, repeats, actor, created_at FROM global_revisions WHERE rev < $1 ORDER BY rev DESC LIMIT $2",
        before,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    let revisions = rows.into_iter().map(|row| {
        // Whatever can be read of it: a control plane of another version may have made it.
        let snapshot = GlobalSnapshot::decode(row.body.as_slice()).unwrap_or_default();
        GlobalRevision {
            global: Global { rev: row.rev.unsigned_abs(), settings: (&snapshot).into() },
            digest: crypto::digest::hex(&row.digest),
            repeats: row.repeats.map(i64::unsigned_abs),
            actor: row.actor,
            created_at: row.created_at,
        }
    });
    Ok(revisions.collect())
}
