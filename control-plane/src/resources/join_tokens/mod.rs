//! Join tokens: single-use credentials with which proxies enrol.

mod queries;
pub mod routes;
pub mod types;
