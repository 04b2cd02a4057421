//! AES-256-GCM-SIV (RFC 8452), chosen because a nonce that repeats by accident shows only that two messages were equal.
//! One key per purpose; the nonce is random.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use seams::Entropy;
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 12;
/// Bytes that authentication adds.
pub(crate) const TAG: usize = 16;

/// Why sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not the shape of a sealed value: too short, not base 64, trailing bytes, an unknown field inside.
    #[error("not a sealed value")]
    Malformed,
    /// Sealed in a format this build does not know.
    #[error("sealed in an unknown format version")]
    UnknownVersion,
    /// Sealed under a key that is not, or no longer, held.
    #[error("sealed under a key that is not held")]
    UnknownKey,
    /// Changed, cut, or presented in another place than it was sealed for.
    #[error("sealed value does not authenticate here")]
    Unauthentic,
    /// Sealed for another endpoint or principal.
    #[error("sealed for another endpoint or principal")]
    Foreign,
    /// Larger than this kind of value may be.
    #[error("too large to seal")]
    TooLarge,
    /// There is no key to seal with.
    #[error("no key to seal with")]
    NoKey,
}

/// A key ready for use.
pub(crate) struct AeadKey(
    // `None` cannot occur: aws-lc refuses only a wrong length. Kept as an option so that no path can panic.
    Option<LessSafeKey>,
);

impl AeadKey {
    pub(crate) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).ok().map(LessSafeKey::new))
    }

    /// Appends nonce ‖ ciphertext ‖ tag to `out`.
    pub(crate) fn seal_onto(
        &self,
        out: &mut Vec<u8>,
        aad: &[u8],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(), SealError> {
        let key = self.0.as_ref().ok_or(SealError::NoKey)?;
        let nonce: [u8; NONCE] = entropy.bytes();
        out.reserve(NONCE + plaintext.len() + TAG);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        match key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[start..]) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            Err(_) => {
                // What is there now may be the plaintext.
                out.truncate(start - NONCE);
                return Err(SealError::TooLarge);
            }
        }
        Ok(())
    }

    /// Opens nonce ‖ ciphertext ‖ tag.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = self.0.as_ref().ok_or(SealError::UnknownKey)?;
        let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        if body.len() < TAG {
            return Err(SealError::Malformed);
        }
        let mut body = Zeroizing::new(body.to_vec());
        let length = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut body)
            .map_err(|_| SealError::Unauthentic)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(…)")
    }
}

/// Appends a length and the bytes, so that no two lists of fields encode alike.
pub(crate) fn put_field(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u64).to_be_bytes());
    out.extend_from_slice(field);
}
