//! R41 with real Redis: what proxies count together, and what becomes of it when Redis does not do its part.

mod connection;
mod fleet;
mod histories;
mod permits;
mod script;
mod usage;
