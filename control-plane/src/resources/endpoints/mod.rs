//! Endpoints, and the upstreams attached to them.

pub mod attachments;
mod queries;
pub mod routes;
pub mod types;
