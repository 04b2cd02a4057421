//! Tools: what upstreams offer, and what administrators made of it.

pub mod discovery;
mod queries;
pub mod review;
pub mod routes;
pub mod types;
