//! Logs, traces and metrics: how they start, and the names they use.
//!
//! Names are constants, because a dashboard breaks silently when a name does: [`field`] for attributes of spans and log
//! lines, [`metric`] for metrics. [`Redacted`] keeps a value out of both. [`trace_context`] reads and writes W3C trace
//! context, which MCP carries in `params._meta` as well as in headers.

pub mod field;
mod init;
pub mod metric;
mod parent;
mod prometheus;
mod redacted;
pub mod trace_context;

pub use init::{Guard, TelemetryConfig, TelemetryError, init};
pub use metric::describe;
pub use parent::{child_of, linked_to};
pub use prometheus::{CONTENT_TYPE, MetricsHandle, metrics_handle};
pub use redacted::Redacted;
pub use trace_context::{TraceContextError, TraceParent};

#[cfg(test)]
mod tests;
