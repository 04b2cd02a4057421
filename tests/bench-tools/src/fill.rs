//! Fills a database with compiled tenants, and changes them: what the admin API would do, without its time.

use crate::tenants::{DATA_KEY, KEYS, Shape, change, data_key, slug, tenant, tenant_id};
use crypto::{DataKey, FileKek};
use ids::{PoolId, Uuid};
use prost::Message as _;
use seams::{Clock as _, SystemClock, SystemEntropy};
use sqlx::PgPool;
use wire::snapshot;

/// Tenants written in one statement.
const BATCH: usize = 100;
/// What replicas listen to.
const CHANNEL: &str = "portcullis_revisions";

/// Tenants of one installation, by number.
#[derive(Debug)]
pub struct Tenants {
    database: PgPool,
    shape: Shape,
    /// Revision of each.
    revs: Vec<u64>,
}

/// Rows of tables that are written together.
#[derive(Default)]
struct Rows {
    ids: Vec<Uuid>,
    slugs: Vec<String>,
    pools: Vec<Uuid>,
    keys: Vec<Uuid>,
    wrapped: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    digests: Vec<Vec<u8>>,
}

impl Tenants {
    /// Writes `each` tenants for every pool, numbered through.
    ///
    /// # Errors
    /// The database refuses them.
    pub async fn write(
        database: PgPool,
        kek: &FileKek,
        pools: &[PoolId],
        each: u32,
        shape: Shape,
    ) -> anyhow::Result<Self> {
        let mut rows = Rows::default();
        let count = each * pools.len() as u32;
        for number in 0..count {
            let Some(pool) = pools.get((number / each) as usize) else { continue };
            let tenant_id = tenant_id(number);
            let compiled = tenant(number, 1, 0, shape);
            let key = DataKey::new(data_key(number), DATA_KEY);
            rows.ids.push(tenant_id.uuid());
            rows.slugs.push(slug(number));
            rows.pools.push(pool.uuid());
            rows.keys.push(key.id.uuid());
            rows.wrapped.push(key.wrap(kek, tenant_id, &SystemEntropy)?);
            rows.bodies.push(snapshot::encode(&compiled));
            rows.digests.push(snapshot::digest(&compiled).to_vec());
            if rows.ids.len() == BATCH || number + 1 == count {
                std::mem::take(&mut rows).insert(&database).await?;
            }
        }
        Ok(Self { database, shape, revs: vec![1; count as usize] })
    }

    /// Makes a revision of a tenant, with one key less or all of them again, and tells the replicas.
    ///
    /// # Errors
    /// There is no such tenant, or the database refuses.
    pub async fn change(&mut self, number: u32) -> anyhow::Result<()> {
        let Some(rev) = self.revs.get_mut(number as usize) else { anyhow::bail!("no tenant {number}") };
        let revoked = |rev: u64| (rev % u64::from(KEYS)) as u16;
        let before = tenant(number, *rev, revoked(*rev - 1), self.shape);
        *rev += 1;
        let after = tenant(number, *rev, revoked(*rev - 1), self.shape);
        let step = change(number, &before, &after);
        let step = step.ok_or_else(|| anyhow::anyhow!("not canonical"))?;
        let (id, stored) = (tenant_id(number).uuid(), i64::try_from(*rev)?);
        let (digest, now) = (step.digest, SystemClock.now().to_offset());
        let mut tx = self.database.begin().await?;
        sqlx::query(
            "INSERT INTO snapshots (tenant_id, rev, body, digest, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(stored)
        .bind(snapshot::encode(&after))
        .bind(&digest)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO deltas (tenant_id, rev, from_digest, digest, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(stored)
        .bind(step.from_digest)
        .bind(&digest)
        .bind(step.changes.unwrap_or_default().encode_to_vec())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO outbox (tenant_id, rev, digest, created_at) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(stored)
            .bind(&digest)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE tenants SET rev = $2, updated_at = $3 WHERE id = $1")
            .bind(id)
            .bind(stored)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&self.database).await?;
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.revs.len() as u32
    }
}

impl Rows {
    async fn insert(self, database: &PgPool) -> anyhow::Result<()> {
        let now = SystemClock.now().to_offset();
        let mut tx = database.begin().await?;
        sqlx::query(
            "INSERT INTO tenants (id, slug, name, pool_id, rev, suspended, created_at, updated_at)
             SELECT id, slug, slug, pool, 1, false, $4, $4 FROM UNNEST($1::uuid[], $2::text[], $3::uuid[]) AS t (id, slug, pool)",
        )
        .bind(&self.ids)
        .bind(&self.slugs)
        .bind(&self.pools)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO tenant_data_keys (tenant_id, id, wrapped, current, created_at)
             SELECT tenant, id, wrapped, true, $4 FROM UNNEST($1::uuid[], $2::uuid[], $3::bytea[]) AS t (tenant, id, wrapped)",
        )
        .bind(&self.ids)
        .bind(&self.keys)
        .bind(&self.wrapped)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO snapshots (tenant_id, rev, body, digest, created_at)
             SELECT tenant, 1, body, digest, $4 FROM UNNEST($1::uuid[], $2::bytea[], $3::bytea[]) AS t (tenant, body, digest)",
        )
        .bind(&self.ids)
        .bind(&self.bodies)
        .bind(&self.digests)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO outbox (tenant_id, rev, digest, created_at)
             SELECT tenant, 1, digest, $3 FROM UNNEST($1::uuid[], $2::bytea[]) AS t (tenant, digest)",
        )
        .bind(&self.ids)
        .bind(&self.digests)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
