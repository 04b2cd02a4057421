//! Who is calling, and what they may.

pub mod routes;
pub mod types;
