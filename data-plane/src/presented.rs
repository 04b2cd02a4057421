//! The certificate that a caller showed when it connected. Its key the caller has; what it is worth each endpoint finds out for itself.

use std::{fmt, time::Duration};

use crypto::digest::sha256;
use ids::TenantId;
use parking_lot::Mutex;
use rustls_pki_types::{CertificateDer, UnixTime};
use seams::Timestamp;
use wire::v1::SubjectNameKind;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::snapshot::authorities::ClientAuthorityIndex;

/// How long it is not verified again for the same configuration: one of those between may end, or a list.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Authorities that are remembered: a connection calls a few endpoints.
const KEPT: usize = 16;
/// Names that are looked at.
const MAX_NAMES: usize = 64;

/// What was shown.
pub(crate) struct Presented {
    chain: Box<[CertificateDer<'static>]>,
    digest: [u8; 32],
    names: Box<[(SubjectNameKind, Box<str>)]>,
    not_after: Timestamp,
    kept: Mutex<Vec<Kept>>,
}

/// Whether an authority of a tenant's has issued it, by one configuration.
struct Kept {
    tenant: TenantId,
    configuration: [u8; 32],
    authority: ids::ClientAuthorityId,
    at: Timestamp,
    good: bool,
}

impl Presented {
    /// From the chain of a handshake, leaf first; `None`: nothing was shown, or nothing that can be read.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let chain = chain?;
        let leaf = chain.first()?;
        let (_, read) = X509Certificate::from_der(leaf).ok()?;
        let not_after = u64::try_from(read.validity().not_after.timestamp()).ok()?;
        let mut names = Vec::new();
        if let Ok(Some(alternatives)) = read.subject_alternative_name() {
            for name in alternatives.value.general_names.iter().take(MAX_NAMES) {
                match name {
                    GeneralName::URI(uri) => names.push((SubjectNameKind::Uri, (*uri).into())),
                    GeneralName::DNSName(name) => {
                        names.push((SubjectNameKind::Dns, name.to_ascii_lowercase().into()));
                    }
                    _ => {}
                }
            }
        }
        Some(Self {
            digest: sha256(leaf),
            not_after: Timestamp::from_secs(not_after),
            names: names.into(),
            chain: chain.iter().map(|each| each.clone().into_owned()).collect(),
            kept: Mutex::default(),
        })
    }

    /// SHA-256 of the leaf (RFC 8705 section 3.1).
    pub(crate) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(crate) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is for this name.
    pub(crate) fn is_for(&self, kind: SubjectNameKind, name: &str) -> bool {
        self.names.iter().any(|(own, text)| *own == kind && **text == *name)
    }

    /// Whether the authority has issued it, for clients, and it is neither over nor revoked.
    pub(crate) fn is_by(
        &self,
        authority: &ClientAuthorityIndex,
        (tenant, configuration): (TenantId, &[u8; 32]),
        now: Timestamp,
    ) -> bool {
        let mut kept = self.kept.lock();
        let same = |each: &Kept| each.tenant == tenant && each.authority == authority.id;
        if let Some(known) = kept.iter().find(|each| same(each))
            && known.configuration == *configuration
            && now.since(known.at).max(known.at.since(now)) < VERIFIED_FOR
        {
            return known.good && now < self.not_after;
        }
        let Some((leaf, between)) = self.chain.split_first() else { return false };
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.secs()));
        let good = authority.verifier.verify_client_cert(leaf, between, at).is_ok();
        kept.retain(|each| !same(each));
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.push(Kept { tenant, configuration: *configuration, authority: authority.id, at: now, good });
        good && now < self.not_after
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("names", &self.names.len()).finish_non_exhaustive()
    }
}
