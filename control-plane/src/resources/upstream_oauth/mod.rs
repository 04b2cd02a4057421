//! How proxies get access tokens for an upstream.

mod admission;
mod queries;
pub mod routes;
pub mod types;
