//! Domains, with their certificates opened.

use std::sync::Arc;

use crypto::digest::sha256;
use ids::{DomainId, EndpointId, TenantId};
use listen::certificate::Certificate;
use prost::Message as _;
use wire::v1;

use super::{
    super::{
        decode::DecodeError,
        index::{DomainCertificate, DomainIndex, EndpointIndex, Map, TenantIndex, TenantKeys},
    },
    At,
};

/// By name.
pub(super) fn domains(
    tenant: TenantId,
    domains: Vec<(String, v1::Domain)>,
    endpoints: &Map<Box<str>, Arc<EndpointIndex>>,
    keys: &TenantKeys,
    previous: Option<&TenantIndex>,
) -> Result<Map<Box<str>, DomainIndex>, DecodeError> {
    let mut out = Map::default();
    for (resource, domain) in domains {
        let at = At(&resource);
        let endpoint = if domain.endpoint_id.is_empty() {
            None
        } else {
            let id: EndpointId = at.id(&domain.endpoint_id, "endpoint_id")?;
            let found = endpoints.values().find(|endpoint| endpoint.id == id);
            Some(found.ok_or_else(|| at.fault("endpoint_id"))?.slug.clone())
        };
        let id = at.id(&domain.id, "id")?;
        let former = previous.and_then(|index| index.domains.get(domain.name.as_str()));
        let former = former.and_then(|domain| domain.certificate.as_ref());
        let certificate =
            domain.certificate.as_ref().and_then(|certificate| open(tenant, id, certificate, keys, former));
        out.insert(domain.name.into(), DomainIndex { endpoint, certificate });
    }
    Ok(out)
}

/// One that cannot be used is as none: what else the revision says has to be enforced all the same.
fn open(
    tenant: TenantId,
    domain: DomainId,
    sealed: &v1::DomainCertificate,
    keys: &TenantKeys,
    former: Option<&DomainCertificate>,
) -> Option<DomainCertificate> {
    let source = sha256(&sealed.encode_to_vec());
    if let Some(former) = former.filter(|former| former.source == source) {
        return Some(former.clone());
    }
    let failed = |cause: &dyn std::fmt::Display| {
        tracing::error!(portcullis.tenant.id = %tenant, portcullis.domain.id = %domain, error.cause = %cause,
            "a domain's certificate cannot be used; its callers are shown the gateway's own");
    };
    let key = keys.open_certificate_key(tenant, domain, sealed).inspect_err(|error| failed(error)).ok()?;
    let chain = sealed.chain.iter().cloned().map(Into::into).collect();
    let certificate = Certificate::new(chain, key).inspect_err(|error| failed(error)).ok()?;
    if !certificate.is_quick() {
        failed(&"its RSA key has more than 4096 bits");
        return None;
    }
    Some(DomainCertificate { source, shown: Arc::clone(certificate.key()) })
}
