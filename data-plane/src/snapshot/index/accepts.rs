//! Kinds of credentials.

use wire::v1::{CredentialKind, Endpoint};

/// By what callers of an endpoint may show who they are. What is not said is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// By an API key.
    pub api_keys: bool,
    /// By an access token of the tenant's own issuer.
    pub access_tokens: bool,
    /// By a token of an issuer of others.
    pub external_tokens: bool,
    /// By a certificate.
    pub client_certificates: bool,
    /// By an API key as a password.
    pub basic: bool,
}

impl Accepts {
    /// As the endpoint says; nothing said is keys and access tokens, and nothing else.
    pub(in crate::snapshot) fn of(endpoint: &Endpoint) -> Self {
        let has = |kind| endpoint.accepts().any(|each| each == kind);
        let usual = endpoint.accepts.is_empty();
        Self {
            api_keys: usual || has(CredentialKind::ApiKey),
            access_tokens: usual || has(CredentialKind::AccessToken),
            external_tokens: has(CredentialKind::ExternalToken),
            client_certificates: has(CredentialKind::ClientCertificate),
            basic: has(CredentialKind::Basic),
        }
    }

    /// Whether any of it is shown as a bearer token.
    #[must_use]
    pub const fn bearer(&self) -> bool {
        self.api_keys || self.access_tokens || self.external_tokens
    }
}
