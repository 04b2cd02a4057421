//! What an endpoint is as a protected resource (RFC 9728): how it is called, where that is said, and what is said.

use bytes::Bytes;
use crypto::jwt::Algorithm;
use ids::{Scope, Scopes};
use serde::Serialize;

use crate::{
    checks::{EndpointEvidence, Exchange, METADATA, Scheme},
    snapshot::index::Accepts,
};

/// How long whoever reads the metadata may keep it, and nobody between: who may knock and from where is asked each time. It changes with the endpoint's domains and kinds of credentials.
pub(crate) const KEPT: &str = "private, max-age=300";

#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    authorization_servers: Vec<&'a str>,
    bearer_methods_supported: [&'static str; 1],
    /// The baseline: what callers are told to ask for at first. What else there is they learn where a call takes it, so that nobody asks
    /// for everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a Scope>,
    dpop_signing_alg_values_supported: [&'static str; 3],
}

/// How whoever is not let in could be.
#[derive(Debug)]
pub(crate) struct Pointer {
    /// By what callers may show who they are.
    pub(crate) accepts: Accepts,
    /// URL of the endpoint's metadata; `None` where no token is accepted.
    pub(crate) metadata: Option<String>,
    /// Scopes to ask for at first.
    pub(crate) baseline: Scopes,
    /// By which scheme whoever asks shows a token.
    pub(crate) scheme: Scheme,
}

/// The endpoint's metadata, under the name by which it was asked for (RFC 9728 section 3.2); `None` where no access token is accepted.
pub(crate) fn metadata(exchange: &Exchange, place: &EndpointEvidence) -> Option<Bytes> {
    let (tenant, endpoint) = (place.tenant(), place.endpoint());
    let own = tenant.issuer.as_ref().filter(|_| endpoint.accepts.access_tokens);
    let external = endpoint.external.iter().filter(|id| endpoint.trusts(**id));
    let external = external.filter_map(|id| tenant.external.get(id)).map(|issuer| &*issuer.url);
    let metadata = Metadata {
        resource: &identifier(exchange, place)?,
        authorization_servers: own.iter().map(|own| &*own.url).chain(external).collect(),
        bearer_methods_supported: ["header"],
        scopes_supported: own.iter().flat_map(|own| own.baseline.iter()).collect(),
        dpop_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::name),
    };
    serde_json::to_vec(&metadata).ok().map(Bytes::from)
}

/// What is accepted, where the metadata is, and what to ask for.
pub(crate) fn pointer(exchange: &Exchange, place: &EndpointEvidence) -> Pointer {
    let accepts = place.endpoint().accepts;
    let tenant = place.tenant();
    let issuer = tenant.issuer.as_ref().filter(|_| accepts.access_tokens);
    Pointer {
        accepts,
        metadata: metadata_url(exchange, place).filter(|_| tenant.issues_tokens_for(place.endpoint())),
        baseline: issuer.map(|issuer| issuer.baseline.clone()).unwrap_or_default(),
        scheme: Scheme::of_tokens(exchange.headers()),
    }
}

fn metadata_url(exchange: &Exchange, place: &EndpointEvidence) -> Option<String> {
    let mut identifier = identifier(exchange, place)?;
    let scheme = identifier.find("://")? + 3;
    let path = scheme + identifier.get(scheme..)?.find('/')?;
    identifier.insert_str(path, METADATA);
    Some(identifier)
}

/// The URIs by which a proof of possession may name the endpoint: the one at which the caller reaches it, and its identifier, where a
/// balancer in front has changed the host.
pub(crate) fn uris(exchange: &Exchange, place: &EndpointEvidence) -> Vec<String> {
    let scheme = place.tenant().gateway.as_ref().and_then(|gateway| gateway.split_once("://"));
    let asked = scheme
        .zip(exchange.host().ok())
        .map(|((scheme, _), host)| format!("{scheme}://{host}{}", exchange.head().uri.path()));
    asked.into_iter().chain(identifier(exchange, place)).collect()
}

/// The resource identifier by which the caller reaches the endpoint. Where it does so under a name that is none, such as one of this
/// machine alone, it is the endpoint's first: tokens are for that.
fn identifier(exchange: &Exchange, place: &EndpointEvidence) -> Option<String> {
    let (tenant, endpoint) = (place.tenant(), place.endpoint());
    let gateway = &**tenant.gateway.as_ref()?;
    let scheme = gateway.split_once("://")?.0;
    let host = exchange.host().ok()?.to_ascii_lowercase();
    let path = exchange.head().uri.path();
    let asked = format!("{scheme}://{host}{}", path.strip_prefix(METADATA).unwrap_or(path));
    let is_one = tenant.named_by(&asked) == Some(&*endpoint.slug);
    Some(if is_one { asked } else { format!("{gateway}/{}/{}/mcp", tenant.slug, endpoint.slug) })
}
