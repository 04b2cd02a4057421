//! Client secrets: what clients present to their tenant's issuer.

mod queries;
pub mod routes;
pub mod types;

pub(crate) use routes::{insert, mint};
