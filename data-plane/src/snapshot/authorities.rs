//! Authorities of the tenant's own that issue certificates to callers.

use std::{fmt, sync::Arc};

use ids::{ClientAuthorityId, ClientId};
use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use wire::v1::{self, SubjectNameKind};

use super::{build::At, decode::DecodeError, index::Map};

/// An authority.
pub struct ClientAuthorityIndex {
    /// Its id.
    pub id: ClientAuthorityId,
    /// Whether it has issued a certificate, for clients, that is neither over nor revoked.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Which client a name of a certificate is: the first that fits.
    pub callers: Box<[(SubjectNameKind, Box<str>, ClientId)]>,
}

impl ClientAuthorityIndex {
    fn new(at: &At<'_>, authority: v1::ClientAuthority) -> Result<Self, DecodeError> {
        let mut roots = RootCertStore::empty();
        for der in authority.ca_der {
            roots.add(CertificateDer::from(der)).map_err(|_| at.fault("ca_der"))?;
        }
        let lists = authority.crl_der.into_iter().map(CertificateRevocationListDer::from);
        let provider = Arc::new(listen::tls::provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(lists)
            .only_check_end_entity_revocation();
        if !authority.accepts_stale_lists {
            builder = builder.enforce_revocation_expiration();
        }
        let callers = authority.callers.into_iter().map(|rule| {
            let client = at.id(&rule.client_id, "callers.client_id")?;
            Ok((rule.kind(), Box::from(&*rule.name), client))
        });
        Ok(Self {
            id: at.id(&authority.id, "id")?,
            verifier: builder.build().map_err(|_| at.fault("crl_der"))?,
            callers: callers.collect::<Result<_, DecodeError>>()?,
        })
    }
}

pub(super) fn authorities(
    authorities: Vec<(String, v1::ClientAuthority)>,
) -> Result<Map<ClientAuthorityId, Arc<ClientAuthorityIndex>>, DecodeError> {
    let mut out = Map::default();
    for (resource, authority) in authorities {
        let index = ClientAuthorityIndex::new(&At(&resource), authority)?;
        out.insert(index.id, Arc::new(index));
    }
    Ok(out)
}

impl fmt::Debug for ClientAuthorityIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthorityIndex").field("id", &self.id).finish_non_exhaustive()
    }
}
