//! What a proxy keeps of its configuration on its own disk: sealed with AES-256-GCM-SIV under a key that lies elsewhere.
//!
//! The key file is text:
//!
//! ```text
//! portcullis-archive-key v1
//! <32 bytes, base 64>
//! ```
//!
//! A sealed value is `nonce (12) ‖ ciphertext ‖ tag (16)`. Its associated data names the proxy, the kind of entry, the
//! tenant, its revision and the entry's place in the order in which entries were made: nothing opens as another proxy's,
//! another tenant's or another revision's. [`frame`] has the format of the files. Reading and writing them is the caller's
//! business.

pub mod frame;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ids::{ProxyId, TenantId, Uuid};
use seams::Entropy;
use zeroize::Zeroizing;

use crate::{
    aead::{AeadKey, NONCE, SealError, TAG, put_field},
    digest,
};

const HEADER: &str = "portcullis-archive-key v1";
const SALT: &[u8] = b"portcullis archive v1";

/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE + TAG;

/// The file is not one line of format and one of 32 bytes in base 64. Never carries its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an archive key file: `portcullis-archive-key v1`, then 32 bytes in base 64")]
pub struct ArchiveKeyError;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tenant's configuration.
    Tenant,
    /// A tenant is gone.
    Removed,
    /// The least that may be served.
    Floor,
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Tenant => b"tenant",
            Self::Removed => b"removed",
            Self::Floor => b"floor",
        }
    }
}

/// Where an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Who keeps it.
    pub proxy: ProxyId,
    /// What it is.
    pub kind: Kind,
    /// Whose it is; nil where it is nobody's.
    pub tenant: TenantId,
    /// Revision of the tenant.
    pub rev: u64,
    /// Counts the entries of one proxy.
    pub seq: u64,
}

impl Place {
    /// The one entry that says what may be served at least.
    #[must_use]
    pub const fn floor(proxy: ProxyId) -> Self {
        Self { proxy, kind: Kind::Floor, tenant: TenantId::from_uuid(Uuid::nil()), rev: 0, seq: 0 }
    }

    fn aad(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_field(&mut out, SALT);
        put_field(&mut out, self.proxy.uuid().as_bytes());
        put_field(&mut out, self.kind.label());
        put_field(&mut out, self.tenant.uuid().as_bytes());
        put_field(&mut out, &self.rev.to_be_bytes());
        put_field(&mut out, &self.seq.to_be_bytes());
        out
    }
}

/// The key of one proxy's archive.
pub struct ArchiveKey {
    id: [u8; 8],
    key: AeadKey,
}

impl ArchiveKey {
    /// The key in a file's bytes.
    ///
    /// # Errors
    /// [`ArchiveKeyError`] if the file is not of format 1.
    pub fn from_file(file: &[u8]) -> Result<Self, ArchiveKeyError> {
        let text = std::str::from_utf8(file).map_err(|_| ArchiveKeyError)?;
        let mut lines = text.lines();
        let (Some(HEADER), Some(line)) = (lines.next(), lines.next()) else { return Err(ArchiveKeyError) };
        if lines.any(|rest| !rest.is_empty()) {
            return Err(ArchiveKeyError);
        }
        let decoded = STANDARD.decode(line).map(Zeroizing::new).map_err(|_| ArchiveKeyError)?;
        let mut material = Zeroizing::new([0; 32]);
        if decoded.len() != material.len() {
            return Err(ArchiveKeyError);
        }
        material.copy_from_slice(&decoded);
        let derive = |label: &[u8]| digest::hkdf_sha256(SALT, material.as_slice(), &[label]);
        let [a, b, c, d, e, f, g, h, ..] = derive(b"id");
        Ok(Self { id: [a, b, c, d, e, f, g, h], key: AeadKey::new(&Zeroizing::new(derive(b"seal"))) })
    }

    /// A new file with a random key, to be written with mode 0600.
    #[must_use]
    pub fn generate_file(entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
        let material: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
        let line = Zeroizing::new(STANDARD.encode(material.as_slice()));
        Zeroizing::new(format!("{HEADER}\n{}\n", line.as_str()).into_bytes())
    }

    /// Names the key: 8 bytes of a hash of it. Not secret.
    #[must_use]
    pub const fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Appends the sealed form of `plaintext` to `out`: [`OVERHEAD`] bytes more than it.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] above 2³⁶ bytes.
    pub fn seal(
        &self,
        place: &Place,
        plaintext: &[u8],
        out: &mut Vec<u8>,
        entropy: &dyn Entropy,
    ) -> Result<(), SealError> {
        self.key.seal_onto(out, &place.aad(), plaintext, entropy)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`SealError::Unauthentic`] if it was changed, or sealed for another place or under another key.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.key.open(&place.aad(), sealed)
    }
}

impl fmt::Debug for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveKey({})", digest::hex(&self.id))
    }
}
