//! `kills`.

use crypto::claims::Subject;
use ids::{Id, KillId, TenantId, Uuid};
use sqlx::PgConnection;
use time::OffsetDateTime;
use wire::kill::Target;

use super::types::{Kill, Level};
use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};

struct Row {
    id: Uuid,
    tenant_id: Option<Uuid>,
    level: String,
    subject: Option<String>,
    drill: bool,
    reason: String,
    by_operator: bool,
    created_at: OffsetDateTime,
    epoch: i64,
    lifted_at: Option<OffsetDateTime>,
    lift_reason: Option<String>,
    lift_epoch: Option<i64>,
}

impl TryFrom<Row> for Kill {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let level = match row.level.as_str() {
            "fleet" => Level::Fleet,
            "tenant" => Level::Tenant,
            "endpoint" => Level::Endpoint,
            "upstream" => Level::Upstream,
            "tool" => Level::Tool,
            "client" => Level::Client,
            "key" => Level::Key,
            "principal" => Level::Principal,
            "order" => Level::Order,
            _ => return Err(Unreadable("kill level").into()),
        };
        let number = |epoch: i64| u64::try_from(epoch).map_err(|_| Unreadable("epoch"));
        Ok(Self {
            id: Id::from_uuid(row.id),
            level,
            tenant_id: row.tenant_id.map(Id::from_uuid),
            target: row.subject,
            drill: row.drill,
            reason: row.reason,
            by_operator: row.by_operator,
            created_at: row.created_at,
            epoch: Some(number(row.epoch)?),
            lifted_at: row.lifted_at,
            lift_reason: row.lift_reason,
            lift_epoch: row.lift_epoch.map(number).transpose()?,
        })
    }
}

fn stored(epoch: Option<u64>) -> i64 {
    i64::try_from(epoch.unwrap_or_default()).unwrap_or(i64::MAX)
}

async fn rows(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    after: Uuid,
    fetch: i64,
) -> Result<Vec<Kill>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, level, subject, drill, reason, by_operator, created_at, epoch, lifted_at, lift_reason,
           lift_epoch
         FROM kills WHERE ($1::uuid IS NULL OR tenant_id = $1) AND id > $2 ORDER BY id LIMIT $3",
        tenant.map(|tenant| tenant.uuid()),
        after,
        fetch
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Kill::try_from).collect()
}

async fn row(conn: &mut PgConnection, tenant: Option<TenantId>, id: KillId) -> Result<Kill, StoreError> {
    sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, level, subject, drill, reason, by_operator, created_at, epoch, lifted_at, lift_reason,
           lift_epoch
         FROM kills WHERE ($1::uuid IS NULL OR tenant_id = $1) AND id = $2",
        tenant.map(|tenant| tenant.uuid()),
        id.uuid()
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

async fn lift_row(
    conn: &mut PgConnection,
    id: KillId,
    (reason, actor): (&str, &str),
    epoch: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE kills SET lifted_at = $2, lift_reason = $3, lift_epoch = $4, lift_actor = $5 WHERE id = $1 RETURNING id",
        id.uuid(),
        now,
        reason,
        stored(Some(epoch)),
        actor
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

pub(super) async fn list(tx: &mut TenantTx, after: Uuid, fetch: i64) -> Result<Vec<Kill>, StoreError> {
    let tenant = tx.tenant();
    rows(tx.conn(), Some(tenant), after, fetch).await
}

pub(super) async fn list_all(tx: &mut OperatorTx, after: Uuid, fetch: i64) -> Result<Vec<Kill>, StoreError> {
    rows(tx.conn(), None, after, fetch).await
}

pub(super) async fn get(tx: &mut TenantTx, id: KillId) -> Result<Kill, StoreError> {
    let tenant = tx.tenant();
    row(tx.conn(), Some(tenant), id).await
}

pub(super) async fn get_any(tx: &mut OperatorTx, id: KillId) -> Result<Kill, StoreError> {
    row(tx.conn(), None, id).await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    kill: &Kill,
    level: &str,
    actor: &str,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO kills (id, tenant_id, level, subject, drill, reason, actor, created_at, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        kill.id.uuid(),
        tenant,
        level,
        kill.target,
        kill.drill,
        kill.reason,
        actor,
        kill.created_at,
        stored(kill.epoch)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert_any(
    tx: &mut OperatorTx,
    kill: &Kill,
    level: &str,
    actor: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO kills (id, tenant_id, level, subject, drill, reason, by_operator, actor, created_at, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, true, $7, $8, $9)",
        kill.id.uuid(),
        kill.tenant_id.map(|tenant| tenant.uuid()),
        level,
        kill.target,
        kill.drill,
        kill.reason,
        actor,
        kill.created_at,
        stored(kill.epoch)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn lift(
    tx: &mut TenantTx,
    id: KillId,
    by: (&str, &str),
    epoch: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    lift_row(tx.conn(), id, by, epoch, now).await
}

pub(super) async fn lift_any(
    tx: &mut OperatorTx,
    id: KillId,
    by: (&str, &str),
    epoch: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    lift_row(tx.conn(), id, by, epoch, now).await
}

/// Kills in force that the tenant's own tokens made.
pub(super) async fn in_force(tx: &mut TenantTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM kills WHERE tenant_id = $1 AND lifted_at IS NULL AND NOT by_operator"#,
        tenant
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Whether the tenant has what a kill names. Killing what does not exist would stop nothing.
pub(super) async fn has(tx: &mut TenantTx, target: &Target) -> Result<bool, StoreError> {
    let tenant = tx.tenant().uuid();
    let (table, id) = match target {
        Target::Fleet | Target::Tenant(_) => return Ok(true),
        Target::Endpoint(_, id) => ("endpoints", id.uuid()),
        Target::Upstream(_, id) => ("upstreams", id.uuid()),
        Target::Tool(_, id) => ("tools", id.uuid()),
        Target::Client(_, id) => ("clients", id.uuid()),
        Target::Key(_, id) => ("api_keys", id.uuid()),
        Target::Principal(_, name) => match name.parse::<Subject>() {
            Ok(Subject::Client(id)) => ("clients", id.uuid()),
            Ok(Subject::Member(id)) => ("members", id.uuid()),
            Err(_) => return Ok(false),
        },
    };
    Ok(sqlx::query_scalar!(
        r#"SELECT CASE $1
             WHEN 'endpoints' THEN EXISTS (SELECT FROM endpoints WHERE tenant_id = $2 AND id = $3)
             WHEN 'upstreams' THEN EXISTS (SELECT FROM upstreams WHERE tenant_id = $2 AND id = $3)
             WHEN 'tools' THEN EXISTS (SELECT FROM tools WHERE tenant_id = $2 AND id = $3)
             WHEN 'clients' THEN EXISTS (SELECT FROM clients WHERE tenant_id = $2 AND id = $3)
             WHEN 'members' THEN EXISTS (SELECT FROM members WHERE tenant_id = $2 AND id = $3)
             ELSE EXISTS (SELECT FROM api_keys WHERE tenant_id = $2 AND id = $3)
           END AS "has!""#,
        table,
        tenant,
        id
    )
    .fetch_one(tx.conn())
    .await?)
}

pub(super) async fn tenant_exists(tx: &mut OperatorTx, tenant: TenantId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM tenants WHERE id = $1) AS "exists!""#,
        tenant.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}
