//! R41 with real Redis: what proxies count together, and what becomes of it when Redis does not do its part.

mod clocks;
mod cluster;
mod connection;
mod counting;
mod fleet;
mod hangs;
mod histories;
mod netns;
mod permits;
mod script;
mod sentinel;
mod servers;
mod settling;
mod usage;
