//! API keys: what clients present to endpoints.

pub mod hours;
mod queries;
pub mod routes;
pub mod types;
