//! `/v1/tenants/{tenant}/domains/{domain}/certificate`.

use crypto::{Aad, ExposeSecret as _};
use ids::{DomainId, TenantId};
use listen::certificate::{self, Certificate, CertificateError};
use rustls::pki_types::PrivateKeyDer;
use wire::snapshot::{MAX_CERTIFICATE, MAX_CHAIN, MAX_CHAIN_BYTES};

use super::{
    queries::{self, SealedCertificate},
    types::{Domain, DomainCertificateNew},
};
use crate::{data_keys, db::TenantTx, http::prelude::*, publish::commit::commit};

/// Gives a domain its certificate, or another one in its place: shown by every proxy to whoever asks for the domain's name, as
/// soon as the domain is proven. Its key is sealed and never shown.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/domains/{domain}/certificate", operation_id = "replace_domain_certificate",
    tag = "domains", params(TenantPath, ("domain" = String, Path, description = "Id (`dom_…`)"), Wait),
    request_body = DomainCertificateNew, responses((status = 200, description = "Stored", body = Domain), Problems),
    security(("token" = ["domains:write"])))]
pub async fn replace(
    caller: InTenant<DomainsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<DomainId>,
    Query(wait): Query<Wait>,
    Json(new): Json<DomainCertificateNew>,
) -> Result<Response, ApiError> {
    let gateway = &core.config.urls.gateway;
    let now = core.clock.now();
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, gateway, id).await?;
    let (certificate, key) = admit(&new, &present.name, now.to_offset().unix_timestamp())?;
    let sealed = seal(&mut tx, &core, caller.tenant, id, certificate, &key).await?;
    queries::replace_certificate(&mut tx, id, &sealed, now.to_offset()).await?;
    let domain = queries::get(&mut tx, gateway, id).await?;
    let published = commit(tx, &core, &caller.act("replace_domain_certificate", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::resource(&domain)?).await
}

/// Takes a domain's certificate away. Callers of the domain are shown the gateway's own, where that is for the domain's name.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/domains/{domain}/certificate", operation_id = "delete_domain_certificate",
    tag = "domains", params(TenantPath, IfMatch, ("domain" = String, Path, description = "Id (`dom_…`)"), Wait),
    responses((status = 204, description = "Deleted"), Problems), security(("token" = ["domains:write"])))]
pub async fn delete(
    caller: InTenant<DomainsWrite>,
    State(core): State<Core>,
    OfPath(id): OfPath<DomainId>,
    if_match: IfMatch,
    Query(wait): Query<Wait>,
) -> Result<Response, ApiError> {
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let present = queries::lock(&mut tx, &core.config.urls.gateway, id).await?;
    if_match.check(&present)?;
    if present.certificate.is_none() {
        return Err(ApiError::NotFound);
    }
    queries::delete_certificate(&mut tx, id).await?;
    let published = commit(tx, &core, &caller.act("delete_domain_certificate", id)).await?;
    Written::new(caller.tenant, published).answer(&core, &wait, Reply::nothing()).await
}

/// What nobody would accept is not taken: otherwise callers would be the first to notice.
fn admit(
    new: &DomainCertificateNew,
    name: &str,
    now: i64,
) -> Result<(Certificate, PrivateKeyDer<'static>), ApiError> {
    let chain = certificate::chain_from_pem(new.chain.as_bytes())
        .map_err(|_| ApiError::invalid("/chain", "must be certificates in PEM, the domain's own first"))?;
    let bytes: usize = chain.iter().map(|der| der.len()).sum();
    if chain.len() > MAX_CHAIN
        || bytes > MAX_CHAIN_BYTES
        || chain.iter().any(|der| der.len() > MAX_CERTIFICATE)
    {
        return Err(ApiError::invalid(
            "/chain",
            "has more than 10 certificates, one of more than 16 KiB, or more than 32 KiB in all",
        ));
    }
    let key = certificate::key_from_pem(new.key.expose_secret().as_bytes())
        .map_err(|_| ApiError::invalid("/key", "must be a private key in PEM"))?;
    let certificate = Certificate::new(chain, key.clone_key()).map_err(|error| match error {
        CertificateError::Unusable(_) => ApiError::invalid(
            "/key",
            "is not that of the chain's first certificate, or of a kind that is not supported",
        ),
        _ => ApiError::invalid("/chain", "has a first certificate that cannot be read or names no host"),
    })?;
    if !certificate.is_quick() {
        return Err(ApiError::invalid(
            "/key",
            "is an RSA key of more than 4096 bits: P-256 is stronger than needed",
        ));
    }
    if !certificate.covers(name) {
        return Err(ApiError::invalid("/chain", "has a first certificate that is not for the domain's name"));
    }
    if !certificate.is_valid_at(now) {
        return Err(ApiError::invalid(
            "/chain",
            "has a first certificate that has expired or is not valid yet",
        ));
    }
    Ok((certificate, key))
}

async fn seal(
    tx: &mut TenantTx,
    core: &Core,
    tenant: TenantId,
    id: DomainId,
    certificate: Certificate,
    key: &PrivateKeyDer<'_>,
) -> Result<SealedCertificate, ApiError> {
    let data_key = data_keys::current(tx, core).await?;
    let row = id.uuid();
    let aad = Aad { tenant, table: "domain_certificates", column: "sealed", row: row.as_bytes() };
    let sealed =
        data_key.sealer().seal(&aad, key.secret_der(), &*core.entropy).map_err(ApiError::internal)?;
    Ok(SealedCertificate { data_key_id: data_key.id, sealed, certificate })
}
