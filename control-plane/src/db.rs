//! The way into Postgres. Nothing outside this file holds a pool.
//!
//! Every transaction takes its group role and its tenant as its first statement, both for the transaction only
//! (`set_config(…, true)`), so nothing is left on the connection for the next user, a pooler in transaction mode
//! included. The type says which role: [`TenantTx`] sees one tenant's rows, [`OperatorTx`] what crosses tenants,
//! [`AuthTx`] hashes and ids of credentials, [`PeopleTx`] who people are, [`AuditTx`] may only insert audit records, [`AuditReadTx`] only read those
//! of one tenant. Dropping a transaction rolls it back.

mod error;
mod transactions;
mod turns;

use std::{str::FromStr, sync::Arc, time::Duration};

pub use error::{Constraint, StoreError, Unreadable};
use ids::TenantId;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::sync::Semaphore;

use transactions::Role;
pub use transactions::{AuditReadTx, AuditTx, AuthTx, INSTALLATION, OperatorTx, PeopleTx, TenantTx, Wakes};
use turns::{Admissions, Turns};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Notified after every committed revision. Only a hint: whoever waits also polls.
const REVISIONS: &str = "portcullis_revisions";
/// Held while roles and migrations are brought up to date.
const SETUP_LOCK: i64 = 0x706f_7274_6375_6c6c;
/// How long a request waits for a free connection, and a connection that is not of a pool for Postgres.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long closing waits for connections in use.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Postgres, as the control plane uses it. One small pool for each kind of work, so that none starves another.
#[derive(Debug, Clone)]
pub struct Store {
    options: PgConnectOptions,
    app: PgPool,
    ops: PgPool,
    auth: PgPool,
    audit: PgPool,
    audit_read: PgPool,
    turns: Turns,
    /// Connections of `ops` that proxies' streams may hold.
    streams: Arc<Semaphore>,
    /// Connections of `app` that tenants' stored answers may hold.
    answers: Arc<Semaphore>,
    /// Connections of `auth` that proxies may hold which come.
    admissions: Admissions,
}

/// How many connections each kind of work may hold.
#[derive(Debug, Clone, Copy)]
pub struct PoolSizes {
    /// Tenants' requests.
    pub app: u32,
    /// Operators' requests and serving configuration.
    pub ops: u32,
    /// Looking up credentials, of which proxies that come hold half.
    pub auth: u32,
    /// Audit records: as many for storing them as for searching them, so that no search holds up a record.
    pub audit: u32,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { app: 12, ops: 6, auth: 4, audit: 4 }
    }
}

impl Store {
    /// Brings the schema up to date and opens the pools. The login role in `url` needs membership in the group roles of
    /// `migrations/roles.sql`, or the right to create them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if Postgres cannot be reached, [`StoreError::Bug`] if `url` or a migration is wrong.
    pub async fn open(url: &SecretString, sizes: PoolSizes) -> Result<Self, StoreError> {
        migrate(url.expose_secret()).await?;
        let options = options(url.expose_secret())?;
        let pool = |max| {
            PgPoolOptions::new()
                .max_connections(max)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(options.clone())
        };
        let (app, ops, auth) = (pool(sizes.app), pool(sizes.ops), pool(sizes.auth));
        let (audit, audit_read) = (pool(sizes.audit), pool(sizes.audit));
        let streams = Arc::new(Semaphore::new((sizes.ops as usize / 2).max(1)));
        let admissions = Admissions::new((sizes.auth as usize / 2).max(1));
        let (turns, answers) = (Turns::default(), Arc::new(Semaphore::new((sizes.app as usize / 4).max(1))));
        Ok(Self { options, app, ops, auth, audit, audit_read, turns, streams, answers, admissions })
    }

