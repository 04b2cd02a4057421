//! `tenant_data_keys`.

use ids::{DataKeyId, TenantId};
use time::OffsetDateTime;

use crate::db::{OperatorTx, StoreError, TenantTx};

pub(super) async fn insert(
    tx: &mut OperatorTx,
    tenant: TenantId,
    id: DataKeyId,
    wrapped: &[u8],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO tenant_data_keys (tenant_id, id, wrapped, current, created_at) VALUES ($1, $2, $3, true, $4)",
        tenant.uuid(),
        id.uuid(),
        wrapped,
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn current(tx: &mut TenantTx) -> Result<(DataKeyId, Vec<u8>), StoreError> {
    let tenant = tx.tenant().uuid();
    let row =
        sqlx::query!("SELECT id, wrapped FROM tenant_data_keys WHERE tenant_id = $1 AND current", tenant)
            .fetch_one(tx.conn())
            .await?;
    Ok((DataKeyId::from_uuid(row.id), row.wrapped))
}

pub(super) async fn get(tx: &mut TenantTx, id: DataKeyId) -> Result<Vec<u8>, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT wrapped FROM tenant_data_keys WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn all(
    tx: &mut OperatorTx,
    tenant: TenantId,
) -> Result<Vec<(DataKeyId, Vec<u8>, bool)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, wrapped, current FROM tenant_data_keys WHERE tenant_id = $1 ORDER BY current DESC, id DESC",
        tenant.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (DataKeyId::from_uuid(row.id), row.wrapped, row.current)).collect())
}
