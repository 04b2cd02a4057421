//! SQL of the kill set as proxies are sent it, and of what they acknowledge.

use crypto::digest;
use ids::{ClientId, Id, KillId, MemberId, ProxyId, TenantId, Uuid};
use seams::Timestamp;
use sqlx::PgConnection;
use time::OffsetDateTime;
use wire::{
    kill::{Credential, Kill, Target},
    v1,
};

use super::{Progress, level_of};
use crate::db::{OperatorTx, StoreError, TenantTx, Unreadable};

/// Above what is stored and above `known`: a database that was restored, or that failed over to one that lagged, counts on
/// from what proxies have been sent.
async fn raise(conn: &mut PgConnection, known: u64) -> Result<u64, StoreError> {
    let known = i64::try_from(known).map_err(|_| Unreadable("kill epoch"))?;
    let epoch = sqlx::query_scalar!(
        "UPDATE kill_epochs SET epoch = greatest(epoch, $1) + 1 WHERE one RETURNING epoch",
        known
    )
    .fetch_one(conn)
    .await?;
    number(epoch)
}

/// The next epoch, held until the transaction ends: do this late in it.
pub(super) async fn raise_in_tenant(tx: &mut TenantTx, known: u64) -> Result<u64, StoreError> {
    raise(tx.conn(), known).await
}

/// As [`raise_in_tenant`].
pub(super) async fn raise_as_operator(tx: &mut OperatorTx, known: u64) -> Result<u64, StoreError> {
    raise(tx.conn(), known).await
}

pub(super) async fn epoch(tx: &mut OperatorTx) -> Result<u64, StoreError> {
    number(sqlx::query_scalar!("SELECT epoch FROM kill_epochs WHERE one").fetch_one(tx.conn()).await?)
}

/// The set. Everything up to the epoch is in it, because that is read first. Of lifts, and of revocations since a moment, there are
/// at most so many: where there are more, tenants take turns, each with its latest, and operators' are one tenant more. A tenant's
/// single tokens come after what else it revoked; they, and members' tokens, are told of only as long as they could live.
pub(super) async fn body(
    tx: &mut OperatorTx,
    lifts: i64,
    (revoked_since, tokens_since, revocations): (OffsetDateTime, OffsetDateTime, i64),
) -> Result<v1::KillBody, StoreError> {
    let epoch = epoch(tx).await?;
    let rows = sqlx::query!(
        "SELECT id, tenant_id, level, subject, drill, created_at FROM kills
         WHERE lifted_at IS NULL AND level <> 'order' ORDER BY id"
    )
    .fetch_all(tx.conn())
    .await?;
    let entries = rows
        .into_iter()
        .map(|row| {
            let tenant = row.tenant_id.map(TenantId::from_uuid);
            let target =
                level_of(&row.level).and_then(|level| Target::parse(level, tenant, row.subject.as_deref()));
            let target = target.ok_or(Unreadable("kill"))?;
            let at = Timestamp::from_offset(row.created_at);
            Ok(Kill { id: Id::from_uuid(row.id), target, drill: row.drill, at }.write())
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let lifted = sqlx::query_scalar!(
        "SELECT id FROM (
           SELECT id, lift_epoch, row_number() OVER (PARTITION BY tenant_id ORDER BY lift_epoch DESC) AS turn
           FROM kills WHERE lifted_at IS NOT NULL ORDER BY turn, lift_epoch DESC LIMIT $1
         ) AS latest ORDER BY lift_epoch DESC",
        lifts
    )
    .fetch_all(tx.conn())
    .await?;
    let revoked = sqlx::query!(
        "SELECT tenant_id, kind, subject_id, member_id, client_id, issued_before FROM (
           SELECT *, row_number() OVER (
             PARTITION BY tenant_id ORDER BY kind = 'token', issued_before DESC, subject_id) AS turn
           FROM revocations WHERE issued_before > CASE WHEN kind IN ('token', 'member_tokens', 'member_client_tokens')
             THEN $3::timestamptz ELSE $1::timestamptz END
           ORDER BY turn, issued_before DESC LIMIT $2
         ) AS latest ORDER BY tenant_id, kind, subject_id",
        revoked_since,
        revocations,
        tokens_since
    )
    .fetch_all(tx.conn())
    .await?;
    let revoked = revoked.into_iter().filter_map(|row| {
        let tenant = TenantId::from_uuid(row.tenant_id);
        let credential = match row.kind.as_str() {
            "key" => Credential::Key(tenant, Id::from_uuid(row.subject_id)),
            "token" => Credential::Token(tenant, Id::from_uuid(row.subject_id)),
            "client_tokens" => Credential::TokensOf(tenant, Id::from_uuid(row.subject_id)),
            "member_tokens" => Credential::TokensOfMember(tenant, Id::from_uuid(row.subject_id)),
            "member_client_tokens" => {
                let (member, client) = row.member_id.zip(row.client_id)?;
                Credential::TokensOfMemberBy(tenant, Id::from_uuid(member), Id::from_uuid(client))
            }
            "client" => Credential::Client(tenant, Id::from_uuid(row.subject_id)),
            // A later version's, and nothing that this one could stand for.
            kind => {
                tracing::error!(tenant.id = %tenant, kind, "a revocation of a kind that this version does not know is not sent");
                return None;
            }
        };
        Some(credential.write(Timestamp::from_offset(row.issued_before)))
    });
    Ok(v1::KillBody {
        epoch,
        entries,
        lifted: lifted.into_iter().map(|id| id.as_bytes().to_vec()).collect(),
        revoked: revoked.collect(),
    })
}

