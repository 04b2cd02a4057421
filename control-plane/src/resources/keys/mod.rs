//! API keys: what clients present to endpoints.

mod queries;
pub mod routes;
pub mod types;
