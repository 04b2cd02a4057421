//! Ed25519 (RFC 8032) for what is signed by one party and checked by another.
//!
//! Every use has a context of its own, which is signed before the bytes, so that a signature made for one thing never fits
//! another. A context ends with a zero byte, which none has within.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use seams::Entropy;
use zeroize::Zeroizing;

/// Bytes of a public key.
pub const PUBLIC_KEY: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

const PRIVATE_HEADER: &str = "portcullis-signing-key v1";
const PUBLIC_HEADER: &str = "portcullis-public-key v1";

/// Why a key cannot be used. Never carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// A key file that is none.
    #[error("not a key file of version 1")]
    Format,
    /// The library refuses the seed.
    #[error("the key cannot be used")]
    Unusable,
}

/// Signs. Shows only its public half in `Debug`.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// From 32 secret bytes.
    ///
    /// # Errors
    /// [`SigningKeyError::Unusable`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SigningKeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| SigningKeyError::Unusable)
    }

    /// Reads a file that [`generate_files`] made: a header line, and the seed in base 64.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn from_file(text: &str) -> Result<Self, SigningKeyError> {
        Self::from_seed(&*read(PRIVATE_HEADER, text)?)
    }

    /// For those who check.
    #[must_use]
    pub fn public(&self) -> [u8; PUBLIC_KEY] {
        let mut out = [0; PUBLIC_KEY];
        out.copy_from_slice(self.0.public_key().as_ref());
        out
    }

    /// The signature over `context`, then `bytes`.
    #[must_use]
    pub fn sign(&self, context: &[u8], bytes: &[u8]) -> [u8; SIGNATURE] {
        let mut out = [0; SIGNATURE];
        out.copy_from_slice(self.0.sign(&[context, bytes].concat()).as_ref());
        out
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&hex::encode(self.public())).finish()
    }
}

/// Whether `signature` is `public`'s over `context`, then `bytes`.
#[must_use]
pub fn verify(public: &[u8], context: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(&[context, bytes].concat(), signature).is_ok()
}

/// A new key: the contents of its private file, to be written with mode 0600, and of its public file.
///
/// # Errors
/// [`SigningKeyError::Unusable`].
pub fn generate_files(entropy: &dyn Entropy) -> Result<(Zeroizing<String>, String), SigningKeyError> {
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
    let public = SigningKey::from_seed(&seed)?.public();
    let mut private = Zeroizing::new(String::with_capacity(PRIVATE_HEADER.len() + 46));
    private.push_str(PRIVATE_HEADER);
    private.push('\n');
    STANDARD.encode_string(seed.as_slice(), &mut private);
    private.push('\n');
    Ok((private, format!("{PUBLIC_HEADER}\n{}\n", STANDARD.encode(public))))
}

/// The public key in a file that [`generate_files`] made.
///
/// # Errors
/// [`SigningKeyError::Format`].
pub fn public_from_file(text: &str) -> Result<[u8; PUBLIC_KEY], SigningKeyError> {
    read(PUBLIC_HEADER, text).map(|key| *key)
}

fn read(header: &str, text: &str) -> Result<Zeroizing<[u8; 32]>, SigningKeyError> {
    let mut lines = text.lines();
    let (Some(first), Some(line), None) = (lines.next(), lines.next(), lines.next()) else {
        return Err(SigningKeyError::Format);
    };
    let bytes = STANDARD.decode(line).map(Zeroizing::new).map_err(|_| SigningKeyError::Format)?;
    let mut out = Zeroizing::new([0; 32]);
    if first != header || bytes.len() != out.len() {
        return Err(SigningKeyError::Format);
    }
    out.copy_from_slice(&bytes);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn a_signature_fits_its_key_its_context_and_its_bytes_alone() {
        let (private, public) = generate_files(&SeededEntropy::new(1)).unwrap();
        let key = SigningKey::from_file(&private).unwrap();
        let public = public_from_file(&public).unwrap();
        assert_eq!(public, key.public());
        let signature = key.sign(b"a\0", b"bytes");
        assert!(verify(&public, b"a\0", b"bytes", &signature));
        assert!(!verify(&public, b"b\0", b"bytes", &signature));
        assert!(!verify(&public, b"a\0", b"byte", &signature));
        assert!(!verify(&[7; 32], b"a\0", b"bytes", &signature));
        assert!(!verify(&public, b"a\0", b"bytes", &signature[1..]));
        assert!(!verify(&[], b"a\0", b"bytes", &signature));
    }

    #[test]
    fn key_files_are_closed() {
        let (private, public) = generate_files(&SeededEntropy::new(1)).unwrap();
        assert_eq!(SigningKey::from_file(&public).err(), Some(SigningKeyError::Format));
        assert_eq!(public_from_file(&private).err(), Some(SigningKeyError::Format));
        assert!(public_from_file(&format!("{public}more\n")).is_err());
        assert!(public_from_file("portcullis-public-key v1\nAAAA\n").is_err());
        assert!(
            !format!("{:?}", SigningKey::from_file(&private).unwrap())
                .contains(private.lines().nth(1).unwrap())
        );
    }
}
