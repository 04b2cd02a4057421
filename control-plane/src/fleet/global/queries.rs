//! `proxies`: how far each is with the fleet's configuration.

use ids::ProxyId;
use seams::Timestamp;
use wire::stream::Version;

use super::super::queries::stored_rev;
use crate::db::{OperatorTx, StoreError};

/// It enforces this from now on: what it answers is compared with what it had answered until now.
pub(super) async fn applied(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    version: Version,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE proxies SET global_rev = $2, global_digest = $3, global_rejected_rev = 0, global_rejected_code = NULL,
           global_rejected_detail = NULL, global_at = $4, global_boot = boot, global_answers = answers,
           global_refusals = refusals, global_failures = failures, global_turned_away = turned_away
         WHERE id = $1",
        proxy.uuid(),
        stored_rev(version.rev),
        version.digest.as_slice(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It says that it enforces this from before. Known already, it stays as it is: since when, and which run said so first.
pub(super) async fn claimed(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    version: Version,
    now: Timestamp,
) -> Result<(), StoreError> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM global_revisions WHERE rev = $2 AND digest = $3) AS "made!"
           FROM proxies WHERE id = $1 AND (global_rev, global_digest) IS DISTINCT FROM ($2, $3)"#,
        proxy.uuid(),
        stored_rev(version.rev),
        version.digest.as_slice()
    )
    .fetch_optional(tx.conn())
    .await?;
    match known {
        None => Ok(()),
        Some(true) => applied(tx, proxy, version, now).await,
        // Never made, or with other content: it counts as none.
        Some(false) => removed(tx, proxy).await,
    }
}

/// It enforces none.
pub(super) async fn removed(tx: &mut OperatorTx, proxy: ProxyId) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE proxies SET global_rev = 0, global_digest = NULL, global_at = NULL WHERE id = $1 AND global_rev > 0",
        proxy.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It refused this and goes on with what it had.
pub(super) async fn rejected(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    rev: u64,
    code: &str,
    detail: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE proxies SET global_rejected_rev = $2, global_rejected_code = $3, global_rejected_detail = $4 WHERE id = $1",
        proxy.uuid(),
        stored_rev(rev),
        code,
        detail
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
