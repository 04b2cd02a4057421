//! The configuration this proxy enforces: decoded exactly, indexed, swapped in one tenant at a time.
//!
//! [`store::Snapshots`] is the only place it is changed. A request reads one [`store::Fleet`] and one
//! [`index::TenantIndex`] of it and keeps those two for its life, so it never sees half of a change.

pub(crate) mod archive;
mod auth;
pub(crate) mod authorities;
pub mod base;
mod build;
pub mod decode;
mod definitions;
pub(crate) mod external;
pub mod fleet;
pub mod global;
pub mod index;
mod issuer;
mod left;
mod limits;
mod members;
mod secrets;
pub mod store;
mod tools;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
