//! Values sealed at rest: upstream credentials, and whatever else a row keeps that the database must not show.
//!
//! Format 1: `0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM-SIV. The associated data names tenant, table,
//! column and row, so a sealed value that is copied to another place does not open there.

use std::fmt;

use ids::TenantId;
use seams::Entropy;
use zeroize::Zeroizing;

use crate::aead::{AeadKey, NONCE, SealError, TAG, put_field};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"portcullis seal v1";

/// Where a sealed value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aad<'a> {
    /// Whose value it is.
    pub tenant: TenantId,
    /// Table that holds it.
    pub table: &'a str,
    /// Column that holds it.
    pub column: &'a str,
    /// The row's key, as bytes (16 of an id).
    pub row: &'a [u8],
}

impl Aad<'_> {
    /// The fields, each behind its length as a big-endian `u64`, after a domain separator.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        put_field(&mut out, DOMAIN);
        put_field(&mut out, self.tenant.uuid().as_bytes());
        put_field(&mut out, self.table.as_bytes());
        put_field(&mut out, self.column.as_bytes());
        put_field(&mut out, self.row);
        out
    }
}

/// Seals and opens under one key.
pub struct Sealer(AeadKey);

impl Sealer {
    /// With a key that serves nothing else: `data_key.derive(Purpose::Seal)`.
    #[must_use]
    pub fn new(key: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self(AeadKey::new(&key.into()))
    }

    /// Bytes of a sealed value that holds so many.
    #[must_use]
    pub const fn sealed_len(plaintext: usize) -> usize {
        1 + NONCE + plaintext + TAG
    }

    /// Seals `plaintext` for one place.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] above 2³⁶ bytes.
    pub fn seal(&self, aad: &Aad<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SealError> {
        let mut out = Vec::with_capacity(Self::sealed_len(plaintext.len()));
        self.seal_onto(&mut out, aad, plaintext, entropy)?;
        Ok(out)
    }

    /// Appends the sealed `plaintext` to `out`; nothing when it fails.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_onto(
        &self,
        out: &mut Vec<u8>,
        aad: &Aad<'_>,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(), SealError> {
        let start = out.len();
        out.push(VERSION);
        let sealed = self.0.seal_onto(out, &aad.encode(), plaintext, entropy);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`SealError::Unauthentic`] if it was changed, or sealed for another place or under another key.
    pub fn open(&self, aad: &Aad<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match sealed.split_first() {
            Some((&VERSION, body)) => self.0.open(&aad.encode(), body),
            Some(_) => Err(SealError::UnknownVersion),
            None => Err(SealError::Malformed),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}