/// Tokens of a client or member end that were made until now by the clock of Postgres, by which they are made too: replicas' clocks differ.
pub(super) async fn revoke(
    tx: &mut TenantTx,
    credential: Credential,
    before: OffsetDateTime,
    epoch: u64,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().uuid();
    let mut both = None;
    let (kind, subject) = match credential {
        Credential::Key(_, key) => ("key", key.uuid()),
        Credential::Client(_, client) => ("client", client.uuid()),
        Credential::TokensOf(_, client) => ("client_tokens", client.uuid()),
        Credential::TokensOfMember(_, member) => ("member_tokens", member.uuid()),
        Credential::TokensOfMemberBy(_, member, client) => {
            both = Some((member.uuid(), client.uuid()));
            ("member_client_tokens", through(member, client))
        }
        Credential::Token(_, token) => ("token", token.uuid()),
    };
    sqlx::query!(
        "INSERT INTO revocations (tenant_id, kind, subject_id, issued_before, epoch, member_id, client_id)
         VALUES ($1, $2, $3, CASE WHEN $2 IN ('client_tokens', 'member_tokens', 'member_client_tokens')
           THEN clock_timestamp() ELSE $4 END, $5, $6, $7)
         ON CONFLICT (tenant_id, kind, subject_id) DO UPDATE SET
           issued_before = greatest(revocations.issued_before, excluded.issued_before), epoch = excluded.epoch",
        tenant,
        kind,
        subject,
        before,
        stored(epoch),
        both.map(|(member, _)| member),
        both.map(|(_, client)| client)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What stands for a member and a client together.
pub(crate) fn through(member: MemberId, client: ClientId) -> Uuid {
    let digest = digest::sha256_parts(&[member.uuid().as_bytes(), client.uuid().as_bytes()]);
    Uuid::from_u128(digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte)))
}

pub(super) async fn forget_revocations(
    tx: &mut OperatorTx,
    (before, tokens_before): (OffsetDateTime, OffsetDateTime),
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "DELETE FROM revocations WHERE issued_before <= CASE WHEN kind IN ('token', 'member_tokens', 'member_client_tokens')
           THEN $2::timestamptz ELSE $1::timestamptz END",
        before,
        tokens_before
    )
    .execute(tx.conn())
    .await?;
    Ok(deleted.rows_affected())
}

