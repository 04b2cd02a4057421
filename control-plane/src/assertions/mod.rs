//! What proxies assert to upstreams: under which name, and with which keys.

pub mod keys;
mod queries;
pub mod schedule;

use url::Url;

use crate::oauth::issuer;

/// `iss` of a tenant's assertions: beside its issuer of access tokens, and never the same.
#[must_use]
pub fn issuer(auth: &Url, slug: &str) -> String {
    format!("{}/assertions", issuer::url(auth, slug))
}

/// Where their keys are.
#[must_use]
pub fn key_set(auth: &Url, slug: &str) -> String {
    format!("{}/jwks.json", issuer(auth, slug))
}
