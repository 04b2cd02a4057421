//! Invitations: how people become members.

mod queries;
pub mod routes;
pub mod types;
