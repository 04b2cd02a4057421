//! Tools: what upstreams offer, and what administrators made of it.

pub mod discovery;
mod queries;
pub mod routes;
pub mod types;
