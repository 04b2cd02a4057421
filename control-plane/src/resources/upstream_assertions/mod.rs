//! What is asserted to an upstream.

mod queries;
pub mod routes;
pub mod types;
