//! Scopes of access tokens: what a tenant lets clients ask for.

pub(crate) mod queries;
pub mod routes;
pub mod types;
