//! SHA-256, HMAC-SHA-256, HKDF-SHA-256, and the two hashes of a Merkle tree.

use aws_lc_rs::{digest, hmac};

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
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    fixed(context.finish().as_ref())
}

/// SHA-256 of bytes that come one after another.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes given.
    #[must_use]
    pub fn finish(self) -> Digest {
        fixed(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
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
    hmac_with(&hmac::Key::new(hmac::HMAC_SHA256, key), parts)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub(crate) fn hmac_with(key: &hmac::Key, parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    fixed(context.sign().as_ref())
}

/// HKDF-SHA-256 (RFC 5869) with an output of exactly one block, so that it cannot fail.
pub(crate) fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Digest {
    let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret);
    let prk = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref());
    let mut context = hmac::Context::with_key(&prk);
    for part in info {
        context.update(part);
    }
    context.update(&[0x01]);
    fixed(context.sign().as_ref())
}

/// Both algorithms above give 32 bytes.
fn fixed(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(bytes);
    out
}
