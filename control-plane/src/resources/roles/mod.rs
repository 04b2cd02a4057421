//! Roles, and which clients have them.

pub(in crate::resources) mod queries;
pub mod routes;
pub mod types;
