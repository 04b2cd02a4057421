//! Scopes of admin tokens.

use serde::{Deserialize, Serialize};

/// A scope as a type, for extractors.
pub trait Scope: Send + Sync + 'static {
    /// As in tokens and in the API description.
    const NAME: &'static str;
    /// Whether a member who came in by a cookie has to have signed in just now for it.
    const JUST_SIGNED_IN: bool = false;
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $scope:ident $name:literal $(just_signed_in = $fresh:literal)?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $scope;
            impl Scope for $scope {
                const NAME: &'static str = $name;
                $(const JUST_SIGNED_IN: bool = $fresh;)?
            }
        )*
        /// Every scope by name; `*` stands for all and `*:read` for all that only read and open nothing.
        pub const NAMES: &[&str] = &[$($name),*];
    };
}

scopes! {
    /// See the tenant itself.
    TenantRead "tenant:read";
    /// Change what a tenant may decide of itself: how old its configuration may be.
    TenantWrite "tenant:write";
    /// See admin tokens.
    AdminTokensRead "admin_tokens:read";
    /// Make and revoke admin tokens, with no scope that the maker lacks.
    AdminTokensWrite "admin_tokens:write" just_signed_in = true;
    /// See upstreams.
    UpstreamsRead "upstreams:read";
    /// Change upstreams and their credentials.
    UpstreamsWrite "upstreams:write";
    /// See endpoints.
    EndpointsRead "endpoints:read";
    /// Change endpoints and what is attached to them.
    EndpointsWrite "endpoints:write";
    /// See domains.
    DomainsRead "domains:read";
    /// Claim, prove and delete domains.
    DomainsWrite "domains:write";
    /// See clients.
    ClientsRead "clients:read";
    /// Change clients, and which endpoints and roles they have.
    ClientsWrite "clients:write";
    /// See API keys, never their secrets.
    KeysRead "keys:read";
    /// Make, rotate and revoke API keys.
    KeysWrite "keys:write";
    /// See how old credentials are, and when they are to be replaced.
    CredentialAgesRead "credential_ages:read";
    /// Change after how long credentials are to be replaced.
    CredentialAgesWrite "credential_ages:write";
    /// See client secrets, never what is secret of them, and clients' public keys.
    ClientSecretsRead "client_secrets:read";
    /// Make, rotate and revoke client secrets, and change clients' public keys.
    ClientSecretsWrite "client_secrets:write";
    /// See how clients may come that nobody has made.
    RegistrationRead "registration:read";
    /// Change that, and make tokens with which clients may be registered.
    RegistrationWrite "registration:write";
    /// See issuers that are trusted.
    TrustedIssuersRead "trusted_issuers:read";
    /// Change which issuers are trusted, and with what.
    TrustedIssuersWrite "trusted_issuers:write";
    /// See authorities that issue certificates to callers.
    ClientAuthoritiesRead "client_authorities:read";
    /// Change whose certificates of callers are accepted, and whose they are.
    ClientAuthoritiesWrite "client_authorities:write";
    /// See issuers of others whose tokens endpoints accept.
    ExternalIssuersRead "external_issuers:read";
    /// Change whose tokens of others are accepted, and for whom they speak.
    ExternalIssuersWrite "external_issuers:write";
    /// See sign-in providers, never their secrets.
    SignInProvidersRead "sign_in_providers:read";
    /// Change by which providers people sign in.
    SignInProvidersWrite "sign_in_providers:write" just_signed_in = true;
    /// See roles.
    RolesRead "roles:read";
    /// Change roles.
    RolesWrite "roles:write";
    /// See members, what they are, and invitations, never their links.
    MembersRead "members:read";
    /// Invite people, change what members are and which roles they have, and remove them.
    MembersWrite "members:write";
    /// See grants.
    GrantsRead "grants:read";
    /// Change grants.
    GrantsWrite "grants:write";
    /// See tools and their definitions.
    ToolsRead "tools:read";
    /// Approve, reject and classify tools; ask for discovery.
    ToolsWrite "tools:write";
    /// See limits.
    LimitsRead "limits:read";
    /// Change limits.
    LimitsWrite "limits:write";
    /// Read the audit log, without what is sealed in it.
    AuditRead "audit:read";
    /// Open the arguments and excerpts of responses that are sealed in the audit log. Not part of `*:read`.
    AuditContentRead "audit_content:read";
    /// See kills.
    KillsRead "kills:read";
    /// Kill, and lift what tenants' tokens have killed.
    KillsWrite "kills:write";
    /// See the keys that sign tokens, never their private halves.
    SigningKeysRead "signing_keys:read";
    /// Rotate and revoke the keys that sign tokens.
    SigningKeysWrite "signing_keys:write" just_signed_in = true;
    /// See revisions and how far proxies are.
    RevisionsRead "revisions:read";
}

/// No admin token has it: what is for operators, in a tenant.
#[derive(Debug, Clone, Copy)]
pub struct OperatorOnly;

impl Scope for OperatorOnly {
    const NAME: &'static str = OPERATOR;
}

const OPERATOR: &str = "operator";

/// A scope's name as an administrator writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ScopeName(String);

impl ScopeName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ScopeName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" || text == "*:read" || NAMES.contains(&text.as_str()) {
            Ok(Self(text))
        } else {
            Err(serde::de::Error::custom("not a scope"))
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// As stored. A name that this version does not know permits nothing.
    #[must_use]
    pub fn from_stored(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether the set permits `wanted`, which may itself be `*` or `*:read`.
    #[must_use]
    pub fn contain(&self, wanted: &str) -> bool {
        let only_reads = wanted.ends_with(":read") && wanted != AuditContentRead::NAME;
        wanted != OPERATOR
            && self.0.iter().any(|held| held == "*" || held == wanted || (held == "*:read" && only_reads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_what_they_say() {
        let read = Scopes::from_stored(vec!["*:read".into(), "keys:write".into()]);
        assert!(read.contain("keys:read") && read.contain("keys:write") && read.contain("*:read"));
        assert!(!read.contain("clients:write") && !read.contain("*") && !read.contain("audit_content:read"));
        assert!(Scopes::all().contain("*") && NAMES.iter().all(|name| Scopes::all().contain(name)));
        assert!(!Scopes::all().contain(OperatorOnly::NAME));
        assert!(!Scopes::from_stored(vec!["future:read".into()]).contain("keys:read"));
    }

    #[test]
    fn only_known_scopes_parse() {
        assert!(serde_json::from_str::<ScopeName>("\"keys:read\"").is_ok());
        assert!(serde_json::from_str::<ScopeName>("\"*:write\"").is_err());
        assert!(serde_json::from_str::<ScopeName>("\"keys\"").is_err());
    }
}
