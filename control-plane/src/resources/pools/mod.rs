//! Pools: groups of proxies.

mod queries;
pub mod routes;
pub mod types;
