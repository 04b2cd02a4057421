//! What a sign-in provider may be: refused here, before anything is stored.

use crypto::ExposeSecret as _;
use url::{Host, Url};

use super::types::SignInProviderSettings;
use crate::{
    fetch::is_plain,
    http::problem::{ApiError, FieldError},
};

const MAX_ISSUER: usize = 1_024;
const MAX_CLIENT: usize = 256;
const MAX_SECRET: usize = 1_024;
const MAX_DOMAINS: usize = 64;
const MAX_RULES: usize = 100;
const MAX_ROLES: usize = 16;

/// Refuses settings that cannot be, naming every place.
///
/// # Errors
/// [`ApiError::Invalid`].
pub(super) fn check(settings: &SignInProviderSettings) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError { pointer, message: message.to_owned() });
    };
    let issuer = &settings.issuer;
    let is_issuer = Url::parse(issuer).is_ok_and(|url| is_plain(&url) && url.query().is_none());
    if issuer.len() > MAX_ISSUER || !is_issuer {
        wrong("/issuer".into(), "must be an https URL, without user name, query and fragment");
    }
    let visible =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
    if !visible(&settings.client_id, MAX_CLIENT) {
        wrong("/client_id".into(), "must be 1 to 256 visible ASCII characters");
    }
    if settings.client_secret.as_ref().is_some_and(|secret| !visible(secret.expose_secret(), MAX_SECRET)) {
        wrong("/client_secret".into(), "must be 1 to 1024 visible ASCII characters");
    }
    let domain =
        |name: &String| matches!(Host::parse(name), Ok(Host::Domain(canonical)) if canonical == *name);
    let domains = &settings.email_domains;
    if !(1..=MAX_DOMAINS).contains(&domains.len()) || !domains.iter().all(domain) {
        wrong("/email_domains".into(), "must be 1 to 64 host names in lower case");
    }
    if settings.groups_claim.as_ref().is_some_and(|claim| !visible(claim, 128)) {
        wrong("/groups_claim".into(), "must be 1 to 128 visible ASCII characters");
    }
    if settings.rules.len() > MAX_RULES || (settings.groups_claim.is_none() && !settings.rules.is_empty()) {
        wrong("/rules".into(), "must be at most 100, and need `groups_claim`");
    }
    for (place, rule) in settings.rules.iter().enumerate() {
        if !(1..=256).contains(&rule.group.len()) || rule.role_ids.len() > MAX_ROLES {
            wrong(format!("/rules/{place}"), "must name a group of 1 to 256 bytes and at most 16 roles");
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}
