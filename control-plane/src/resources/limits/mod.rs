//! Limits: how many calls, how fast, how many at once.

mod queries;
pub mod routes;
pub mod types;
pub mod usage;
