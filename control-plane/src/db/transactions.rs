//! Transactions, one type for each role. The type says what may be seen.

use ids::{TenantId, Uuid};
use sqlx::{PgConnection, Postgres, Transaction, postgres::PgListener};

use super::{StoreError, turns::Turn};

/// How long a query may run.
const STATEMENT_TIMEOUT: &str = "15s";
/// How long it may wait for a lock meanwhile. Some rows, such as the kill set's epoch, are everybody's: those that wait are told to
/// come back before they have taken up all connections.
const LOCK_TIMEOUT: &str = "5s";
/// How long a transaction may stand still between two queries: longer than compiling the largest tenant. Then Postgres ends it,
/// with the connection, and its locks are free: a replica that hangs does not hang the others.
const IDLE_TIMEOUT: &str = "15s";

#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    App,
    Ops,
    Auth,
    People,
    AuditWrite,
    AuditRead,
}

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::App => "portcullis_app",
            Self::Ops => "portcullis_ops",
            Self::Auth => "portcullis_auth",
            Self::People => "portcullis_people",
            Self::AuditWrite => "portcullis_audit_write",
            Self::AuditRead => "portcullis_audit_read",
        }
    }
}

pub(super) async fn become_role(
    conn: &mut PgConnection,
    role: Role,
    tenant: Option<TenantId>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT set_config('role', $1, true) AS role, set_config('app.tenant', $2, true) AS tenant,
           set_config('statement_timeout', $3, true) AS statement, set_config('lock_timeout', $4, true) AS lock,
           set_config('idle_in_transaction_session_timeout', $5, true) AS idle",
        role.name(),
        tenant.map(|tenant| tenant.uuid().to_string()).unwrap_or_default(),
        STATEMENT_TIMEOUT,
        LOCK_TIMEOUT,
        IDLE_TIMEOUT,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// One tenant's rows.
#[derive(Debug)]
pub struct TenantTx {
    pub(super) tx: Transaction<'static, Postgres>,
    pub(super) tenant: TenantId,
    /// Of a write; given up after the transaction has ended.
    pub(super) turn: Option<Turn>,
}

/// Work that crosses tenants.
#[derive(Debug)]
pub struct OperatorTx {
    pub(super) tx: Transaction<'static, Postgres>,
    /// Of a proxy's stream; given up after the transaction has ended.
    pub(super) turn: Option<Turn>,
}

/// Before a tenant is known: hashes and ids of credentials.
#[derive(Debug)]
pub struct AuthTx {
    pub(super) tx: Transaction<'static, Postgres>,
}

/// People, before a tenant is known: accounts, sessions, and of which tenants somebody is a member.
#[derive(Debug)]
pub struct PeopleTx {
    pub(super) tx: Transaction<'static, Postgres>,
    /// Of a tenant's write that it is part of; given up after the transaction has ended.
    pub(super) turn: Option<Turn>,
}

/// Inserts audit records of one tenant at a time.
#[derive(Debug)]
pub struct AuditTx {
    pub(super) tx: Transaction<'static, Postgres>,
    pub(super) tenant: TenantId,
    pub(super) _turn: Option<Turn>,
}

/// Reads audit records of one tenant.
#[derive(Debug)]
pub struct AuditReadTx {
    pub(super) tx: Transaction<'static, Postgres>,
}

/// Wake-ups from any replica.
#[derive(Debug)]
pub struct Wakes {
    pub(super) listener: PgListener,
}

impl Wakes {
    /// Returns at the next wake-up. Reconnects by itself; wake-ups meanwhile are lost.
    ///
    /// # Errors
    /// [`StoreError`] when reconnecting failed; call again after a pause.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.listener.recv().await?;
        Ok(())
    }
}

impl TenantTx {
    /// Whose rows.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The same transaction, from here on only able to insert this tenant's audit records.
    pub(crate) async fn into_audit_writer(mut self) -> Result<AuditTx, StoreError> {
        become_role(&mut self.tx, Role::AuditWrite, Some(self.tenant)).await?;
        Ok(AuditTx { tx: self.tx, tenant: self.tenant, _turn: self.turn })
    }

    /// The same transaction, from here on outside the tenant, where accounts of people are: to be followed by [`PeopleTx::enter`].
    pub(crate) async fn leave(mut self) -> Result<PeopleTx, StoreError> {
        become_role(&mut self.tx, Role::People, None).await?;
        Ok(PeopleTx { tx: self.tx, turn: self.turn })
    }

    /// Commits what is not configuration, such as a status. Configuration is committed by `publish::commit` alone,
    /// which raises the revision and stores what was compiled.
    pub(crate) async fn commit_unpublished(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

impl OperatorTx {
    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The same transaction, from here on inside one tenant.
    pub(crate) async fn enter(mut self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        become_role(&mut self.tx, Role::App, Some(tenant)).await?;
        Ok(TenantTx { tx: self.tx, tenant, turn: self.turn })
    }

    /// The same transaction, from here on where accounts of people are: to be followed by [`PeopleTx::become_operator`].
    pub(crate) async fn meet_people(mut self) -> Result<PeopleTx, StoreError> {
        become_role(&mut self.tx, Role::People, None).await?;
        Ok(PeopleTx { tx: self.tx, turn: self.turn })
    }

    /// The same transaction, from here on only able to insert audit records of the installation itself, or of a tenant
    /// that is being deleted.
    pub(crate) async fn into_audit_writer(mut self, tenant: Option<TenantId>) -> Result<AuditTx, StoreError> {
        let tenant = tenant.unwrap_or(INSTALLATION);
        become_role(&mut self.tx, Role::AuditWrite, Some(tenant)).await?;
        Ok(AuditTx { tx: self.tx, tenant, _turn: self.turn })
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

/// Stands in `audit_records.tenant_id` for acts on the installation itself.
pub const INSTALLATION: TenantId = TenantId::from_uuid(Uuid::nil());

impl AuthTx {
    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl PeopleTx {
    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The same transaction, from here on with what crosses tenants.
    pub(crate) async fn become_operator(mut self) -> Result<OperatorTx, StoreError> {
        become_role(&mut self.tx, Role::Ops, None).await?;
        Ok(OperatorTx { tx: self.tx, turn: self.turn })
    }

    /// The same transaction, from here on inside one tenant.
    pub(crate) async fn enter(mut self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        become_role(&mut self.tx, Role::App, Some(tenant)).await?;
        Ok(TenantTx { tx: self.tx, tenant, turn: self.turn })
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

impl AuditTx {
    /// Whose records.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Goes on with what crosses tenants, so that it is committed together with the records.
    pub(crate) async fn become_operator(&mut self) -> Result<(), StoreError> {
        become_role(&mut self.tx, Role::Ops, None).await
    }

    /// Goes on with another tenant's records: a proxy's batch holds several tenants'.
    pub(crate) async fn turn_to(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        if tenant != self.tenant {
            become_role(&mut self.tx, Role::AuditWrite, Some(tenant)).await?;
            self.tenant = tenant;
        }
        Ok(())
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

impl AuditReadTx {
    /// For queries.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}
