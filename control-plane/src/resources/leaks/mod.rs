//! Credentials that somebody has found where they should not be: whoever shows one ends it, and need not be known for that.
//!
//! Nobody learns more by it than they could by using what they have found.

mod find;
mod queries;
pub mod routes;
pub mod types;
