//! SQL of the fleet: the authority, proxies and join tokens, which revisions are current and what proxies say.

use std::collections::{BTreeMap, HashMap};

use ids::{Id, PoolId, ProxyId, TenantId, Uuid};
use seams::Timestamp;
use wire::stream::Version;

use super::{
    ca::Issued,
    progress::{Of, Progress, Run, Said},
};
use crate::{
    db::{AuthTx, OperatorTx, StoreError, Unreadable},
    global::gate::Counts,
};

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable("digest"))
}

pub(super) fn rev(value: i64) -> Result<u64, Unreadable> {
    value.try_into().map_err(|_| Unreadable("revision"))
}

pub(super) fn stored_rev(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Id and hash of a join token, whatever its state.
pub(super) async fn join_token(
    tx: &mut AuthTx,
    lookup: &str,
) -> Result<Option<(Uuid, [u8; 32])>, StoreError> {
    let row = sqlx::query!("SELECT id, hash FROM join_tokens WHERE lookup = $1", lookup)
        .fetch_optional(tx.conn())
        .await?;
    row.map(|row| Ok((row.id, digest(&row.hash)?))).transpose()
}

/// A pool by id and name.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) slug: String,
}

/// Marks a join token as used. `None` when it is used already or its time is over.
pub(super) async fn use_join_token(
    tx: &mut OperatorTx,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Pool>, StoreError> {
    let row = sqlx::query!(
        "UPDATE join_tokens SET used_at = $2
         FROM pools WHERE join_tokens.id = $1 AND used_at IS NULL AND not_after > $2 AND pools.id = join_tokens.pool_id
         RETURNING pools.id, pools.slug",
        id,
        now.to_offset()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Pool { id: Id::from_uuid(row.id), slug: row.slug }))
}

/// A proxy that joins.
#[derive(Debug)]
pub(super) struct NewProxy<'a> {
    pub(super) id: ProxyId,
    pub(super) pool: PoolId,
    pub(super) build: &'a str,
    pub(super) fingerprint: [u8; 32],
    pub(super) authority: Uuid,
    pub(super) not_after: Timestamp,
}

