//! Who says who callers are: external issuers, and authorities of their certificates.

use ids::Scope;

use super::{Check, is_http, is_origin, known_enum, need, relations, sorted};
use crate::{
    snapshot::bounds::{
        MAX_CERTIFICATE, MAX_CERTIFICATES, MAX_CLAIM_RULES, MAX_CLAIM_TEXT, MAX_CRL_BYTES, MAX_CRLS, MAX_FEW,
        MAX_LEEWAY_SECONDS, MAX_TOKEN_LIFE_SECONDS,
    },
    v1::{self, SignatureAlgorithm, SubjectNameKind, TokenType},
};

pub(super) fn check(issuer: &v1::ExternalIssuer) -> Check {
    let https = |url: &str| is_http(url) && url.starts_with("https://");
    need(https(&issuer.issuer) && https(&issuer.jwks_uri), "a URL is malformed")?;
    // It stands in challenges and metadata.
    need(!issuer.issuer.contains(['"', '\\']), "a URL is malformed")?;
    need(is_http(&issuer.gateway) && is_origin(&issuer.gateway), "the gateway is more than an origin")?;
    need(issuer.ca_der.len() <= MAX_CERTIFICATES, "has too many certificates")?;
    let fits = issuer.ca_der.iter().all(|der| (1..=MAX_CERTIFICATE).contains(&der.len()));
    need(fits, "a certificate's size is out of bounds")?;
    for algorithm in &issuer.algorithms {
        known_enum(SignatureAlgorithm::try_from(*algorithm).ok(), SignatureAlgorithm::Unspecified)?;
    }
    for kind in &issuer.token_types {
        known_enum(TokenType::try_from(*kind).ok(), TokenType::Unspecified)?;
    }
    need(!issuer.algorithms.is_empty() && !issuer.token_types.is_empty(), "nothing of it could be taken")?;
    need(
        sorted(issuer.algorithms.iter()) && sorted(issuer.token_types.iter()),
        "algorithms or types are out of order or repeat",
    )?;
    need(
        issuer.audiences.len() <= MAX_FEW && sorted(issuer.audiences.iter()),
        "audiences are out of order or too many",
    )?;
    need(issuer.audiences.iter().all(|text| is_text(text)), "an audience is malformed")?;
    need(issuer.required_claims.len() <= MAX_FEW, "has too many claims")?;
    need(issuer.required_claims.iter().all(is_fact), "a claim is malformed")?;
    need(issuer.leeway_seconds <= MAX_LEEWAY_SECONDS, "the leeway is out of bounds")?;
    need((1..=MAX_TOKEN_LIFE_SECONDS).contains(&issuer.max_lifetime_seconds), "a lifetime is out of bounds")?;
    let (callers, entitlements) = (&issuer.callers, &issuer.entitlements);
    need(callers.len() <= MAX_CLAIM_RULES && entitlements.len() <= MAX_CLAIM_RULES, "has too many rules")?;
    for rule in callers {
        // Without any it would be everybody.
        need((1..=MAX_FEW).contains(&rule.claims.len()), "a rule has no claims, or too many")?;
        need(rule.claims.iter().all(is_fact), "a claim is malformed")?;
        // Of a client that is gone: nobody.
        need(rule.client_id.len() == 16, "a client's id is not 16 bytes")?;
    }
    for rule in entitlements {
        need(rule.claim.as_ref().is_some_and(is_fact), "a claim is malformed")?;
        relations(&rule.role_ids)?;
        need(rule.role_ids.len() <= MAX_FEW && rule.scopes.len() <= MAX_FEW, "a rule gives too much")?;
        need(sorted(rule.role_ids.iter()) && sorted(rule.scopes.iter()), "roles or scopes are out of order")?;
        need(rule.scopes.iter().all(|scope| scope.parse::<Scope>().is_ok()), "a scope is malformed")?;
    }
    Ok(())
}

pub(super) fn check_authority(authority: &v1::ClientAuthority) -> Check {
    need((1..=MAX_CERTIFICATES).contains(&authority.ca_der.len()), "has no certificates, or too many")?;
    let fits = authority.ca_der.iter().all(|der| (1..=MAX_CERTIFICATE).contains(&der.len()));
    need(fits, "a certificate's size is out of bounds")?;
    need(authority.crl_der.len() <= MAX_CRLS, "has too many lists")?;
    let lists: usize = authority.crl_der.iter().map(Vec::len).sum();
    need(
        lists <= MAX_CRL_BYTES && authority.crl_der.iter().all(|der| !der.is_empty()),
        "its lists are too large",
    )?;
    need(authority.callers.len() <= MAX_CLAIM_RULES, "has too many rules")?;
    for rule in &authority.callers {
        known_enum(SubjectNameKind::try_from(rule.kind).ok(), SubjectNameKind::Unspecified)?;
        need(is_text(&rule.name), "a name is malformed")?;
        // Of a client that is gone: nobody.
        need(rule.client_id.len() == 16, "a client's id is not 16 bytes")?;
    }
    Ok(())
}

fn is_text(text: &str) -> bool {
    (1..=MAX_CLAIM_TEXT).contains(&text.len())
}

fn is_fact(fact: &v1::ClaimFact) -> bool {
    is_text(&fact.claim) && is_text(&fact.value)
}
