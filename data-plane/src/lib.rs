//! The data plane: a proxy that enforces each tenant's configuration on every MCP call.
//!
//! [`app::Proxy`] starts one. A call's way is `pipeline.rs`, top to bottom.

// `mcp` is a module here; the shared crate of that name is `::mcp`.
pub mod app;
pub mod config;
pub mod control;
pub mod listener;
pub mod snapshot;
pub mod tasks;

mod admin;
mod admitted;
mod audit;
mod checks;
mod decisions;
mod discover;
mod drain;
mod issuers;
mod kills;
mod limiter;
mod mcp;
mod meters;
mod pipeline;
mod presented;
mod ready;
mod redis;
mod refuse;
mod resource;
mod tally;
mod timings;
mod trail;
mod upstream;
mod visible;
mod watch;
mod worker;

#[cfg(test)]
mod testing;
