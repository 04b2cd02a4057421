//! Redis as both planes use it: one connection that comes back by itself, and a time within which an answer counts.
//!
//! Nothing that must not fail may depend on it: [`Link::call`] answers within [`BUDGET`] whatever Redis does, and at once
//! while Redis is known to be away.
//!
//! Redis may be one server, the master of some sentinels, or a cluster ([`Address`]). What sentinels make a master may lack
//! what the former one had not passed on: of a rate what it admitted in the time that replication lagged, at most a burst; of
//! a budget what was used in that time; of permits what [`limits::running`] says of a loss. A node of a cluster that is gone
//! takes the tenants in its slots with it, whose limits are kept by share, and no others.

mod address;
mod connection;
pub mod counters;
mod keeper;
mod link;
mod script;
mod slots;

pub use address::{Address, AddressError};
pub use connection::Connection;
pub use keeper::Keeper;
pub use link::{BUDGET, CallError, Link};
pub use redis;