    /// A transaction in which one tenant's rows exist and no others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        Ok(TenantTx { tx: begin(&self.app, Role::App, Some(tenant)).await?, tenant, turn: None })
    }

    /// A transaction that will change the tenant's configuration. It holds the tenant's row from its first statement, so
    /// writes of one tenant follow each other and cannot lock each other out over other rows. Those that wait hold no
    /// connection, but for one of each replica.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the tenant is gone.
    pub async fn tenant_for_write(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        let turn = self.turns.take(tenant).await?;
        let mut tx = self.tenant(tenant).await?;
        tx.turn = Some(turn);
        sqlx::query_scalar!("SELECT rev FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant.uuid())
            .fetch_one(tx.conn())
            .await?;
        Ok(tx)
    }

    /// A transaction for work that crosses tenants.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn operator(&self) -> Result<OperatorTx, StoreError> {
        Ok(OperatorTx { tx: begin(&self.ops, Role::Ops, None).await?, turn: None })
    }

    /// As [`Self::operator`], for what each proxy of a fleet does at the same moment: coming back, being given revisions,
    /// acknowledging. These wait for each other and hold half of the connections at most, so that a thousand proxies do not
    /// keep a replica from seeing new revisions and kills.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stream(&self) -> Result<OperatorTx, StoreError> {
        // It is never closed; if it were, there would be no turns to take.
        let turn = Arc::clone(&self.streams).acquire_owned().await.ok();
        Ok(OperatorTx { tx: begin(&self.ops, Role::Ops, None).await?, turn })
    }

    /// As [`Self::operator`], for answers to keyed writes: of tenants', on some of the connections that are for tenants, so that
    /// those who repeat their writes hold up no operator.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn answers(&self, of_tenant: bool) -> Result<OperatorTx, StoreError> {
        if !of_tenant {
            return self.operator().await;
        }
        // It is never closed; if it were, there would be no turns to take.
        let turn = Arc::clone(&self.answers).acquire_owned().await.ok();
        Ok(OperatorTx { tx: begin(&self.app, Role::Ops, None).await?, turn })
    }

    /// As [`Self::operator`], for finding out who a proxy is that comes. These wait for each other alone, not long, and not too
    /// many of them: a fleet that comes back at once does not hold up what its streams read. `None`: it is to come again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn admission(&self) -> Result<Option<OperatorTx>, StoreError> {
        let Some(turn) = self.admissions.enter().await else { return Ok(None) };
        Ok(Some(OperatorTx { tx: begin(&self.auth, Role::Ops, None).await?, turn: Some(turn) }))
    }

    /// A transaction for finding out whose a credential is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn auth(&self) -> Result<AuthTx, StoreError> {
        Ok(AuthTx { tx: begin(&self.auth, Role::Auth, None).await? })
    }

    /// A transaction for finding out who a person is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people(&self) -> Result<PeopleTx, StoreError> {
        Ok(PeopleTx { tx: begin(&self.auth, Role::People, None).await?, turn: None })
    }

    /// A transaction that may insert audit records, first those of `tenant`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_writer(&self, tenant: TenantId) -> Result<AuditTx, StoreError> {
        Ok(AuditTx { tx: begin(&self.audit, Role::AuditWrite, Some(tenant)).await?, tenant, _turn: None })
    }

    /// A transaction that may read one tenant's audit records.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_reader(&self, tenant: TenantId) -> Result<AuditReadTx, StoreError> {
        Ok(AuditReadTx { tx: begin(&self.audit_read, Role::AuditRead, Some(tenant)).await? })
    }

    /// Tells every replica to look for new revisions. Outside any transaction: `NOTIFY` inside one takes a lock that
    /// serialises all commits.
    ///
    /// # Errors
    /// [`StoreError`]; the caller may ignore it, because replicas also poll.
    pub async fn wake(&self) -> Result<(), StoreError> {
        sqlx::query!("SELECT pg_notify($1, '') AS done", REVISIONS).fetch_one(&self.ops).await?;
        Ok(())
    }

    /// Listens for [`Self::wake`] of any replica, on a connection of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn wakes(&self) -> Result<Wakes, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(REVISIONS).await?;
        Ok(Wakes { listener })
    }

    /// Whether Postgres answers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.auth().await.map(drop)
    }

    /// Makes audit partitions for the current month and the three after it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ensure_audit_partitions(&self, now: seams::Timestamp) -> Result<(), StoreError> {
        let mut conn = connect(&self.options).await?;
        sqlx::query!("SET ROLE portcullis_owner").execute(&mut conn).await?;
        sqlx::query!("SELECT ensure_audit_partitions($1, 3) AS made", now.to_offset())
            .fetch_one(&mut conn)
            .await?;
        conn.close().await?;
        Ok(())
    }

    /// Waits a little for connections in use and closes all.
    pub async fn close(&self) {
        let pools = [&self.app, &self.ops, &self.auth, &self.audit, &self.audit_read];
        let closing = futures_util::future::join_all(pools.map(PgPool::close));
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("database connections were still in use at the end");
        }
    }
}

async fn begin(
    pool: &PgPool,
    role: Role,
    tenant: Option<TenantId>,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    let mut tx = pool.begin().await?;
    transactions::become_role(&mut tx, role, tenant).await?;
    Ok(tx)
}

/// A connection of no pool. One that nobody answers is given up, so that a wrong address at start is told soon.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connecting = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(options));
    Ok(connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?)
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.application_name("portcullis-control"))
}

/// Makes the roles that are missing and applies the migrations that were not, under a lock: several replicas may start at
/// once.
///
/// # Errors
/// [`StoreError`].
pub async fn migrate(url: &str) -> Result<(), StoreError> {
    let mut conn = connect(&options(url)?).await?;
    sqlx::query!("SELECT pg_advisory_lock($1) AS locked", SETUP_LOCK).fetch_one(&mut conn).await?;
    sqlx::raw_sql(include_str!("../../migrations/roles.sql")).execute(&mut conn).await?;
    sqlx::query!("SET ROLE portcullis_owner").execute(&mut conn).await?;
    MIGRATOR.run(&mut conn).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => StoreError::from(error),
        error => StoreError::Bug(Box::new(error)),
    })?;
    // Closing releases the lock.
    conn.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests;
