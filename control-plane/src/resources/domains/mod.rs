//! Names of a tenant's own under which its endpoints are reached, once it has proven that they are its own.

mod admission;
pub mod certificate;
mod queries;
pub mod routes;
pub mod types;
