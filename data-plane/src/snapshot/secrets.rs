//! What opens and seals for one tenant: keys derived from its data keys, and upstream credentials opened with them.

use std::sync::OnceLock;

use crypto::{
    Aad, DataKey, KeyHasher, Purpose, Sealer, SessionKey, Zeroizing, digest::HmacKey, jwt::dpop::Nonces,
};
use http::{HeaderName, HeaderValue};
use ids::{CredentialId, DataKeyId, DomainId, TenantId, Uuid};
use rustls_pki_types::PrivateKeyDer;
use wire::v1;

use super::decode::DecodeError;

/// A credential for an upstream does not open, or cannot be a header: calls to the upstream are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("credential {0} cannot be used")]
pub struct CredentialUnavailable(pub CredentialId);

/// The key of a domain's certificate does not open, or is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its key does not open")]
pub(super) struct KeyUnavailable;

/// Keys derived from one data key.
#[derive(Debug)]
pub struct DataKeys {
    /// The data key's id.
    pub id: DataKeyId,
    /// Stored hashes of API keys.
    pub hasher: KeyHasher,
    /// Values at rest.
    pub sealer: Sealer,
    /// Salted hashes in audit records.
    pub audit_mac: AuditMacKey,
}

/// Key of the salted hashes in audit records.
pub struct AuditMacKey(HmacKey);

impl AuditMacKey {
    /// HMAC-SHA-256 of the concatenated parts.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.0.mac(parts)
    }
}

impl std::fmt::Debug for AuditMacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditMacKey(…)")
    }
}

/// All of a tenant's data keys, the current one first.
///
/// What is derived from them takes two kilobytes and is derived when a request first needs it: most of many tenants are
/// quiet.
#[derive(Debug)]
pub struct TenantKeys {
    keys: Box<[DataKey]>,
    derived: OnceLock<Box<Derived>>,
}

#[derive(Debug)]
struct Derived {
    keys: Box<[DataKeys]>,
    session: Box<[SessionKey]>,
    nonces: Nonces,
}

impl TenantKeys {
    /// From the keys beside a snapshot.
    pub(super) fn new(keys: &[v1::TenantKey]) -> Result<Self, DecodeError> {
        let mut ordered: Vec<_> = keys.iter().collect();
        ordered.sort_by_key(|key| !key.current);
        if ordered.iter().filter(|key| key.current).count() != 1 {
            return Err(DecodeError::Keys("current"));
        }
        let keys = ordered.into_iter().map(|key| {
            let id = Uuid::from_slice(&key.id).map_err(|_| DecodeError::Keys("id"))?;
            let mut material = Zeroizing::new([0; 32]);
            if key.material.len() != material.len() {
                return Err(DecodeError::Keys("material"));
            }
            material.copy_from_slice(&key.material);
            Ok(DataKey::new(DataKeyId::from_uuid(id), material))
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, derived: OnceLock::new() })
    }

    fn derived(&self) -> &Derived {
        self.derived.get_or_init(|| {
            let derive = |key: &DataKey| DataKeys {
                id: key.id,
                hasher: key.key_hasher(),
                sealer: key.sealer(),
                audit_mac: AuditMacKey(HmacKey::new(
                    Zeroizing::new(key.derive(Purpose::AuditMac)).as_slice(),
                )),
            };
            Box::new(Derived {
                keys: self.keys.iter().map(derive).collect(),
                session: self.keys.iter().map(DataKey::session_key).collect(),
                nonces: Nonces::new(
                    self.keys
                        .iter()
                        .map(|key| Zeroizing::new(key.derive(Purpose::ProofNonce)))
                        .collect::<Vec<_>>()
                        .iter()
                        .map(|key| &**key),
                ),
            })
        })
    }

    /// For sessions and other handles given to callers: the first seals, each opens.
    #[must_use]
    pub fn session(&self) -> &[SessionKey] {
        &self.derived().session
    }

    /// By which callers' proofs of possession show that they are new.
    #[must_use]
    pub fn nonces(&self) -> &Nonces {
        &self.derived().nonces
    }

    /// The key that seals and hashes anew. There always is one in an index that was applied.
    #[must_use]
    pub fn current(&self) -> Option<&DataKeys> {
        self.derived().keys.first()
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: DataKeyId) -> Option<&DataKeys> {
        self.derived().keys.iter().find(|key| key.id == id)
    }

    /// An upstream's static headers, opened.
    pub(super) fn open_headers(
        &self,
        tenant: TenantId,
        sealed: &[v1::SealedHeader],
    ) -> Result<Box<[(HeaderName, HeaderValue)]>, CredentialUnavailable> {
        sealed.iter().map(|header| self.open_header(tenant, header)).collect()
    }

    /// The private key of a domain's certificate, opened.
    pub(super) fn open_certificate_key(
        &self,
        tenant: TenantId,
        domain: DomainId,
        sealed: &v1::DomainCertificate,
    ) -> Result<PrivateKeyDer<'static>, KeyUnavailable> {
        let opened =
            self.open(tenant, "domain_certificates", domain.uuid(), &sealed.data_key_id, &sealed.sealed);
        let opened = opened.ok_or(KeyUnavailable)?;
        PrivateKeyDer::try_from(opened.to_vec()).map_err(|_| KeyUnavailable)
    }

    /// What the column `sealed` of a row holds; `None` if it does not open.
    pub(super) fn open(
        &self,
        tenant: TenantId,
        table: &str,
        row: Uuid,
        data_key: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let data_key = DataKeyId::from_uuid(Uuid::from_slice(data_key).ok()?);
        let key = self.keys.iter().find(|key| key.id == data_key)?;
        let aad = Aad { tenant, table, column: "sealed", row: row.as_bytes() };
        key.sealer().open(&aad, sealed).ok()
    }

    fn open_header(
        &self,
        tenant: TenantId,
        header: &v1::SealedHeader,
    ) -> Result<(HeaderName, HeaderValue), CredentialUnavailable> {
        let credential = Uuid::from_slice(&header.credential_id).unwrap_or_default();
        let unavailable = CredentialUnavailable(CredentialId::from_uuid(credential));
        let opened =
            self.open(tenant, "upstream_credentials", credential, &header.data_key_id, &header.sealed);
        let opened = opened.ok_or(unavailable)?;
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| unavailable)?;
        let mut value = HeaderValue::from_bytes(&opened).map_err(|_| unavailable)?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}
