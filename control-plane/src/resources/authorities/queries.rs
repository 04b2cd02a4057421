//! `certificate_authorities`.

use ids::{AuthorityId, Id, Uuid};
use time::OffsetDateTime;

use super::types::Authority;
use crate::db::{OperatorTx, StoreError};

struct Row {
    id: Uuid,
    spki_sha256: Vec<u8>,
    proxies: i64,
    created_at: OffsetDateTime,
    issues_from: OffsetDateTime,
    not_after: OffsetDateTime,
    retired_at: Option<OffsetDateTime>,
}

impl From<Row> for Authority {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            key_sha256: crypto::digest::hex(&row.spki_sha256),
            proxies: row.proxies.unsigned_abs(),
            created_at: row.created_at,
            issues_from: row.issues_from,
            not_after: row.not_after,
            retired_at: row.retired_at,
        }
    }
}

pub(super) async fn list(tx: &mut OperatorTx, after: Uuid, fetch: i64) -> Result<Vec<Authority>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, spki_sha256, created_at, coalesce(issues_from, created_at) AS "issues_from!", not_after, retired_at,
             (SELECT count(*) FROM proxies WHERE revoked_at IS NULL AND coalesce(authority_id,
               (SELECT id FROM certificate_authorities ORDER BY created_at, id LIMIT 1)) = authority.id) AS "proxies!"
           FROM certificate_authorities authority WHERE id > $1 ORDER BY id LIMIT $2"#,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn get(tx: &mut OperatorTx, id: AuthorityId) -> Result<Authority, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, spki_sha256, created_at, coalesce(issues_from, created_at) AS "issues_from!", not_after, retired_at,
             (SELECT count(*) FROM proxies WHERE revoked_at IS NULL AND coalesce(authority_id,
               (SELECT id FROM certificate_authorities ORDER BY created_at, id LIMIT 1)) = authority.id) AS "proxies!"
           FROM certificate_authorities authority WHERE id = $1"#,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.into())
}
