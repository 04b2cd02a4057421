//! Credentials of all kinds, `key_uses` and `rotation_schedules`.

use ids::{TenantId, Uuid};
use time::OffsetDateTime;

use super::types::{AgingKind, RotationSchedule, RotationScheduleSettings, Stored};
use crate::db::{StoreError, TenantTx, Unreadable};

/// Those that open something now or will, in order of creation; with `only_overdue`, those that are to be replaced by now.
pub(super) async fn list(
    tx: &mut TenantTx,
    schedule: &RotationScheduleSettings,
    (only_overdue, now): (bool, OffsetDateTime),
    (after, fetch): (Uuid, i64),
) -> Result<Vec<Stored>, StoreError> {
    let tenant = tx.tenant().uuid();
    let days = |kind| i32::from(schedule.of(kind));
    let rows = sqlx::query!(
        r#"SELECT kind AS "kind!", id AS "id!", name AS "name!", client_id, upstream_id, made_at AS "made_at!", last_used_at, ends_at
           FROM (
             SELECT 'admin_token' AS kind, id, name, NULL::uuid AS client_id, NULL::uuid AS upstream_id,
                 created_at AS made_at, NULL::timestamptz AS last_used_at, not_after AS ends_at, $5::int AS days
               FROM admin_tokens WHERE tenant_id = $1 AND revoked_at IS NULL
             UNION ALL
             SELECT 'api_key', k.id, k.name, k.client_id, NULL, k.created_at, u.last_used_at, k.not_after, $6
               FROM api_keys k LEFT JOIN key_uses u ON u.tenant_id = k.tenant_id AND u.key_id = k.id
               WHERE k.tenant_id = $1 AND k.revoked_at IS NULL
             UNION ALL
             SELECT 'client_secret', id, name, client_id, NULL, created_at, last_used_at, not_after, $7
               FROM client_secrets WHERE tenant_id = $1 AND revoked_at IS NULL
             UNION ALL
             SELECT 'public_key', id, name, client_id, NULL, created_at, NULL, not_after, $8
               FROM client_public_keys WHERE tenant_id = $1
             UNION ALL
             SELECT 'signing_key', id, algorithm, NULL, NULL, created_at, NULL, retires_at, $9
               FROM signing_keys WHERE tenant_id = $1 AND revoked_at IS NULL
             UNION ALL
             SELECT 'upstream_credential', id, header, NULL, upstream_id, updated_at, NULL, NULL, $10
               FROM upstream_credentials WHERE tenant_id = $1
           ) AS credentials
           WHERE id > $3 AND (ends_at IS NULL OR ends_at > $2)
             AND (NOT $11 OR made_at + make_interval(days => days) <= $2)
           ORDER BY id LIMIT $4"#,
        tenant,
        now,
        after,
        fetch,
        days(AgingKind::AdminToken),
        days(AgingKind::ApiKey),
        days(AgingKind::ClientSecret),
        days(AgingKind::PublicKey),
        days(AgingKind::SigningKey),
        days(AgingKind::UpstreamCredential),
        only_overdue
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Stored {
                kind: AgingKind::from_name(&row.kind).ok_or(Unreadable("credential kind"))?,
                id: row.id,
                name: row.name,
                client: row.client_id,
                upstream: row.upstream_id,
                made_at: row.made_at,
                last_used_at: row.last_used_at,
                ends_at: row.ends_at,
            })
        })
        .collect()
}

pub(super) async fn schedule(tx: &mut TenantTx) -> Result<RotationSchedule, StoreError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT admin_token_days, api_key_days, client_secret_days, public_key_days, signing_key_days,
           upstream_credential_days, updated_at
         FROM rotation_schedules WHERE tenant_id = $1",
        tenant
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else {
        return Ok(RotationSchedule { settings: RotationScheduleSettings::default(), updated_at: None });
    };
    let days = |days: i32| u16::try_from(days).map_err(|_| Unreadable("days"));
    Ok(RotationSchedule {
        settings: RotationScheduleSettings {
            admin_token_days: days(row.admin_token_days)?,
            api_key_days: days(row.api_key_days)?,
            client_secret_days: days(row.client_secret_days)?,
            public_key_days: days(row.public_key_days)?,
            signing_key_days: days(row.signing_key_days)?,
            upstream_credential_days: days(row.upstream_credential_days)?,
        },
        updated_at: Some(row.updated_at),
    })
}

/// Holds the row, so that nobody changes it between reading and writing; there may be none.
pub(super) async fn lock(tx: &mut TenantTx) -> Result<RotationSchedule, StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM rotation_schedules WHERE tenant_id = $1 FOR UPDATE", tenant)
        .fetch_optional(tx.conn())
        .await?;
    schedule(tx).await
}

pub(super) async fn replace(
    tx: &mut TenantTx,
    settings: &RotationScheduleSettings,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO rotation_schedules (tenant_id, admin_token_days, api_key_days, client_secret_days, public_key_days,
           signing_key_days, upstream_credential_days, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id) DO UPDATE SET admin_token_days = $2, api_key_days = $3, client_secret_days = $4,
           public_key_days = $5, signing_key_days = $6, upstream_credential_days = $7, updated_at = $8",
        tenant,
        i32::from(settings.admin_token_days),
        i32::from(settings.api_key_days),
        i32::from(settings.client_secret_days),
        i32::from(settings.public_key_days),
        i32::from(settings.signing_key_days),
        i32::from(settings.upstream_credential_days),
        now
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Notes when keys of the tenant were used, as far as they are there still.
pub(super) async fn used(tx: &mut TenantTx, keys: &[Uuid], at: &[OffsetDateTime]) -> Result<(), StoreError> {
    let tenant: TenantId = tx.tenant();
    sqlx::query!(
        "INSERT INTO key_uses (tenant_id, key_id, last_used_at)
         SELECT $1, own.id, use.at FROM unnest($2::uuid[], $3::timestamptz[]) AS use (id, at)
           JOIN api_keys own ON own.tenant_id = $1 AND own.id = use.id
         ON CONFLICT (tenant_id, key_id) DO UPDATE SET last_used_at = excluded.last_used_at
           WHERE key_uses.last_used_at < excluded.last_used_at",
        tenant.uuid(),
        keys,
        at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
