//! `consents`, as they are looked at. Who agrees and who withdraws: `oauth/authorize` and `oauth/families`.

use ids::{ConsentId, Id, MemberId, Uuid};
use time::OffsetDateTime;

use super::types::Consent;
use crate::db::{StoreError, TenantTx};

struct Row {
    id: Uuid,
    member_id: Uuid,
    client_id: Uuid,
    resource: String,
    scopes: Vec<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for Consent {
    fn from(row: Row) -> Self {
        Self {
            id: Id::from_uuid(row.id),
            member_id: Id::from_uuid(row.member_id),
            client_id: Id::from_uuid(row.client_id),
            resource: row.resource,
            scopes: row.scopes,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Consent>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, member_id, client_id, resource, scopes, created_at, updated_at FROM consents
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    );
    Ok(rows.fetch_all(tx.conn()).await?.into_iter().map(Into::into).collect())
}

/// Holds the row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: ConsentId) -> Result<Consent, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, member_id, client_id, resource, scopes, created_at, updated_at FROM consents
         WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant,
        id.uuid()
    );
    Ok(row.fetch_one(tx.conn()).await?.into())
}

/// A consent as its member sees it.
pub(crate) struct OwnConsent {
    pub(crate) id: ConsentId,
    pub(crate) client_name: String,
    pub(crate) resource: String,
    pub(crate) scopes: Vec<String>,
}

/// What the member lets clients do, the latest first, at most so much.
pub(crate) async fn of_member(
    tx: &mut TenantTx,
    member: MemberId,
    most: i64,
) -> Result<Vec<OwnConsent>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT o.id, c.name, o.resource, o.scopes FROM consents o
         JOIN clients c ON c.tenant_id = o.tenant_id AND c.id = o.client_id
         WHERE o.tenant_id = $1 AND o.member_id = $2 ORDER BY o.updated_at DESC, o.id LIMIT $3",
        tenant,
        member.uuid(),
        most
    );
    let rows = rows.fetch_all(tx.conn()).await?.into_iter().map(|row| OwnConsent {
        id: Id::from_uuid(row.id),
        client_name: row.name,
        resource: row.resource,
        scopes: row.scopes,
    });
    Ok(rows.collect())
}
