//! Configuration of the fleet, and its rollout.

mod queries;
pub mod rollout;
pub mod routes;
pub mod types;
