//! Roles, and which clients have them.

mod queries;
pub mod routes;
pub mod types;
