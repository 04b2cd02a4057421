//! Keys with which the tenant's issuer signs tokens.

pub mod routes;
pub mod types;
