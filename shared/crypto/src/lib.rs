//! Secrets: how they look, how they are stored, and what is sealed with them.
//!
//! Everything rests on aws-lc-rs (and argon2 for people's passwords). Randomness is an argument (`&dyn seams::Entropy`).
//! No type that holds a secret shows it in `Debug`, and comparisons of secrets take the same time whatever they hold.
//!
//! | module | what for |
//! |---|---|
//! | [`key`] | API keys and tokens: their text, their stored hash |
//! | [`join`] | join tokens, which also name the CA a proxy must find |
//! | [`data_key`] | a tenant's data key, what is derived from it, and the master keys that wrap it |
//! | [`seal`] | values at rest, bound to their tenant, table, column and row |
//! | [`session`], [`state`] | what the gateway hands to a caller and takes back: sessions, cursors, task ids |
//! | [`archive`] | a proxy's configuration on its own disk |
//! | [`password`] | people's passwords and OAuth client secrets; never on the request path |
//! | [`signature`] | what others must be able to check: kill sets, offline orders |
//! | [`jwt`] | signed tokens (RFC 7519) and their keys |
//! | [`claims`] | what an access token claims |
//! | [`assertion`] | what a proxy asserts to an upstream of each call |
//! | [`digest`] | SHA-256, HMAC, Merkle hashes |
//! | [`secret`] | secret text, constant-time comparison |

mod aead;
pub mod archive;
pub mod assertion;
pub mod claims;
pub mod data_key;
pub mod digest;
pub mod join;
pub mod jwt;
pub mod kek;
pub mod key;
pub mod password;
pub mod seal;
pub mod secret;
pub mod session;
pub mod signature;
pub mod state;

pub use aead::SealError;
pub use data_key::{DataKey, Purpose};
pub use kek::{FileKek, Kek, KekError, KekId, MasterPurpose};
pub use key::{KeyFormatError, KeyHasher, KeyKind, Minted, Presented};
pub use seal::{Aad, Sealer};
pub use secret::{ExposeSecret, SecretString, ct_eq};
pub use session::{Holder, SessionKey, SessionSeal, UpstreamSession};
pub use signature::SigningKey;
pub use state::{OpenedState, StateKind};
pub use zeroize::Zeroizing;

#[cfg(test)]
mod tests;
