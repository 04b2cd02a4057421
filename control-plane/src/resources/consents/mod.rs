//! Consents: what members let clients do.

pub(crate) mod queries;
pub mod routes;
pub mod types;
