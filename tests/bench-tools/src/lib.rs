//! What several tools of the benchmark share.

pub mod fill;
pub mod tenants;
