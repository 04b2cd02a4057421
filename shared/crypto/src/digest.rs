//! SHA-256, HMAC-SHA-256, HKDF-SHA-256, and the two hashes of a Merkle tree.
//!
//! RustCrypto's, with the processor's SHA instructions where it has them: a call hashes a few hundred bytes four times, and
//! there the set-up and tear-down of aws-lc's contexts cost more than the hashing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Digest as _;

/// A SHA-256 output.
pub type Digest = [u8; 32];

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    sha256_parts(&[bytes])
}

/// SHA-256 of the concatenation of `parts`. Where a part has no fixed length, the caller separates it from the next.
#[must_use]
pub fn sha256_parts(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::default();
    for part in parts {
        hash.update(part);
    }
    hash.finish()
}

/// SHA-256 of bytes that come one after another.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes given.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(…)")
    }
}

/// Hash of a Merkle tree's leaf: SHA-256(0x00 ‖ bytes) (RFC 9162 section 2.1.1).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    sha256_parts(&[&[0x00], bytes])
}

/// Hash of a Merkle tree's inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 9162 section 2.1.1).
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256_parts(&[&[0x01], left, right])
}

/// HMAC-SHA-256 under `key` of the concatenation of `parts` (RFC 2104).
#[must_use]
pub fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> Digest {
    HmacKey::new(key).mac(parts)
}

/// A key of HMAC-SHA-256 (RFC 2104), made ready: what follows from it alone is computed once. Erased when dropped.
#[derive(Clone)]
pub struct HmacKey(Hmac<sha2::Sha256>);

impl HmacKey {
    /// Of a key of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = zeroize::Zeroizing::new([0; 64]);
        if let Some(place) = block.get_mut(..key.len()) {
            place.copy_from_slice(key);
        } else {
            block[..32].copy_from_slice(&sha256(key));
        }
        // A key of exactly one block is taken as it is, so nothing can fail; shorter ones are padded with zeros.
        Self(Hmac::new(&(*block).into()))
    }

    /// HMAC-SHA-256 of the concatenation of `parts`.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> Digest {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// HKDF-SHA-256 (RFC 5869) with an output of exactly one block, so that it cannot fail.
pub(crate) fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Digest {
    let prk = zeroize::Zeroizing::new(HmacKey::new(salt).mac(&[secret]));
    let mut info: Vec<&[u8]> = info.to_vec();
    info.push(&[0x01]);
    HmacKey::new(prk.as_slice()).mac(&info)
}
