//! What goes wrong with Postgres, by what to do about it.

use std::error::Error;

use errors::ErrorCode;

/// Why a query or transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row, or none that this role and tenant may see.
    #[error("no such row")]
    NotFound,
    /// A unique, foreign-key or check constraint refused the write.
    #[error("constraint {0} refused the write")]
    Conflict(Constraint),
    /// Postgres cannot be reached, is overloaded or shutting down, or the transaction lost a deadlock.
    #[error("database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A query, a migration or a stored value is wrong.
    #[error("database answered unexpectedly")]
    Bug(#[source] Box<dyn Error + Send + Sync>),
}

/// Name of a constraint of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint(Box<str>);

impl Constraint {
    /// The name in the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored value that does not parse: the schema's checks and the code disagree.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("stored {0} is not one this version knows")]
pub struct Unreadable(pub &'static str);

impl StoreError {
    /// Its code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Conflict(_) => ErrorCode::Conflict,
            Self::Unavailable(_) => ErrorCode::StoreUnavailable,
            Self::Bug(_) => ErrorCode::Internal,
        }
    }

    /// A stored value does not parse.
    #[must_use]
    pub fn unreadable(what: &'static str) -> Self {
        Self::Bug(Box::new(Unreadable(what)))
    }
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Bug(Box::new(unreadable))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => return Self::NotFound,
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                match code.as_ref() {
                    // unique_violation, foreign_key_violation, exclusion_violation
                    "23505" | "23503" | "23P01" => {
                        return Self::Conflict(Constraint(db.constraint().unwrap_or_default().into()));
                    }
                    // Connection errors, log-in refused, lack of resources, shutdown, query cancelled by its time-out,
                    // deadlock and serialisation failure; and a database that is closed or away.
                    code if ["08", "28", "53", "57", "40"].iter().any(|class| code.starts_with(class)) => {}
                    // And one that takes no writes: a standby, or a primary whose disk is full.
                    "55000" | "3D000" | "25006" => {}
                    // A lock that was not to be had in time, and a transaction that stood still for too long.
                    "55P03" | "25P03" => {}
                    _ => return Self::Bug(Box::new(error)),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => {}
            _ => return Self::Bug(Box::new(error)),
        }
        Self::Unavailable(Box::new(error))
    }
}
