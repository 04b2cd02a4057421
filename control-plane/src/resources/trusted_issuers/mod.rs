//! Issuers of others whose assertions the tenant's issuer takes as grants.

mod admission;
pub(crate) mod queries;
pub mod routes;
pub mod types;
