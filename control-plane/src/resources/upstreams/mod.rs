//! Upstreams, and the credentials that are presented to them.

mod admission;
pub mod credentials;
mod queries;
pub mod routes;
pub mod types;
