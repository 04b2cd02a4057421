//! A tenant's data key: random, stored only wrapped under a master key, and never used itself; each use derives its own.

use std::fmt;

use ids::{DataKeyId, TenantId};
use seams::Entropy;
use zeroize::Zeroizing;

use crate::{
    aead::{SealError, put_field},
    digest,
    kek::Kek,
    key::KeyHasher,
    seal::Sealer,
    session::SessionKey,
};

/// What a derived key is for. Two purposes never share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Values at rest ([`Sealer`]).
    Seal,
    /// Stored hashes of API keys ([`KeyHasher`]).
    ApiKeyHash,
    /// Salted hashes of sensitive fields in audit records.
    AuditMac,
    /// Sessions and other handles given to callers ([`SessionKey`]).
    SessionSeal,
    /// Cursors of the admin API.
    Cursor,
    /// Nonces for proofs of possession.
    ProofNonce,
}

impl Purpose {
    /// Part of the derivation: changing a label changes every key derived under it.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Seal => b"seal",
            Self::ApiKeyHash => b"api key hash",
            Self::AuditMac => b"audit mac",
            Self::SessionSeal => b"session seal",
            Self::Cursor => b"cursor",
            Self::ProofNonce => b"proof nonce",
        }
    }
}

/// A tenant's data key.
#[derive(Clone)]
pub struct DataKey {
    /// Names the key where something is sealed under it.
    pub id: DataKeyId,
    /// The key itself; only ever the input of a derivation.
    pub material: Zeroizing<[u8; 32]>,
}

impl DataKey {
    /// A key from its parts, as they arrive beside a snapshot.
    #[must_use]
    pub fn new(id: DataKeyId, material: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self { id, material: material.into() }
    }

    /// A new random key.
    #[must_use]
    pub fn generate(id: DataKeyId, entropy: &dyn Entropy) -> Self {
        Self::new(id, entropy.bytes())
    }

    /// HKDF-SHA-256 (RFC 5869) over the material, with the purpose and the key's id as info.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> [u8; 32] {
        let id = self.id.uuid();
        digest::hkdf_sha256(
            b"portcullis data key v1",
            self.material.as_slice(),
            &[id.as_bytes(), purpose.label()],
        )
    }

    /// For values at rest.
    #[must_use]
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.derive(Purpose::Seal))
    }

    /// For stored hashes of API keys.
    #[must_use]
    pub fn key_hasher(&self) -> KeyHasher {
        KeyHasher::new(self.derive(Purpose::ApiKeyHash))
    }

    /// For sessions and other handles given to callers.
    #[must_use]
    pub fn session_key(&self) -> SessionKey {
        SessionKey::new(self.id, self.derive(Purpose::SessionSeal))
    }

    /// The key wrapped for storage in `tenant`'s row.
    ///
    /// # Errors
    /// As [`Kek::wrap`].
    pub fn wrap(&self, kek: &dyn Kek, tenant: TenantId, entropy: &dyn Entropy) -> Result<Vec<u8>, SealError> {
        kek.wrap(&self.material, &wrap_aad(tenant, self.id), entropy)
    }

    /// The key from `tenant`'s row.
    ///
    /// # Errors
    /// As [`Kek::unwrap`].
    pub fn unwrap(kek: &dyn Kek, tenant: TenantId, id: DataKeyId, wrapped: &[u8]) -> Result<Self, SealError> {
        Ok(Self { id, material: kek.unwrap(wrapped, &wrap_aad(tenant, id))? })
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A wrapped key that is moved to another tenant or another row does not unwrap.
fn wrap_aad(tenant: TenantId, id: DataKeyId) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    put_field(&mut out, b"portcullis data key v1");
    put_field(&mut out, tenant.uuid().as_bytes());
    put_field(&mut out, id.uuid().as_bytes());
    out
}
