//! Each tenant's authorization server, at `{auth origin}/t/{slug}`: `router.rs` lists its routes.

pub mod issuer;
pub mod keys;
pub mod metadata;
mod queries;
pub mod router;
pub mod schedule;
