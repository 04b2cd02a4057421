//! Master keys: they wrap tenants' data keys and derive the keys under which administrators' tokens are hashed.
//!
//! The key file is text:
//!
//! ```text
//! portcullis-master-key v1
//! <32 bytes, base 64>
//! <32 bytes, base 64>
//! ```
//!
//! The first key wraps; every key unwraps. To rotate, put a new key first and keep the old one second until everything is
//! wrapped again. A key's id is computed from the key, so that no file can name a key wrongly. Reading and writing the
//! file is the caller's business.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use seams::Entropy;
use zeroize::Zeroizing;

use crate::{
    aead::{AeadKey, SealError, put_field},
    digest,
    key::KeyHasher,
};

const HEADER: &str = "portcullis-master-key v1";
const VERSION: u8 = 1;
const MAX_KEYS: usize = 2;

/// Names a master key: the first 8 bytes of a hash of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekId(pub [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(&self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

/// Why a key file was refused. Never carries its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KekError {
    /// The first line is not the one of format 1.
    #[error("master key file does not begin with `portcullis-master-key v1`")]
    UnknownFormat,
    /// A line is not 32 bytes in base 64.
    #[error("line {0} of the master key file is not 32 bytes in base 64")]
    BadKey(usize),
    /// No key, more than two, or the same twice.
    #[error("master key file must hold one key, or two different ones")]
    WrongCount,
}

/// Wraps data keys. A wrapped key says which master key wrapped it.
pub trait Kek: Send + Sync + fmt::Debug {
    /// The master key that wraps.
    fn id(&self) -> KekId;

    /// `0x01 ‖ master key id (8) ‖ nonce (12) ‖ ciphertext (32) ‖ tag (16)`.
    ///
    /// # Errors
    /// [`SealError::NoKey`] where the key cannot be used.
    fn wrap(&self, key: &[u8; 32], aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SealError>;

    /// The data key inside `wrapped`.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] if another master key wrapped it, [`SealError::Unauthentic`] if it was changed or `aad` is
    /// not the one it was wrapped with.
    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError>;
}

/// What a key derived from the master key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MasterPurpose {
    /// Stored hashes of admin, operator and join tokens.
    TokenHash,
    /// Cursors and other handles of operator resources, which belong to no tenant.
    Cursor,
    /// The seed of the key that signs kill sets.
    KillSet,
    /// Answers that are kept for repetitions of a request.
    Answer,
    /// Why kills were ordered that have no row yet.
    UnsavedKill,
    /// Private halves of the keys with which tenants' issuers sign.
    SigningKey,
    /// Nonces for proofs of possession at token endpoints.
    ProofNonce,
    /// Refresh tokens that follow from those in whose place they are.
    RefreshToken,
}

impl MasterPurpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::TokenHash => b"token hash",
            Self::Cursor => b"operator cursor",
            Self::KillSet => b"kill set",
            Self::Answer => b"stored answer",
            Self::UnsavedKill => b"unsaved kill",
            Self::SigningKey => b"signing key",
            Self::ProofNonce => b"proof nonce",
            Self::RefreshToken => b"refresh token",
        }
    }
}

/// Master keys from a file.
pub struct FileKek {
    primary: MasterKey,
    previous: Option<MasterKey>,
}

struct MasterKey {
    id: KekId,
    material: Zeroizing<[u8; 32]>,
    wrapping: AeadKey,
}

impl MasterKey {
    fn new(material: Zeroizing<[u8; 32]>) -> Self {
        let derive = |label: &[u8]| digest::hkdf_sha256(SALT, material.as_slice(), &[label]);
        let [a, b, c, d, e, f, g, h, ..] = derive(b"id");
        let wrapping = AeadKey::new(&Zeroizing::new(derive(b"wrap")));
        Self { id: KekId([a, b, c, d, e, f, g, h]), wrapping, material }
    }

    fn derive(&self, purpose: MasterPurpose) -> [u8; 32] {
        digest::hkdf_sha256(SALT, self.material.as_slice(), &[b"purpose ", purpose.label()])
    }
}

const SALT: &[u8] = b"portcullis master key v1";

