//! Upstreams, and the credentials that are presented to them.

mod admission;
pub mod credentials;
mod pin;
mod queries;
pub mod routes;
pub mod types;

pub(crate) use admission::{certificates, destination};
pub(crate) use pin::parse_all as parse_pins;
pub(crate) use queries::{egress_rules, lock};
