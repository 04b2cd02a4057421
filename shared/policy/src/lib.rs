//! The decision point: facts in, decision with its reasons out. No I/O, no clock, no randomness.
//!
//! A tenant writes grants ([`GrantSpec`]); [`compile_grant`] turns each into one Cedar policy, validated strictly
//! against [`SCHEMA`]. A proxy holds the policies of a tenant in a [`PolicyIndex`], which parses a policy when it is first
//! needed, takes the [`Slice`] that can bear on a principal and a resource, and decides.
//!
//! Default deny; a forbid wins. Cedar itself skips a policy whose evaluation fails, forbids included: here any such
//! failure, and any policy that does not parse, is [`Decision::Error`], which refuses.

mod admit;
mod decision;
mod facts;
mod grant;
mod index;
mod slicer;
mod text;
mod uri;

pub use admit::{
    CompiledPolicy, GrantError, GrantFault, MAX_TEXT_BYTES, SCHEMA, compile_grant, validate_actions,
};
pub use decision::{Decision, Held, Ruling, Slice};
pub use facts::{Principal, Resource};
pub use grant::{
    Action, Class, Effect, GrantSpec, GrantedAction, MAX_ACTIONS, MAX_NAME_BYTES, MAX_NAMES, MAX_URI_BYTES,
    NameSelector, Subject, ToolSelector,
};
pub use index::{PolicyIndex, PolicyRef, Slices};
pub use slicer::{MethodKey, Slicer, SubjectGrants};
pub use uri::{PatternError, UriPattern, is_plain};

#[cfg(test)]
mod tests;
