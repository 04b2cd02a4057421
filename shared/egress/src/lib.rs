//! Which addresses a tenant's upstream may have.
//!
//! Everything that is not plainly a public unicast address is refused, unless an operator wrote a rule that names its
//! network and port exactly. The same code decides when an upstream is created (literal addresses), and at every
//! connection (the resolved address that is dialled).
//!
//! Pure: addresses and rules in, verdict out. Resolving names is the caller's.

mod classify;
mod networks;
mod rules;

pub use classify::{Class, NonPublic, classify};
pub use networks::{Network, Networks};
pub use rules::{Refused, Rule, RuleError, Rules};

#[cfg(test)]
mod tests;
