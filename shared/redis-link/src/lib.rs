//! Redis as both planes use it: one connection that comes back by itself, and a time within which an answer counts.
//!
//! Nothing that must not fail may depend on it: [`Link::call`] answers within [`BUDGET`] whatever Redis does, and at once
//! while Redis is known to be away.

mod address;
pub mod counters;
mod keeper;
mod link;

pub use address::{Address, AddressError};
pub use keeper::Keeper;
pub use link::{BUDGET, CallError, Link};
pub use redis;
