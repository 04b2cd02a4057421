//! `limits`.

use ids::{ClientId, Id, LimitId, Uuid};
use time::OffsetDateTime;

use super::types::{Limit, LimitSettings};
use crate::{
    db::{StoreError, TenantTx, Unreadable},
    publish::subject::LimitSubject,
};

struct Row {
    id: Uuid,
    subject: String,
    of: Option<Uuid>,
    per_minute: i32,
    burst: i32,
    concurrency: i32,
    per_day: i32,
    per_month: i32,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<Row> for Limit {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let subject = LimitSubject::stored(&row.subject, row.of).ok_or(Unreadable("limit subject"))?;
        Ok(Self {
            id: Id::from_uuid(row.id),
            subject,
            settings: LimitSettings {
                per_minute: row.per_minute.unsigned_abs(),
                burst: row.burst.unsigned_abs(),
                concurrency: row.concurrency.unsigned_abs(),
                per_day: row.per_day.unsigned_abs(),
                per_month: row.per_month.unsigned_abs(),
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Limit>, StoreError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, subject, coalesce(client_id, tool_id, endpoint_id, member_id, key_id) AS of, per_minute, burst,
           concurrency, per_day, per_month, created_at, updated_at
         FROM limits
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        fetch
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Limit::try_from).collect()
}

/// Holds the limit's row until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut TenantTx, id: LimitId) -> Result<Limit, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT id FROM limits WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant, id.uuid())
        .fetch_one(tx.conn())
        .await?;
    get(tx, id).await
}

pub(super) async fn get(tx: &mut TenantTx, id: LimitId) -> Result<Limit, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Row,
        "SELECT id, subject, coalesce(client_id, tool_id, endpoint_id, member_id, key_id) AS of, per_minute, burst,
           concurrency, per_day, per_month, created_at, updated_at
         FROM limits
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_one(tx.conn())
    .await?
    .try_into()
}

/// What applies to a client: its own limit, or that of every client; `None` where the tenant has neither.
pub(super) async fn of_client(
    tx: &mut TenantTx,
    client: ClientId,
) -> Result<Option<LimitSettings>, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, subject, coalesce(client_id, tool_id, endpoint_id, member_id, key_id) AS of, per_minute, burst,
           concurrency, per_day, per_month, created_at, updated_at
         FROM limits
         WHERE tenant_id = $1 AND (client_id = $2 OR subject = 'every_client')
         ORDER BY client_id NULLS LAST LIMIT 1",
        tenant,
        client.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| Limit::try_from(row).map(|limit| limit.settings)).transpose()
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: LimitId,
    subject: LimitSubject,
    settings: &LimitSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let (kind, of) = subject.parts();
    sqlx::query!(
        "INSERT INTO limits (tenant_id, id, subject, client_id, tool_id, endpoint_id, member_id, key_id, per_minute, burst,
           concurrency, per_day, per_month, created_at, updated_at)
         SELECT $1, $2, kind, CASE WHEN kind = 'client' THEN of END, CASE WHEN kind = 'tool' THEN of END,
           CASE WHEN kind = 'endpoint' THEN of END, CASE WHEN kind = 'member' THEN of END,
           CASE WHEN kind = 'key' THEN of END, $5, $6, $7, $8, $9, $10, $10
         FROM (SELECT $3::text AS kind, $4::uuid AS of) AS subject",
        tenant,
        id.uuid(),
        kind,
        of,
        settings.per_minute.cast_signed(),
        settings.burst.cast_signed(),
        settings.concurrency.cast_signed(),
        settings.per_day.cast_signed(),
        settings.per_month.cast_signed(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut TenantTx,
    id: LimitId,
    settings: &LimitSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE limits SET per_minute = $3, burst = $4, concurrency = $5, per_day = $6, per_month = $7, updated_at = $8
         WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid(),
        settings.per_minute.cast_signed(),
        settings.burst.cast_signed(),
        settings.concurrency.cast_signed(),
        settings.per_day.cast_signed(),
        settings.per_month.cast_signed(),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, id: LimitId) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM limits WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether the tenant has what is to be limited; keeps it from being deleted until the transaction ends.
pub(super) async fn subject_exists(tx: &mut TenantTx, subject: LimitSubject) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let (_, Some(of)) = subject.parts() else { return Ok(true) };
    let found = match subject {
        LimitSubject::Tenant | LimitSubject::EveryClient | LimitSubject::EveryMember => return Ok(true),
        LimitSubject::Client(_) => sqlx::query_scalar!(
            "SELECT id FROM clients WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
            tenant,
            of
        )
        .fetch_optional(tx.conn()),
        LimitSubject::Tool(_) => sqlx::query_scalar!(
            "SELECT id FROM tools WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
            tenant,
            of
        )
        .fetch_optional(tx.conn()),
        LimitSubject::Endpoint(_) => sqlx::query_scalar!(
            "SELECT id FROM endpoints WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
            tenant,
            of
        )
        .fetch_optional(tx.conn()),
        LimitSubject::Member(_) => sqlx::query_scalar!(
            "SELECT id FROM members WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE",
            tenant,
            of
        )
        .fetch_optional(tx.conn()),
        LimitSubject::Key(_) => sqlx::query_scalar!(
            "SELECT id FROM api_keys WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL FOR KEY SHARE",
            tenant,
            of
        )
        .fetch_optional(tx.conn()),
    };
    Ok(found.await?.is_some())
}
