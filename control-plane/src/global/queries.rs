//! `global_revisions`, `global_rollout`, and what proxies say of both.

use std::time::Duration;

use ids::{Id, Uuid};
use seams::Timestamp;
use wire::stream::{TAKES_GLOBAL, Version};

use super::{
    Aims, Stage, State,
    gate::{Counts, Member},
    rollout::{Revision, Rollout},
};
use crate::db::{OperatorTx, StoreError, Unreadable};

struct Row {
    state: String,
    target_rev: Option<i64>,
    stable_rev: Option<i64>,
    stage: i16,
    first_proxy: Option<Uuid>,
    stage_at: time::OffsetDateTime,
    soak_seconds: i32,
    reason: Option<String>,
}

impl TryFrom<Row> for Rollout {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Self {
            state: State::from_name(&row.state).ok_or(Unreadable("state"))?,
            target_rev: row.target_rev.unwrap_or_default().unsigned_abs(),
            stable_rev: row.stable_rev.unwrap_or_default().unsigned_abs(),
            stage: stage(row.stage, row.first_proxy)?,
            stage_at: Timestamp::from_offset(row.stage_at),
            soak: Duration::from_secs(u64::from(row.soak_seconds.unsigned_abs())),
            reason: row.reason,
        })
    }
}

fn stage(percent: i16, first: Option<Uuid>) -> Result<Stage, Unreadable> {
    let percent = u8::try_from(percent).map_err(|_| Unreadable("stage"))?;
    Ok(Stage { percent, first: first.map(Id::from_uuid) })
}

fn stored(rev: u64) -> Option<i64> {
    i64::try_from(rev).ok().filter(|rev| *rev > 0)
}

pub(crate) async fn rollout(tx: &mut OperatorTx) -> Result<Rollout, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT state, target_rev, stable_rev, stage, first_proxy, stage_at, soak_seconds, reason FROM global_rollout"
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.try_into()?)
}

/// Holds the row until the transaction ends.
pub(crate) async fn lock(tx: &mut OperatorTx) -> Result<Rollout, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT state, target_rev, stable_rev, stage, first_proxy, stage_at, soak_seconds, reason FROM global_rollout
         FOR UPDATE"
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.try_into()?)
}

pub(crate) async fn store(tx: &mut OperatorTx, rollout: &Rollout) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE global_rollout SET state = $1, target_rev = $2, stable_rev = $3, stage = $4, first_proxy = $5, stage_at = $6,
           soak_seconds = $7, reason = $8",
        rollout.state.name(),
        stored(rollout.target_rev),
        stored(rollout.stable_rev),
        i16::from(rollout.stage.percent),
        rollout.stage.first.map(Id::uuid),
        rollout.stage_at.to_offset(),
        i32::try_from(rollout.soak.as_secs()).unwrap_or(i32::MAX),
        rollout.reason
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn insert(
    tx: &mut OperatorTx,
    rev: u64,
    body: &[u8],
    digest: &[u8; 32],
    repeats: Option<u64>,
    actor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO global_revisions (rev, body, digest, repeats, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        stored(rev),
        body,
        digest.as_slice(),
        repeats.and_then(stored),
        actor,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A revision, which must exist.
pub(crate) async fn revision(tx: &mut OperatorTx, rev: u64) -> Result<Revision, StoreError> {
    let row = sqlx::query!("SELECT body, digest FROM global_revisions WHERE rev = $1", stored(rev))
        .fetch_one(tx.conn())
        .await?;
    Ok(Revision::read(row.body, row.digest)?)
}

/// The bytes of a revision, as they are pushed.
pub(crate) async fn body(tx: &mut OperatorTx, rev: u64) -> Result<Option<(Version, Vec<u8>)>, StoreError> {
    let row = sqlx::query!("SELECT body, digest FROM global_revisions WHERE rev = $1", stored(rev))
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let digest = row.digest.try_into().map_err(|_| Unreadable("digest"))?;
    Ok(Some((Version { rev, digest }, row.body)))
}

/// What every proxy is to enforce.
pub(crate) async fn aims(tx: &mut OperatorTx) -> Result<Aims, StoreError> {
    let row = sqlx::query!(
        r#"SELECT rollout.state, rollout.stage, rollout.first_proxy, rollout.target_rev, rollout.stable_rev,
             target.digest AS "target_digest?", stable.digest AS "stable_digest?"
           FROM global_rollout rollout
           LEFT JOIN global_revisions target ON target.rev = rollout.target_rev
           LEFT JOIN global_revisions stable ON stable.rev = rollout.stable_rev"#
    )
    .fetch_one(tx.conn())
    .await?;
    let version = |rev: Option<i64>, digest: Option<Vec<u8>>| {
        let Some((rev, digest)) = rev.zip(digest) else { return Ok(None) };
        let digest = digest.try_into().map_err(|_| Unreadable("digest"))?;
        Ok::<_, Unreadable>(Some(Version { rev: rev.unsigned_abs(), digest }))
    };
    Ok(Aims {
        is_rolling: row.state == State::Rolling.name(),
        stage: stage(row.stage, row.first_proxy)?,
        target: version(row.target_rev, row.target_digest)?,
        stable: version(row.stable_rev, row.stable_digest)?,
    })
}

/// Every proxy that was not revoked.
pub(crate) async fn fleet(tx: &mut OperatorTx, now: Timestamp) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, coalesce(lease_until > $1, false) AS "live!", global_rev, global_rejected_rev,
             global_rejected_code, global_rejected_detail, global_at, global_boot IS DISTINCT FROM boot AS "ran_again!",
             answers, refusals, failures, global_answers, global_refusals, global_failures, turned_away, global_turned_away,
             coalesce(protocol >= $2, true) AS "takes_global!"
           FROM proxies WHERE revoked_at IS NULL"#,
        now.to_offset(),
        TAKES_GLOBAL.cast_signed()
    )
    .fetch_all(tx.conn())
    .await?;
    let members = rows.into_iter().map(|row| Member {
        proxy: Id::from_uuid(row.id),
        live: row.live,
        takes_global: row.takes_global,
        rev: row.global_rev.unsigned_abs(),
        rejected_rev: row.global_rejected_rev.unsigned_abs(),
        rejected: [row.global_rejected_code, row.global_rejected_detail]
            .map(Option::unwrap_or_default)
            .join(": "),
        at: row.global_at.map(Timestamp::from_offset),
        ran_again: row.ran_again,
        before: Counts {
            answers: row.global_answers.unsigned_abs(),
            refusals: row.global_refusals.unsigned_abs(),
            failures: row.global_failures.unsigned_abs(),
            turned_away: row.global_turned_away.unsigned_abs(),
        },
        now: Counts {
            answers: row.answers.unsigned_abs(),
            refusals: row.refusals.unsigned_abs(),
            failures: row.failures.unsigned_abs(),
            turned_away: row.turned_away.unsigned_abs(),
        },
    });
    Ok(members.collect())
}
