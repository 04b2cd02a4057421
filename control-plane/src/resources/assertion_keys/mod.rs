//! Keys that sign what is asserted to upstreams.

pub mod routes;
pub mod types;
