//! Revisions of a tenant's configuration, and how far its proxies are with them.

mod queries;
pub mod routes;
pub mod types;
pub mod watch;
