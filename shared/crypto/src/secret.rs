//! Secret text, and comparison that tells nothing by its duration.

pub use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Whether `a` and `b` are equal. Takes the same time wherever they differ; a different length shows.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
