//! Each tenant's authorization server, at `{auth origin}/t/{slug}`: `router.rs` lists its routes.

mod access_token;
pub mod attempts;
mod audience;
pub mod client;
mod client_credentials;
mod cors;
pub mod error;
pub mod exchange;
pub mod form;
mod introspect;
pub mod issuer;
pub mod keys;
mod log;
pub mod metadata;
pub mod origins;
mod queries;
pub mod redirect;
pub mod registration;
mod revoke;
pub mod router;
pub mod schedule;
mod scopes;
pub mod token;
pub mod trusted;
