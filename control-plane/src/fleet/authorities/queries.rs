//! SQL of the authorities.

use ids::AuthorityId;
use seams::Timestamp;

use super::super::ca::CaRow;
use crate::db::{OperatorTx, StoreError, Unreadable};

/// Held while an authority is made or retired: any number that nothing else uses.
const AUTHORITY_LOCK: i64 = 0x7063_6361;

/// The authorities that are not retired, oldest first.
pub(in crate::fleet) async fn authorities(tx: &mut OperatorTx) -> Result<Vec<CaRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, certificate_der, sealed_key, spki_sha256, created_at,
             coalesce(issues_from, created_at) AS "issues_from!", not_after
           FROM certificate_authorities WHERE retired_at IS NULL ORDER BY created_at, id"#
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(CaRow {
                id: row.id,
                certificate_der: row.certificate_der,
                sealed_key: row.sealed_key,
                spki_sha256: row.spki_sha256.as_slice().try_into().map_err(|_| Unreadable("digest"))?,
                created: Timestamp::from_offset(row.created_at),
                issues_from: Timestamp::from_offset(row.issues_from),
                not_after: Timestamp::from_offset(row.not_after),
            })
        })
        .collect()
}

/// The same, while nobody else adds or retires one.
pub(in crate::fleet) async fn authorities_locked(tx: &mut OperatorTx) -> Result<Vec<CaRow>, StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1) AS locked", AUTHORITY_LOCK).fetch_one(tx.conn()).await?;
    authorities(tx).await
}

pub(in crate::fleet) async fn insert_authority(tx: &mut OperatorTx, made: &CaRow) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO certificate_authorities
           (id, certificate_der, sealed_key, spki_sha256, created_at, issues_from, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        made.id,
        made.certificate_der,
        made.sealed_key,
        made.spki_sha256.as_slice(),
        made.created.to_offset(),
        made.issues_from.to_offset(),
        made.not_after.to_offset(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(in crate::fleet) async fn retire_authority(
    tx: &mut OperatorTx,
    id: AuthorityId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE certificate_authorities SET retired_at = $2 WHERE id = $1",
        id.uuid(),
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many proxies that were not revoked have a certificate of an authority.
pub(in crate::fleet) async fn proxies_under(tx: &mut OperatorTx, id: AuthorityId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM proxies
           WHERE revoked_at IS NULL AND coalesce(authority_id,
             (SELECT id FROM certificate_authorities ORDER BY created_at, id LIMIT 1)) = $1"#,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(count)
}
