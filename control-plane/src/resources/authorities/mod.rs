//! The fleet's certificate authorities.

mod queries;
pub mod routes;
pub mod types;
