//! Proxies of the data plane.

mod queries;
pub mod routes;
pub mod types;
