//! The audit log, read.

mod open;
mod queries;
pub mod routes;
pub mod types;
pub mod watch;