/// The proxy has everything up to `epoch` in force since `at`. What it had before it says again after a reconnect, and that
/// changes nothing.
pub(super) async fn acknowledge(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    epoch: u64,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO kill_acks (epoch, proxy_id, acked_at)
         SELECT change.epoch, proxies.id, $3 FROM proxies
         JOIN (SELECT epoch, created_at AS at FROM kills
               UNION ALL SELECT lift_epoch, lifted_at FROM kills WHERE lifted_at IS NOT NULL) change
           ON change.epoch > proxies.kill_epoch AND change.epoch <= $2 AND change.at >= proxies.enrolled_at
         WHERE proxies.id = $1
         ON CONFLICT (epoch, proxy_id) DO NOTHING",
        proxy.uuid(),
        stored(epoch),
        at
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "UPDATE proxies SET kill_epoch = $2 WHERE id = $1 AND kill_epoch < $2",
        proxy.uuid(),
        stored(epoch)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How far each proxy is with the change of `epoch`, made at `since`: those of the tenant's pool, or all.
pub(super) async fn progress(
    tx: &mut OperatorTx,
    tenant: Option<TenantId>,
    epoch: u64,
    now: OffsetDateTime,
) -> Result<Vec<Progress>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT proxies.id, proxies.kill_epoch,
             coalesce(proxies.lease_until > $3, false) AS "live!", kill_acks.acked_at AS "acked_at?"
           FROM proxies LEFT JOIN kill_acks ON kill_acks.proxy_id = proxies.id AND kill_acks.epoch = $2
           WHERE proxies.revoked_at IS NULL
             AND ($1::uuid IS NULL OR proxies.pool_id = (SELECT pool_id FROM tenants WHERE id = $1))
           ORDER BY proxies.id"#,
        tenant.map(|tenant| tenant.uuid()),
        stored(epoch),
        now
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Progress {
                proxy: Id::from_uuid(row.id),
                epoch: number(row.kill_epoch)?,
                live: row.live,
                acked_at: row.acked_at.map(Timestamp::from_offset),
            })
        })
        .collect()
}

/// What was ordered while Postgres was away. A row that is there already stays.
pub(super) async fn insert_late(
    tx: &mut OperatorTx,
    kill: &Kill,
    (reason, actor): (&str, &str),
    epoch: u64,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query!(
        "INSERT INTO kills (id, tenant_id, level, subject, drill, reason, by_operator, actor, created_at, epoch)
         SELECT $1, $2, $3, $4, $5, $6, true, $7, $8, $9
         WHERE $2::uuid IS NULL OR EXISTS (SELECT FROM tenants WHERE id = $2)
         ON CONFLICT (id) DO NOTHING",
        kill.id.uuid(),
        kill.target.tenant().map(|tenant| tenant.uuid()),
        super::level_name(kill.target.level()),
        kill.target.subject(),
        kill.drill,
        reason,
        actor,
        kill.at.to_offset(),
        stored(epoch)
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// That a proxy had a kill in force before the kill had a row.
pub(super) async fn acknowledged_before(
    tx: &mut OperatorTx,
    epoch: u64,
    proxy: ProxyId,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO kill_acks (epoch, proxy_id, acked_at) SELECT $1, id, $3 FROM proxies WHERE id = $2
         ON CONFLICT (epoch, proxy_id) DO NOTHING",
        stored(epoch),
        proxy.uuid(),
        at
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn exists(tx: &mut OperatorTx, id: KillId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM kills WHERE id = $1) AS "exists!""#, id.uuid())
        .fetch_one(tx.conn())
        .await?)
}

fn number(value: i64) -> Result<u64, StoreError> {
    Ok(value.try_into().map_err(|_| Unreadable("epoch"))?)
}

fn stored(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
