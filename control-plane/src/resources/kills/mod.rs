//! The kill switch, by REST: [`operator`] for the installation, [`routes`] for a tenant in its own bounds.

pub mod operator;
mod queries;
pub mod routes;
pub mod types;
