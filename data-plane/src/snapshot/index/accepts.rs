//! Kinds of credentials.

use wire::v1::{CredentialKind, Endpoint};

/// By what callers of an endpoint may show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// By an API key.
    pub api_keys: bool,
    /// By an access token of the tenant's own issuer.
    pub access_tokens: bool,
}

impl Accepts {
    /// As the endpoint says; nothing said is both.
    pub(in crate::snapshot) fn of(endpoint: &Endpoint) -> Self {
        let has = |kind| endpoint.accepts.is_empty() || endpoint.accepts().any(|each| each == kind);
        Self { api_keys: has(CredentialKind::ApiKey), access_tokens: has(CredentialKind::AccessToken) }
    }
}
