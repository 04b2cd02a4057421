//! How whoever is not let in could be.

use crypto::jwt::Algorithm;
use http::HeaderValue;

use super::Refusal;
use crate::{checks::Scheme, resource::Pointer};

/// RFC 7617; without `charset`, which says something of passwords that ours do not need.
const BASIC: &str = r#"Basic realm="portcullis""#;

/// HTTP has no scheme for them, and a 401 has to name one (RFC 9110 section 15.5.2).
const CERTIFICATE: &str = r#"TLS-Client-Certificate realm="portcullis""#;

impl Refusal {
    /// How to be let in: a challenge for each way that the endpoint accepts, and for no other. The first is the one that official clients
    /// read.
    pub(super) fn challenges(&self, pointer: Option<&Pointer>) -> Vec<HeaderValue> {
        let bearer = pointer.is_none_or(|pointer| pointer.accepts.bearer());
        let basic = pointer.is_some_and(|pointer| pointer.accepts.basic) && self.is_unknown_caller();
        let certificates = pointer.is_some_and(|pointer| pointer.accepts.client_certificates);
        let mut challenges: Vec<_> = self.challenge(pointer).filter(|_| bearer).into_iter().collect();
        challenges.extend(basic.then(|| HeaderValue::from_static(BASIC)));
        challenges.extend(
            (certificates && self.is_unknown_caller()).then(|| HeaderValue::from_static(CERTIFICATE)),
        );
        challenges
    }

    /// Whether it is about who calls.
    const fn is_unknown_caller(&self) -> bool {
        matches!(
            self,
            Self::CredentialMissing
                | Self::CredentialInvalid
                | Self::CredentialMalformed
                | Self::KeyAwaited { away: false, .. }
        )
    }

    /// How to be let in with keys and tokens (RFC 6750 section 3, RFC 9728 section 5.1).
    fn challenge(&self, pointer: Option<&Pointer>) -> Option<HeaderValue> {
        let baseline = pointer.map(|pointer| &pointer.baseline);
        let (error, scopes) = match self {
            Self::CredentialMissing => (None, baseline),
            Self::CredentialInvalid | Self::KeyAwaited { away: false, .. } => {
                (Some("invalid_token"), baseline)
            }
            Self::CredentialMalformed => (Some("invalid_request"), None),
            Self::ClientNotAllowed | Self::CallerNotMapped => (Some("insufficient_scope"), None),
            Self::ProofInvalid => (Some("invalid_dpop_proof"), None),
            Self::ProofNonce { .. } => (Some("use_dpop_nonce"), None),
            Self::ScopesLacking { scopes, .. } => (Some("insufficient_scope"), Some(scopes)),
            _ => return None,
        };
        let mut parameters = Vec::new();
        // Nothing of this has a character that would have to be escaped: scopes have neither `"` nor `\`, and the URL is made of names of
        // hosts and slugs.
        let mut say = |name, value: &str| parameters.push(format!("{name}=\"{value}\""));
        if let Some(error) = error {
            say("error", error);
        }
        if let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) {
            say("scope", &scopes.to_string());
        }
        if let Some(metadata) = pointer.and_then(|pointer| pointer.metadata.as_ref()) {
            say("resource_metadata", metadata);
        }
        if matches!(self, Self::ScopesLacking { .. }) {
            say("error_description", self.code().entry().title);
        }
        // Whoever shows tokens with proofs is told by which algorithms; nobody else, as clients read one challenge.
        let scheme = pointer.map_or(Scheme::Bearer, |pointer| pointer.scheme);
        if scheme == Scheme::Dpop {
            parameters.push(format!("algs=\"{}\"", Algorithm::ALL.map(Algorithm::name).join(" ")));
        }
        HeaderValue::try_from(format!("{} {}", scheme.name(), parameters.join(", ")).trim_end()).ok()
    }
}
