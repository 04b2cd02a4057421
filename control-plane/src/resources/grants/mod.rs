//! Grants: who may do what.

mod queries;
pub mod routes;
pub mod types;
