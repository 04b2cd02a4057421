//! A certificate authority of the fleet: ECDSA P-256, the first made when it is needed, its key sealed in Postgres under a data
//! key that the master key wraps.
//!
//! Every replica issues from the same authority ([`authorities`]). Certificates are short-lived and nothing else is signed by it, so what a
//! chain proves is membership of this fleet; the role is in the certificate's name.

use std::time::Duration;

use crypto::{Aad, DataKey, Kek, SealError, digest::sha256};
use ids::{AuthorityId, DataKeyId, ProxyId, Uuid};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use seams::{Entropy, Timestamp};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    FleetError,
    authorities::{self, queries},
};
use crate::{
    app::Core,
    db::{INSTALLATION, OperatorTx},
};

const CA_LIFE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Proxies renew at half of this.
pub(super) const PROXY_LIFE: Duration = Duration::from_secs(3600);
/// Of this replica's own certificate, renewed at half of it.
pub(super) const SERVER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A certificate is valid from this long before it was issued, for clocks that lag.
const SKEW: Duration = Duration::from_secs(300);

/// A new authority issues only when every replica has had time to learn that it is trusted.
const SETTLE: Duration = Duration::from_secs(5);

/// The authority, opened.
pub(super) struct Authority {
    pub(super) id: Uuid,
    /// Its subject, DER.
    pub(super) subject: Vec<u8>,
    pub(super) issues_from: Timestamp,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(super) key_hash: [u8; 32],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("key_hash", &crypto::digest::hex(&self.key_hash))
            .finish_non_exhaustive()
    }
}

/// A certificate just issued.
pub(super) struct Issued {
    /// Leaf, then the CA.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// When the leaf ends.
    pub(super) not_after: Timestamp,
    /// By whom.
    pub(super) authority: Uuid,
}

impl Issued {
    /// SHA-256 of the leaf.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.chain.first().map_or([0; 32], |leaf| sha256(leaf))
    }
}

/// A stored authority.
#[derive(Debug)]
pub(super) struct CaRow {
    pub(super) id: Uuid,
    pub(super) certificate_der: Vec<u8>,
    pub(super) sealed_key: Vec<u8>,
    pub(super) spki_sha256: [u8; 32],
    pub(super) created: Timestamp,
    pub(super) issues_from: Timestamp,
    pub(super) not_after: Timestamp,
}

/// SHA-256 of the SubjectPublicKeyInfo of the authority that issues, which join tokens carry. Makes it if there is none.
///
/// # Errors
/// [`FleetError`].
pub async fn key_hash(core: &Core) -> Result<[u8; 32], FleetError> {
    Ok(authorities::load(core).await?.issuing().key_hash)
}

/// Adds an authority beside the one there is. `None` while there are two.
///
/// # Errors
/// [`FleetError`].
pub async fn rotate(core: &Core, tx: &mut OperatorTx) -> Result<Option<AuthorityId>, FleetError> {
    if queries::authorities_locked(tx).await?.len() != 1 {
        return Ok(None);
    }
    let now = core.clock.now();
    let made = CaRow { issues_from: now.plus(SETTLE), ..make(core.secrets.kek(), now, &*core.entropy)? };
    queries::insert_authority(tx, &made).await?;
    Ok(Some(AuthorityId::from_uuid(made.id)))
}

/// Retires an authority: nobody trusts it any more. `false` while it is the only one that issues, or while a proxy that was not
/// revoked has a certificate of it, which would be locked out.
///
/// # Errors
/// [`FleetError`].
pub async fn retire(core: &Core, tx: &mut OperatorTx, id: AuthorityId) -> Result<bool, FleetError> {
    let rows = queries::authorities_locked(tx).await?;
    let now = core.clock.now();
    let other = rows.iter().any(|row| row.id != id.uuid() && row.issues_from <= now);
    if !other || queries::proxies_under(tx, id).await? > 0 {
        return Ok(false);
    }
    queries::retire_authority(tx, id, now).await?;
    Ok(true)
}

impl Authority {
    pub(super) fn open(kek: &dyn Kek, row: &CaRow) -> Result<Self, FleetError> {
        let unreadable = || FleetError::CaKey(SealError::Malformed);
        let (length, rest) = row.sealed_key.split_first_chunk::<2>().ok_or_else(unreadable)?;
        let (wrapped, sealed) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(unreadable)?;
        let data_key = DataKey::unwrap(kek, INSTALLATION, DataKeyId::from_uuid(row.id), wrapped)
            .map_err(FleetError::CaKey)?;
        let pkcs8 = data_key.sealer().open(&place(&row.id), sealed).map_err(FleetError::CaKey)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateDer::from(row.certificate_der.clone());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let (_, parsed) =
            X509Certificate::from_der(&row.certificate_der).map_err(|_| FleetError::CaCertificate)?;
        let subject = parsed.subject().as_raw().to_vec();
        let (id, issues_from) = (row.id, row.issues_from);
        Ok(Self { id, subject, issues_from, certificate, issuer, key_hash: row.spki_sha256 })
    }

