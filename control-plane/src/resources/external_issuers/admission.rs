//! What an external issuer may be: refused here, before anything is stored.

use std::net::IpAddr;

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use url::{Host, Url};

use super::types::ExternalIssuerSettings;
use crate::{
    fetch::is_plain,
    http::problem::{ApiError, FieldError},
};

const MAX_ISSUER: usize = 1_024;
const MAX_URL: usize = 2_048;
const MAX_RULES: usize = 1_000;
const MAX_FEW: usize = 16;
const MAX_CLAIMS: usize = 8;
const MAX_TEXT: usize = 1_024;
const MAX_PEM: usize = 65_536;
const MAX_CERTIFICATES: usize = 32;

/// Refuses settings that cannot be, naming every place. `rules`: what the tenant may reach.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn check(settings: &ExternalIssuerSettings, rules: &egress::Rules) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError { pointer, message: message.to_owned() });
    };
    let fits = |text: &str| (1..=MAX_TEXT).contains(&text.len());
    if !is_https(&settings.issuer, MAX_ISSUER) {
        wrong("/issuer".into(), "must be an https URL, without user name and fragment");
    }
    if !is_https(&settings.jwks_uri, MAX_URL) || !reachable(&settings.jwks_uri, rules) {
        wrong("/jwks_uri".into(), "must be an https URL at an address that the tenant may reach");
    }
    if settings.ca_pem.as_ref().is_some_and(|pem| !are_certificates(pem)) {
        wrong("/ca_pem".into(), "must be 1 to 32 certificates that can be roots, PEM, at most 65536 bytes");
    }
    if !few_and_distinct(&settings.algorithms) {
        wrong("/algorithms".into(), "must be one or more, each once");
    }
    if !few_and_distinct(&settings.token_types) {
        wrong("/token_types".into(), "must be one or more, each once");
    }
    let audiences = &settings.audiences;
    let many = audiences.len() > MAX_FEW || !audiences.iter().all(|audience| fits(audience));
    if many || (!audiences.is_empty() && !few_and_distinct(audiences)) {
        wrong("/audiences".into(), "must be at most 16, each of 1 to 1024 bytes and once");
    }
    let required = &settings.required_claims;
    if required.len() > MAX_FEW || !required.iter().all(|text| fits(&text.claim) && fits(&text.value)) {
        wrong("/required_claims".into(), "must be at most 16, each of 1 to 1024 bytes");
    }
    if settings.leeway_seconds > 300 {
        wrong("/leeway_seconds".into(), "must be 0 to 300");
    }
    if !(60..=86_400).contains(&settings.max_lifetime_seconds) {
        wrong("/max_lifetime_seconds".into(), "must be 60 to 86400");
    }
    if settings.callers.len() > MAX_RULES {
        wrong("/callers".into(), "must be at most 1000");
    }
    for (place, rule) in settings.callers.iter().enumerate() {
        let texts = rule.claims.iter().all(|(claim, value)| fits(claim) && fits(value));
        // Without any it would be whoever that issuer knows, and it may know everybody.
        if !(1..=MAX_CLAIMS).contains(&rule.claims.len()) || !texts {
            wrong(format!("/callers/{place}/claims"), "must be 1 to 8, each of 1 to 1024 bytes");
        }
    }
    if settings.entitlements.len() > MAX_RULES {
        wrong("/entitlements".into(), "must be at most 1000");
    }
    for (place, rule) in settings.entitlements.iter().enumerate() {
        let (roles, scopes) = (rule.roles.len(), rule.scopes.len());
        let nothing = roles == 0 && scopes == 0;
        if nothing || roles > MAX_FEW || scopes > MAX_FEW || !fits(&rule.claim) || !fits(&rule.value) {
            let message = "must have a claim and value of 1 to 1024 bytes, and give 1 to 16 roles or scopes";
            wrong(format!("/entitlements/{place}"), message);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

fn few_and_distinct<T: PartialEq>(list: &[T]) -> bool {
    let twice = list.iter().enumerate().any(|(place, one)| list[..place].contains(one));
    !list.is_empty() && !twice
}

fn is_https(text: &str, most: usize) -> bool {
    text.len() <= most && Url::parse(text).is_ok_and(|url| is_plain(&url))
}

fn are_certificates(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let mut each = CertificateDer::pem_slice_iter(pem.as_bytes());
    let all = each.all(|der| der.is_ok_and(|der| roots.add(der).is_ok()));
    pem.len() <= MAX_PEM && all && (1..=MAX_CERTIFICATES).contains(&roots.len())
}

/// Where a name leads is checked when it is fetched; an address is checked here too.
fn reachable(text: &str, rules: &egress::Rules) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(v4)) => v4.into(),
        Some(Host::Ipv6(v6)) => v6.into(),
        Some(Host::Domain(_)) => return true,
        None => return false,
    };
    rules.check(address, url.port_or_known_default().unwrap_or_default()).is_ok()
}
