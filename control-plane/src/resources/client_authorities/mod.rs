//! Authorities of the tenant's own that issue certificates to callers.

mod admission;
pub(crate) mod queries;
pub mod routes;
pub mod types;

pub(crate) use admission::{certificates, lists};
