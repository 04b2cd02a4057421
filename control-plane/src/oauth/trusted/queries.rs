//! `trusted_assertions`, and the clients that workloads are.

use ids::{ClientId, Id, MemberId, TrustedIssuerId};
use time::OffsetDateTime;

use crate::db::{OperatorTx, StoreError, TenantTx};

/// Notes that an assertion was presented; `false`: it was before, or too many are noted.
pub(super) async fn note(
    tx: &mut TenantTx,
    issuer: TrustedIssuerId,
    digest: &[u8; 32],
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
    most: i64,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM trusted_assertions WHERE tenant_id = $1 AND trusted_issuer_id = $2 AND expires_at < $3",
        tenant,
        issuer.uuid(),
        now
    )
    .execute(tx.conn())
    .await?;
    let inserted = sqlx::query!(
        "INSERT INTO trusted_assertions (tenant_id, trusted_issuer_id, digest, expires_at)
         SELECT $1, $2, $3, $4
         WHERE (SELECT count(*) FROM trusted_assertions WHERE tenant_id = $1 AND trusted_issuer_id = $2) < $5
         ON CONFLICT (tenant_id, trusted_issuer_id, digest) DO NOTHING",
        tenant,
        issuer.uuid(),
        digest,
        expires_at,
        most
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Forgets assertions that have expired.
pub(super) async fn forget(tx: &mut OperatorTx, now: OffsetDateTime) -> Result<u64, StoreError> {
    let deleted = sqlx::query!("DELETE FROM trusted_assertions WHERE expires_at < $1", now);
    Ok(deleted.execute(tx.conn()).await?.rows_affected())
}

/// A client that a workload is.
pub(super) struct Found {
    pub(super) enabled: bool,
    pub(super) lifetime: i32,
}

/// What is stored of a client.
pub(super) async fn client(tx: &mut TenantTx, id: ClientId) -> Result<Option<Found>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Found,
        r#"SELECT c.enabled AND NOT t.suspended AS "enabled!", c.token_lifetime_seconds AS lifetime
           FROM clients c JOIN tenants t ON t.id = c.tenant_id WHERE c.tenant_id = $1 AND c.id = $2"#,
        tenant,
        id.uuid()
    );
    Ok(row.fetch_optional(tx.conn()).await?)
}

/// How the client is called outside: the URL of its document, if one describes it, and else its id.
pub(super) async fn name(tx: &mut TenantTx, id: ClientId) -> Result<String, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT metadata_url FROM client_registrations WHERE tenant_id = $1 AND client_id = $2",
        tenant,
        id.uuid()
    );
    let url = found.fetch_optional(tx.conn()).await?.flatten();
    Ok(url.unwrap_or_else(|| id.to_string()))
}

/// The member with this address, if they may sign in; holds them so.
pub(super) async fn member(tx: &mut TenantTx, email: &str) -> Result<Option<MemberId>, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT id FROM members WHERE tenant_id = $1 AND email = $2 AND enabled FOR SHARE",
        tenant,
        email
    );
    Ok(found.fetch_optional(tx.conn()).await?.map(Id::from_uuid))
}
