//! Keys of issuers of others, whose tokens some endpoints accept (R8).
//!
//! A proxy fetches them itself, on the runtime that takes no calls, through the guard by which upstreams are reached: over verified
//! HTTPS, from addresses that the tenant's egress rules admit and that were checked, without redirects, bounded in size and time. They
//! are in memory alone, and fetched anew after a restart.
//!
//! A call under a known key waits for nothing. One under a key that is not known waits for a moment, together with all others, for one
//! fetch; how often such a fetch is made is bounded, whatever callers show.

mod fetch;
mod follow;
mod keys;

pub(crate) use follow::follow;
pub(crate) use keys::{Found, Keys};
