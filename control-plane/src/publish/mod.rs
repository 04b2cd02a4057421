//! From a tenant's rows to the bytes that proxies apply.
//!
//! [`compile::compile`] is a pure function: it runs inside the write transaction, and what it refuses never commits.

pub(crate) mod check;
pub mod commit;
pub mod compile;
pub mod convergence;
mod encode;
mod external;
pub mod hub;
mod identity;
pub mod outward;
mod queries;
pub mod rows;
pub mod subject;
pub mod trim;

pub use compile::{CompileError, Compiled, Fault, Finding, compile};
pub use rows::TenantRows;
