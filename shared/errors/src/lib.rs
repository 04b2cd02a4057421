//! The catalogue of stable error codes and its three renderers.
//!
//! [`problem`] for REST and for HTTP refusals before a JSON-RPC message is known (RFC 9457), [`jsonrpc`] for refused
//! calls, [`oauth`] for OAuth endpoints (RFC 6749 section 5.2), where a problem document would be wrong. Public text comes from
//! the catalogue; a private cause never enters here.

mod catalogue;
pub mod jsonrpc;
pub mod oauth;
pub mod problem;

pub use catalogue::{Attribution, CATALOGUE, Entry, ErrorCode, Level, page};

#[cfg(test)]
mod tests;
