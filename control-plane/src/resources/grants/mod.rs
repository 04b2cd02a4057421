//! Grants: who may do what.

pub mod of_role;
mod queries;
pub mod routes;
pub mod types;