    /// The CA's certificate, DER.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for a proxy, over the key in its request. Only the key is taken from the request; the name is ours.
    pub(super) fn issue_proxy(
        &self,
        csr: &Csr,
        proxy: ProxyId,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Issued, FleetError> {
        let mut params =
            leaf(proxy.to_string(), ExtendedKeyUsagePurpose::ClientAuth, now, PROXY_LIFE, entropy);
        let uri = format!("{}{proxy}", wire::PROXY_SPIFFE_PREFIX);
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        let certificate = params.signed_by(&csr.0.public_key, &self.issuer)?;
        Ok(self.issued(certificate.der().clone(), now, PROXY_LIFE))
    }

    /// A certificate and key for this replica.
    pub(super) fn issue_server(
        &self,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Issued, KeyPair), FleetError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let name = wire::CONTROL_NAME.to_owned();
        let mut params = leaf(name.clone(), ExtendedKeyUsagePurpose::ServerAuth, now, SERVER_LIFE, entropy);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((self.issued(certificate.der().clone(), now, SERVER_LIFE), key))
    }

    fn issued(&self, leaf: CertificateDer<'static>, now: Timestamp, life: Duration) -> Issued {
        Issued { chain: vec![leaf, self.certificate.clone()], not_after: now.plus(life), authority: self.id }
    }
}

/// A request for a certificate whose signature is right and whose key is of the one kind we accept.
pub(super) struct Csr(CertificateSigningRequestParams);

impl Csr {
    /// `None` when the bytes are no request, its signature is not by its key, or the key is not P-256.
    pub(super) fn verify(der: &[u8]) -> Option<Self> {
        let csr = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der)).ok()?;
        (csr.public_key.algorithm() == &PKCS_ECDSA_P256_SHA256).then_some(Self(csr))
    }
}

fn leaf(
    common_name: String,
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
    life: Duration,
    entropy: &dyn Entropy,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before =
        Timestamp::from_micros(now.micros().saturating_sub(SKEW.as_micros() as u64)).to_offset();
    params.not_after = now.plus(life).to_offset();
    params.serial_number = Some(serial(entropy));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

/// 127 random bits (RFC 5280, section 4.1.2.2: positive, at most 20 bytes).
fn serial(entropy: &dyn Entropy) -> SerialNumber {
    let mut bytes = entropy.bytes::<16>();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// A new authority, sealed.
pub(super) fn make(kek: &dyn Kek, now: Timestamp, entropy: &dyn Entropy) -> Result<CaRow, FleetError> {
    let id = DataKeyId::from_parts(now.millis(), entropy.bytes());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let key_hash = sha256(&key.subject_public_key_info());
    let name = format!("{}{}", wire::AUTHORITY_NAME_PREFIX, crypto::digest::hex(&key_hash[..8]));
    let mut params = leaf(name, ExtendedKeyUsagePurpose::Any, now, CA_LIFE, entropy);
    params.extended_key_usages.clear();
    params.use_authority_key_identifier_extension = false;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.der().to_vec();

    let data_key = DataKey::generate(id, entropy);
    let wrapped = data_key.wrap(kek, INSTALLATION, entropy).map_err(FleetError::CaKey)?;
    let sealed = data_key
        .sealer()
        .seal(&place(&id.uuid()), key.serialized_der(), entropy)
        .map_err(FleetError::CaKey)?;
    let length = u16::try_from(wrapped.len()).map_err(|_| FleetError::CaKey(SealError::TooLarge))?;
    let sealed_key = [&length.to_be_bytes()[..], &wrapped, &sealed].concat();
    Ok(CaRow {
        id: id.uuid(),
        spki_sha256: spki_sha256(&certificate)?,
        certificate_der: certificate,
        sealed_key,
        created: now,
        issues_from: now,
        not_after: now.plus(CA_LIFE),
    })
}

fn spki_sha256(certificate: &[u8]) -> Result<[u8; 32], FleetError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| FleetError::CaCertificate)?;
    Ok(sha256(parsed.public_key().raw))
}

fn place(id: &Uuid) -> Aad<'_> {
    Aad { tenant: INSTALLATION, table: "certificate_authorities", column: "sealed_key", row: id.as_bytes() }
}
