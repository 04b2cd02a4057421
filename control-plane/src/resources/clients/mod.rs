//! Clients, and the endpoints they may use.

pub mod endpoints;
mod queries;
pub mod routes;
pub mod types;

pub(super) use queries::get as client;
