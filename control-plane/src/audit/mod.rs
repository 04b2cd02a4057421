//! The audit log: records of the control plane's own acts, and their way into Postgres.

pub mod act;
pub mod ending;
pub mod ingest;
pub mod queries;
pub mod row;

pub use act::{Act, Actor};
pub use row::AuditRow;
