//! Tokens with which clients may be registered at the tenant's issuer (RFC 7591 section 3).

mod queries;
pub mod routes;
pub mod types;
