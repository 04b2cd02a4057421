//! `members` and `member_roles`.

use ids::{Id, MemberId, RoleId, TenantId};

use super::super::rows::MemberRow;
use crate::db::{StoreError, TenantTx};

pub(super) async fn members(tx: &mut TenantTx, tenant: TenantId) -> Result<Vec<MemberRow>, StoreError> {
    let rows = sqlx::query!("SELECT id, enabled FROM members WHERE tenant_id = $1", tenant.uuid());
    let rows = rows.fetch_all(tx.conn()).await?;
    Ok(rows.into_iter().map(|row| MemberRow { id: Id::from_uuid(row.id), enabled: row.enabled }).collect())
}

pub(super) async fn member_roles(
    tx: &mut TenantTx,
    tenant: TenantId,
) -> Result<Vec<(MemberId, RoleId)>, StoreError> {
    let rows =
        sqlx::query!("SELECT member_id, role_id FROM member_roles WHERE tenant_id = $1", tenant.uuid());
    let rows = rows.fetch_all(tx.conn()).await?;
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.member_id), Id::from_uuid(row.role_id))).collect())
}