impl FileKek {
    /// The keys in a file's bytes.
    ///
    /// # Errors
    /// If the file is not of format 1.
    pub fn from_bytes(file: &[u8]) -> Result<Self, KekError> {
        let text = std::str::from_utf8(file).map_err(|_| KekError::UnknownFormat)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(KekError::UnknownFormat);
        }
        let mut keys = Vec::with_capacity(MAX_KEYS);
        for (place, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            if keys.len() == MAX_KEYS {
                return Err(KekError::WrongCount);
            }
            let mut material = Zeroizing::new([0; 32]);
            match STANDARD.decode(line).map(Zeroizing::new) {
                Ok(bytes) if bytes.len() == 32 => material.copy_from_slice(&bytes),
                _ => return Err(KekError::BadKey(place + 2)),
            }
            keys.push(MasterKey::new(material));
        }
        let mut keys = keys.into_iter();
        let (primary, previous) = (keys.next().ok_or(KekError::WrongCount)?, keys.next());
        if previous.as_ref().is_some_and(|key| key.id == primary.id) {
            return Err(KekError::WrongCount);
        }
        Ok(Self { primary, previous })
    }

    /// A new file with one random key, to be written with mode 0600.
    #[must_use]
    pub fn generate_file(entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
        let material: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
        // The capacity is enough, so that no copy stays behind where the buffer was.
        let mut out = Zeroizing::new(String::with_capacity(HEADER.len() + 46));
        out.push_str(HEADER);
        out.push('\n');
        STANDARD.encode_string(material.as_slice(), &mut out);
        out.push('\n');
        Zeroizing::new(std::mem::take(&mut *out).into_bytes())
    }

    /// The primary key's derivation for `purpose`.
    #[must_use]
    pub fn derive(&self, purpose: MasterPurpose) -> [u8; 32] {
        self.primary.derive(purpose)
    }

    /// Derivations for `purpose` of every key, the primary's first.
    #[must_use]
    pub fn derive_all(&self, purpose: MasterPurpose) -> Vec<Zeroizing<[u8; 32]>> {
        std::iter::once(&self.primary)
            .chain(&self.previous)
            .map(|key| Zeroizing::new(key.derive(purpose)))
            .collect()
    }

    /// Hashers of admin, operator and join tokens, by the id of the master key each rests on. The first makes new hashes;
    /// the others only verify, while a rotation lasts.
    #[must_use]
    pub fn token_hashers(&self) -> Vec<(KekId, KeyHasher)> {
        std::iter::once(&self.primary)
            .chain(&self.previous)
            .map(|key| (key.id, KeyHasher::new(key.derive(MasterPurpose::TokenHash))))
            .collect()
    }
}

impl Kek for FileKek {
    fn id(&self) -> KekId {
        self.primary.id
    }

    fn wrap(&self, key: &[u8; 32], aad: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, SealError> {
        let mut out = Vec::with_capacity(1 + 8 + 12 + 32 + 16);
        out.push(VERSION);
        out.extend_from_slice(&self.primary.id.0);
        self.primary.wrapping.seal_onto(&mut out, &bound(self.primary.id, aad), key, entropy)?;
        Ok(out)
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let (&version, rest) = wrapped.split_first().ok_or(SealError::Malformed)?;
        if version != VERSION {
            return Err(SealError::UnknownVersion);
        }
        let (id, body) = rest.split_first_chunk::<8>().ok_or(SealError::Malformed)?;
        let key = std::iter::once(&self.primary)
            .chain(&self.previous)
            .find(|key| key.id.0 == *id)
            .ok_or(SealError::UnknownKey)?;
        let opened = key.wrapping.open(&bound(key.id, aad), body)?;
        let mut out = Zeroizing::new([0; 32]);
        if opened.len() != out.len() {
            return Err(SealError::Malformed);
        }
        out.copy_from_slice(&opened);
        Ok(out)
    }
}

impl fmt::Debug for FileKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKek")
            .field("primary", &self.primary.id)
            .field("previous", &self.previous.as_ref().map(|key| key.id))
            .finish()
    }
}

fn bound(id: KekId, aad: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + aad.len());
    put_field(&mut out, b"portcullis wrap v1");
    put_field(&mut out, &id.0);
    put_field(&mut out, aad);
    out
}
