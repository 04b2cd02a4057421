//! What a trusted issuer may be: refused here, before anything is stored.

use std::net::IpAddr;

use url::{Host, Url};

use super::types::{TrustedIssuerSettings, TrustedPurpose};
use crate::{
    fetch::is_plain,
    http::problem::{ApiError, FieldError},
};

const MAX_ISSUER: usize = 1_024;
const MAX_URL: usize = 2_048;
const MAX_RULES: usize = 100;
const MAX_CLAIMS: usize = 8;
const MAX_TEXT: usize = 1_024;
const MAX_DOMAINS: usize = 64;

/// Refuses settings that cannot be, naming every place. `rules`: what the tenant may reach.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn check(settings: &TrustedIssuerSettings, rules: &egress::Rules) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError { pointer, message: message.to_owned() });
    };
    if !is_https(&settings.issuer, MAX_ISSUER) {
        wrong("/issuer".into(), "must be an https URL, without user name and fragment");
    }
    match (&settings.jwks_uri, &settings.jwks) {
        (Some(uri), None) if !is_https(uri, MAX_URL) || !reachable(uri, rules) => {
            wrong("/jwks_uri".into(), "must be an https URL at an address that the tenant may reach");
        }
        (None, Some(set)) => {
            if let Err((place, error)) = set.read() {
                wrong(format!("/jwks/keys/{place}"), &error.to_string());
            }
        }
        (Some(_), None) => {}
        _ => wrong("/jwks_uri".into(), "either this or `jwks`"),
    }
    let algorithms = &settings.algorithms;
    let twice = algorithms.iter().enumerate().any(|(n, one)| algorithms[..n].contains(one));
    if algorithms.is_empty() || twice {
        wrong("/algorithms".into(), "must be one or more, each once");
    }
    if settings.audience.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_TEXT) {
        wrong("/audience".into(), "must be 1 to 1024 bytes");
    }
    if !(60..=86_400).contains(&settings.max_lifetime_seconds) {
        wrong("/max_lifetime_seconds".into(), "must be 60 to 86400");
    }
    let workload = settings.purpose == TrustedPurpose::Workload;
    if !workload && (!settings.single_use || settings.audience.is_some()) {
        wrong("/purpose".into(), "an identity assertion is good once, and for the tenant's issuer");
    }
    if settings.rules.len() > MAX_RULES || (!workload && !settings.rules.is_empty()) {
        wrong("/rules".into(), "must be at most 100, and are for workloads alone");
    }
    for (place, rule) in settings.rules.iter().enumerate() {
        let beginning = rule.subject.trim_end_matches('*');
        // `*` alone would be whoever that issuer knows, and it may know everybody.
        if rule.subject.len() > MAX_TEXT || beginning.is_empty() || beginning.contains('*') {
            wrong(format!("/rules/{place}/subject"), "must be 1 to 1024 bytes, with `*` at most at its end");
        }
        let fits = |text: &str| (1..=MAX_TEXT).contains(&text.len());
        if rule.claims.len() > MAX_CLAIMS
            || !rule.claims.iter().all(|(name, value)| fits(name) && fits(value))
        {
            wrong(format!("/rules/{place}/claims"), "must be at most 8, each of 1 to 1024 bytes");
        }
    }
    let domains = &settings.email_domains;
    let domain =
        |name: &String| matches!(Host::parse(name), Ok(Host::Domain(canonical)) if canonical == *name);
    if domains.len() > MAX_DOMAINS || !domains.iter().all(domain) || (workload && !domains.is_empty()) {
        wrong(
            "/email_domains".into(),
            "must be at most 64 host names in lower case, and are for identity assertions alone",
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

fn is_https(text: &str, most: usize) -> bool {
    text.len() <= most && Url::parse(text).is_ok_and(|url| is_plain(&url))
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
