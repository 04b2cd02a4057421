//! Tenants.

mod queries;
pub mod routes;
pub mod types;
