//! Which proofs were taken, and of whom they are required.

use ids::ClientId;
use time::OffsetDateTime;

use crate::db::{StoreError, TenantTx};

/// Whether all of the client's tokens have to be bound.
pub(super) async fn has_to_prove(tx: &mut TenantTx, client: ClientId) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        "SELECT dpop_bound_access_tokens FROM clients WHERE tenant_id = $1 AND id = $2",
        tenant,
        client.uuid()
    );
    // Whoever is gone meanwhile is given nothing.
    Ok(found.fetch_optional(tx.conn()).await?.unwrap_or(true))
}

/// Notes that a proof was taken; `false`: it was before, or too many are noted.
pub(super) async fn take(
    tx: &mut TenantTx,
    client: ClientId,
    digest: &[u8; 32],
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
    most: i64,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let taken = sqlx::query!(
        "INSERT INTO client_assertions (tenant_id, client_id, digest, expires_at)
         SELECT tenant_id, id, $3, $5 FROM clients WHERE tenant_id = $1 AND id = $2
           AND (SELECT count(*) FROM client_assertions
                WHERE tenant_id = $1 AND client_id = $2 AND expires_at >= $4) < $6
         ON CONFLICT (tenant_id, client_id, digest) DO NOTHING",
        tenant,
        client.uuid(),
        digest.as_slice(),
        now,
        expires_at,
        most
    );
    Ok(taken.execute(tx.conn()).await?.rows_affected() == 1)
}