pub(super) async fn insert_proxy(
    tx: &mut OperatorTx,
    proxy: &NewProxy<'_>,
    token: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO proxies
           (id, pool_id, build, certificate_sha256, certificate_not_after, enrolled_at, authority_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        proxy.id.uuid(),
        proxy.pool.uuid(),
        proxy.build,
        proxy.fingerprint.as_slice(),
        proxy.not_after.to_offset(),
        now.to_offset(),
        proxy.authority
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("UPDATE join_tokens SET used_by = $2 WHERE id = $1", token, proxy.id.uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Notes a proxy's new certificate and gives its pool's name. `None` when the proxy is unknown or revoked, or `presented` is
/// neither its current certificate nor the one before. What was presented becomes the one before: a certificate that was
/// issued and never arrived goes, and one that a stranger got with a former key shows, because the proxy's own is refused.
pub(super) async fn renew_proxy(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    presented: &[u8; 32],
    build: &str,
    issued: &Issued,
) -> Result<Option<String>, StoreError> {
    let fingerprint = issued.fingerprint();
    let slug = sqlx::query_scalar!(
        "UPDATE proxies SET build = $2, certificate_sha256 = $3, certificate_not_after = $4, previous_certificate_sha256 = $5,
           authority_id = $6
         FROM pools WHERE proxies.id = $1 AND revoked_at IS NULL AND pools.id = proxies.pool_id
           AND $5 IN (certificate_sha256, previous_certificate_sha256)
         RETURNING pools.slug",
        proxy.uuid(),
        build,
        fingerprint.as_slice(),
        issued.not_after.to_offset(),
        presented.as_slice(),
        issued.authority
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(slug)
}

/// What the fleet knows of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It serves this pool.
    Member(PoolId),
    Revoked,
    Unknown,
}

pub(super) async fn standing(tx: &mut OperatorTx, proxy: ProxyId) -> Result<Standing, StoreError> {
    let row = sqlx::query!(
        r#"SELECT pool_id, revoked_at IS NOT NULL AS "revoked!" FROM proxies WHERE id = $1"#,
        proxy.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(match row {
        None => Standing::Unknown,
        Some(row) if row.revoked => Standing::Revoked,
        Some(row) => Standing::Member(Id::from_uuid(row.pool_id)),
    })
}

/// Proxies revoked after `since`.
pub(super) async fn revoked_after(tx: &mut OperatorTx, since: Timestamp) -> Result<Vec<ProxyId>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT id FROM proxies WHERE revoked_at > $1", since.to_offset())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.into_iter().map(Id::from_uuid).collect())
}

/// The pool a tenant is served by.
pub(super) async fn pool_of_tenant(
    tx: &mut OperatorTx,
    tenant: TenantId,
) -> Result<Option<PoolId>, StoreError> {
    let pool = sqlx::query_scalar!("SELECT pool_id FROM tenants WHERE id = $1", tenant.uuid())
        .fetch_optional(tx.conn())
        .await?;
    Ok(pool.map(Id::from_uuid))
}

/// Numbers a configuration stream of a member's that begins: above all before it. `None` for one that is none.
pub(super) async fn begin_stream(
    tx: &mut OperatorTx,
    proxy: ProxyId,
) -> Result<Option<(PoolId, i64)>, StoreError> {
    let row = sqlx::query!(
        "UPDATE proxies SET stream = stream + 1 WHERE id = $1 AND revoked_at IS NULL RETURNING pool_id, stream",
        proxy.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (Id::from_uuid(row.pool_id), row.stream)))
}

/// What a proxy's sign of life is stored as.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pub(super) run: Option<&'a Run>,
    pub(super) said: Option<Said>,
    pub(super) until: Timestamp,
}

/// Extends a proxy's lease, and holds its row until the transaction ends: its streams write one after the other. `false` when it
/// is unknown or revoked, or this is not its newest stream.
pub(super) async fn extend_lease(tx: &mut OperatorTx, of: Of, lease: &Lease<'_>) -> Result<bool, StoreError> {
    let (run, said) = (lease.run, lease.said);
    let column = |part: fn(Counts) -> u64| said.map(|said| stored_rev(part(said.counts)));
    // Another run has answered nothing yet.
    let done = sqlx::query!(
        "UPDATE proxies SET lease_until = $2, boot = COALESCE($3, boot), build = COALESCE($4, build),
           clock_skew_ms = COALESCE($5, clock_skew_ms),
           answers = COALESCE($6, CASE WHEN boot <> $3 THEN 0 ELSE answers END),
           refusals = COALESCE($7, CASE WHEN boot <> $3 THEN 0 ELSE refusals END),
           failures = COALESCE($8, CASE WHEN boot <> $3 THEN 0 ELSE failures END),
           turned_away = COALESCE($10, CASE WHEN boot <> $3 THEN 0 ELSE turned_away END),
           protocol = COALESCE($11, protocol)
         WHERE id = $1 AND revoked_at IS NULL AND stream = $9",
        of.proxy.uuid(),
        lease.until.to_offset(),
        run.map(|run| run.boot.as_slice()),
        run.map(|run| run.build.as_str()),
        said.and_then(|said| said.clock_skew_ms),
        column(|counts| counts.answers),
        column(|counts| counts.refusals),
        column(|counts| counts.failures),
        of.stream,
        column(|counts| counts.turned_away),
        run.map(|run| i32::try_from(run.protocol).unwrap_or(i32::MAX)),
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A process that has just said what it holds holds nothing else.
pub(super) async fn forget_progress(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    except: &[Uuid],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE proxy_revisions SET applied_rev = 0, applied_digest = NULL, rejected_rev = 0, rejected_code = NULL,
           rejected_detail = NULL, updated_at = $3
         WHERE proxy_id = $1 AND tenant_id <> ALL ($2) AND (applied_rev > 0 OR rejected_rev > 0)",
        proxy.uuid(),
        except,
        now.to_offset()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes how far a proxy is. Tenants that were deleted meanwhile are passed over.
///
/// What the proxy only claims makes no row for a tenant of another pool, since a row lets it record that tenant's calls;
/// and a revision that was never made, or had other content, counts as none.
pub(super) async fn store_progress(
    tx: &mut OperatorTx,
    proxy: ProxyId,
    progress: &BTreeMap<TenantId, Progress>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if progress.is_empty() {
        return Ok(());
    }
    let mut columns = ProgressColumns::default();
    for (tenant, progress) in progress {
        columns.push(*tenant, progress);
    }
    sqlx::query!(
        "INSERT INTO proxy_revisions (tenant_id, proxy_id, applied_rev, applied_digest, rejected_rev, rejected_code,
           rejected_detail, updated_at)
         SELECT said.tenant, $1, CASE WHEN said.proven OR made.rev IS NOT NULL THEN said.applied_rev ELSE 0 END,
           CASE WHEN said.proven OR made.rev IS NOT NULL THEN said.applied_digest END, said.rejected_rev,
           said.rejected_code, said.rejected_detail, $8
         FROM UNNEST($2::uuid[], $3::bigint[], $4::bytea[], $5::bigint[], $6::text[], $7::text[], $9::boolean[])
           AS said (tenant, applied_rev, applied_digest, rejected_rev, rejected_code, rejected_detail, proven)
         JOIN tenants ON tenants.id = said.tenant
         LEFT JOIN outbox made ON made.tenant_id = said.tenant AND made.rev = said.applied_rev
           AND made.digest = said.applied_digest
         WHERE said.proven OR tenants.pool_id = (SELECT pool_id FROM proxies WHERE id = $1)
           OR EXISTS (SELECT FROM proxy_revisions known WHERE known.tenant_id = said.tenant AND known.proxy_id = $1)
         ON CONFLICT (tenant_id, proxy_id) DO UPDATE SET applied_rev = EXCLUDED.applied_rev,
           applied_digest = EXCLUDED.applied_digest, rejected_rev = EXCLUDED.rejected_rev,
           rejected_code = EXCLUDED.rejected_code, rejected_detail = EXCLUDED.rejected_detail,
           updated_at = EXCLUDED.updated_at",
        proxy.uuid(),
        &columns.tenants,
        &columns.applied_revs,
        &columns.applied_digests as &[Option<Vec<u8>>],
        &columns.rejected_revs,
        &columns.rejected_codes as &[Option<String>],
        &columns.rejected_details as &[Option<String>],
        now.to_offset(),
        &columns.proven
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

#[derive(Default)]
struct ProgressColumns {
    tenants: Vec<Uuid>,
    applied_revs: Vec<i64>,
    applied_digests: Vec<Option<Vec<u8>>>,
    rejected_revs: Vec<i64>,
    rejected_codes: Vec<Option<String>>,
    rejected_details: Vec<Option<String>>,
    proven: Vec<bool>,
}

impl ProgressColumns {
    fn push(&mut self, tenant: TenantId, progress: &Progress) {
        let (applied, digest, rejected) = match progress {
            Progress::Claimed(version) | Progress::Applied(version) => {
                (version.rev, Some(version.digest.to_vec()), None)
            }
            Progress::Removed => (0, None, None),
            Progress::Rejected { rev, at_rev, code, detail } => (*at_rev, None, Some((*rev, *code, detail))),
        };
        self.tenants.push(tenant.uuid());
        // A removal may follow from a claim alone.
        self.proven.push(!matches!(progress, Progress::Claimed(_) | Progress::Removed));
        self.applied_revs.push(stored_rev(applied));
        self.applied_digests.push(digest);
        self.rejected_revs.push(rejected.map_or(0, |(rev, ..)| stored_rev(rev)));
        self.rejected_codes.push(rejected.map(|(_, code, _)| code.slug().to_owned()));
        self.rejected_details.push(rejected.map(|(.., detail)| detail.replace('\0', "")));
    }
}

/// Every tenant that has a compiled revision: where it is served and which revision is current.
pub(crate) async fn revisions(tx: &mut OperatorTx) -> Result<Vec<(TenantId, PoolId, Version)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT tenants.id, tenants.pool_id, tenants.rev, outbox.digest
         FROM tenants JOIN outbox ON outbox.tenant_id = tenants.id AND outbox.rev = tenants.rev"
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let version = Version { rev: rev(row.rev)?, digest: digest(&row.digest)? };
            Ok((Id::from_uuid(row.id), Id::from_uuid(row.pool_id), version))
        })
        .collect()
}

/// Proxies of each pool whose lease has not run out; pools without any are left out.
pub(crate) async fn live_proxies(
    tx: &mut OperatorTx,
    now: Timestamp,
) -> Result<HashMap<PoolId, u32>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT pool_id, count(*) AS "live!" FROM proxies WHERE revoked_at IS NULL AND lease_until > $1 GROUP BY pool_id"#,
        now.to_offset()
    )
    .fetch_all(tx.conn())
    .await?;
    let live = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.pool_id), live(row.live))).collect())
}
