//! External issuers and authorities of callers' certificates, as proxies know them. A rule about a client that is gone stays, and whoever it
//! fits is nobody: without it they would be whom a later rule names. Roles that are gone give nothing, and are left out.

use std::collections::HashSet;

use crypto::jwt::Algorithm;
use wire::v1::{self, Resource, resource::Body};

use super::{encode::raw, queries::certificates, rows::TenantRows};
use crate::resources::{
    client_authorities::{
        self,
        types::{ClientAuthority, StaleLists},
    },
    external_issuers::types::{ExternalIssuer, TokenType},
};

/// `None`: its certificates are none, which no row that was admitted has.
pub(super) fn encode(issuer: &ExternalIssuer, rows: &TenantRows) -> Option<Resource> {
    let settings = &issuer.settings;
    let fact = |claim: &str, value: &str| v1::ClaimFact { claim: claim.to_owned(), value: value.to_owned() };
    let algorithm = |algorithm| match Algorithm::from(algorithm) {
        Algorithm::Rs256 => v1::SignatureAlgorithm::Rs256,
        Algorithm::Es256 => v1::SignatureAlgorithm::Es256,
        Algorithm::EdDsa => v1::SignatureAlgorithm::Eddsa,
    };
    let kind = |kind: &TokenType| match kind {
        TokenType::AtJwt => v1::TokenType::AtJwt,
        TokenType::Jwt => v1::TokenType::Jwt,
    };
    let roles: HashSet<_> = rows.roles.iter().copied().collect();
    let callers = settings.callers.iter().map(|rule| v1::CallerRule {
        claims: rule.claims.iter().map(|(claim, value)| fact(claim, value)).collect(),
        client_id: raw(rule.client_id),
    });
    let entitlements = settings.entitlements.iter().map(|rule| {
        let roles = rule.roles.iter().filter(|role| roles.contains(role));
        v1::Entitlement {
            claim: Some(fact(&rule.claim, &rule.value)),
            role_ids: sorted(roles.map(|role| raw(*role))),
            scopes: sorted(rule.scopes.iter().map(ToString::to_string)),
        }
    });
    let body = v1::ExternalIssuer {
        id: raw(issuer.id),
        issuer: settings.issuer.clone(),
        jwks_uri: settings.jwks_uri.clone(),
        ca_der: settings.ca_pem.as_deref().map(certificates).transpose().ok()?.unwrap_or_default(),
        algorithms: sorted(settings.algorithms.iter().map(|own| algorithm(*own) as i32)),
        token_types: sorted(settings.token_types.iter().map(|own| kind(own) as i32)),
        audiences: sorted(settings.audiences.iter().cloned()),
        required_claims: settings.required_claims.iter().map(|text| fact(&text.claim, &text.value)).collect(),
        leeway_seconds: settings.leeway_seconds,
        max_lifetime_seconds: settings.max_lifetime_seconds,
        callers: callers.collect(),
        entitlements: entitlements.collect(),
        gateway: rows.gateway.clone(),
    };
    Some(Resource { id: issuer.id.to_string(), body: Some(Body::ExternalIssuer(body)) })
}

/// `None`: its certificates or lists are none, which no row that was admitted has; then endpoints do without it.
pub(super) fn authority(authority: &ClientAuthority) -> Option<Resource> {
    let settings = &authority.settings;
    let callers = settings.callers.iter().map(|rule| {
        let (kind, name) = match (&rule.uri, &rule.dns) {
            (Some(uri), _) => (v1::SubjectNameKind::Uri, uri),
            (None, dns) => (v1::SubjectNameKind::Dns, dns.as_ref()?),
        };
        Some(v1::SubjectRule { kind: kind.into(), name: name.clone(), client_id: raw(rule.client_id) })
    });
    let body = v1::ClientAuthority {
        id: raw(authority.id),
        ca_der: client_authorities::certificates(&settings.ca_pem)?,
        crl_der: settings.crl_pem.as_deref().map_or(Some(Vec::new()), client_authorities::lists)?,
        accepts_stale_lists: settings.stale_lists == StaleLists::Accept,
        callers: callers.collect::<Option<_>>()?,
    };
    Some(Resource { id: authority.id.to_string(), body: Some(Body::ClientAuthority(body)) })
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = items.collect();
    all.sort_unstable();
    all.dedup();
    all
}
