//! Issuers of others whose tokens endpoints accept.

mod admission;
pub(crate) mod queries;
pub mod routes;
pub mod types;
