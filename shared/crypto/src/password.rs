//! People's passwords and OAuth client secrets: argon2id, 19 MiB, two passes, one lane (RFC 9106; OWASP's minimum).
//!
//! Slow and large on purpose. Nothing on the request path may call this.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash,
};
use seams::Entropy;

/// KiB of memory.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A stored hash that asks for more than this is refused: a row must not be able to exhaust the process.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 10;

/// Why a password could not be hashed or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The password is longer than argon2 takes, or the stored text is not a hash this build accepts.
    #[error("password cannot be hashed, or the stored hash is not acceptable")]
    Unusable,
}

/// The PHC string to store: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
///
/// # Errors
/// If the password is longer than argon2 takes (4 GiB).
pub fn hash(password: &[u8], entropy: &dyn Entropy) -> Result<String, PasswordError> {
    let salt: [u8; 16] = entropy.bytes();
    hasher()?
        .hash_password_with_salt(password, &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Unusable)
}

/// Whether `password` is the one `stored` was made from. Constant time in the hash.
///
/// # Errors
/// If `stored` is not an argon2id PHC string within bounds.
pub fn verify(password: &[u8], stored: &str) -> Result<bool, PasswordError> {
    let parsed = PasswordHash::new(stored).map_err(|_| PasswordError::Unusable)?;
    let params = Params::try_from(&parsed).map_err(|_| PasswordError::Unusable)?;
    let bounded = params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES;
    if !bounded || parsed.algorithm.as_str() != "argon2id" {
        return Err(PasswordError::Unusable);
    }
    Ok(hasher()?.verify_password(password, &parsed).is_ok())
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordError::Unusable)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}
