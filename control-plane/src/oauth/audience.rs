//! For which endpoint a token is (RFC 8707): one that the client may use, by one of the names under which it is served.

use ids::ClientId;
use wire::identifier::{Domain, endpoint_of};

use super::{error::OAuthError, issuer::Issuer, queries};
use crate::{app::Core, db::TenantTx};

/// Characters of a resource identifier.
const MAX_RESOURCE: usize = 2_048;

/// The token's audience: `resource` as it is spelt, or where the client may use one endpoint alone, that one's own URL.
pub(super) async fn choose(
    tx: &mut TenantTx,
    core: &Core,
    issuer: &Issuer,
    client: ClientId,
    resource: Option<&str>,
) -> Result<String, OAuthError> {
    let gateway = core.config.urls.gateway.as_str().trim_end_matches('/');
    let endpoints = queries::endpoints_of_client(tx, client).await?;
    let Some(resource) = resource else {
        return match endpoints.as_slice() {
            [only] => Ok(format!("{gateway}/{}/{only}/mcp", issuer.slug)),
            _ => Err(OAuthError::Target("name the endpoint with `resource`")),
        };
    };
    let domains = queries::proven_domains(tx).await?;
    let domain = |name: &str| {
        let (_, endpoint) = domains.iter().find(|(own, _)| own == name)?;
        Some(endpoint.as_deref().map_or(Domain::All, Domain::One))
    };
    let short = Some(resource).filter(|resource| resource.len() <= MAX_RESOURCE);
    let named = short.and_then(|resource| endpoint_of(resource, gateway, &issuer.slug, domain));
    match named.filter(|slug| endpoints.iter().any(|own| own == slug)) {
        Some(_) => Ok(resource.to_owned()),
        None => Err(OAuthError::Target("not an endpoint that the client may use")),
    }
}
