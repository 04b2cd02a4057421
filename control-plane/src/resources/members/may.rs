//! What each admin role may: the one table. A role that is not `user` may see the tenant itself.

use super::types::AdminRole;

/// Everything but what is the owners': with which keys tokens are signed, by whom people sign in, and what the tenant decides of itself.
const ADMIN: &[&str] = &[
    "*:read",
    "audit_content:read",
    "admin_tokens:write",
    "upstreams:write",
    "endpoints:write",
    "domains:write",
    "clients:write",
    "keys:write",
    "client_secrets:write",
    "registration:write",
    "trusted_issuers:write",
    "client_authorities:write",
    "external_issuers:write",
    "credential_ages:write",
    "roles:write",
    "members:write",
    "grants:write",
    "tools:write",
    "limits:write",
    "kills:write",
];

/// Policy, limits, kills and the audit log.
const SECURITY: &[&str] = &[
    "*:read",
    "audit_content:read",
    "credential_ages:write",
    "roles:write",
    "grants:write",
    "tools:write",
    "limits:write",
    "kills:write",
];

/// Upstreams, endpoints, tools and clients.
const DEVELOPER: &[&str] = &[
    "tenant:read",
    "upstreams:read",
    "upstreams:write",
    "endpoints:read",
    "endpoints:write",
    "domains:read",
    "domains:write",
    "clients:read",
    "clients:write",
    "keys:read",
    "keys:write",
    "client_secrets:read",
    "client_secrets:write",
    "registration:read",
    "trusted_issuers:read",
    "client_authorities:read",
    "external_issuers:read",
    "credential_ages:read",
    "sign_in_providers:read",
    "roles:read",
    "grants:read",
    "tools:read",
    "tools:write",
    "limits:read",
    "kills:read",
    "signing_keys:read",
    "revisions:read",
];

/// Configuration, and nothing of people or of what was done.
const READ_ONLY: &[&str] = &[
    "tenant:read",
    "upstreams:read",
    "endpoints:read",
    "domains:read",
    "clients:read",
    "keys:read",
    "client_secrets:read",
    "registration:read",
    "trusted_issuers:read",
    "client_authorities:read",
    "external_issuers:read",
    "credential_ages:read",
    "sign_in_providers:read",
    "roles:read",
    "grants:read",
    "tools:read",
    "limits:read",
    "kills:read",
    "signing_keys:read",
    "revisions:read",
];

impl AdminRole {
    /// The admin API's scopes that a member of this role has.
    #[must_use]
    pub const fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Owner => &["*"],
            Self::Admin => ADMIN,
            Self::Security => SECURITY,
            Self::Auditor => &["*:read"],
            Self::Developer => DEVELOPER,
            Self::ReadOnly => READ_ONLY,
            Self::User => &[],
        }
    }

    /// Whether there is something that it may.
    #[must_use]
    pub const fn administers(self) -> bool {
        !self.scopes().is_empty()
    }

    /// Its place among all, from the highest.
    #[must_use]
    pub const fn rank(self) -> u8 {
        self as u8
    }

    /// Whether it may make others what they are, or nearly everything else.
    #[must_use]
    pub const fn is_high(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::scope::{NAMES, Scopes};

    fn of(role: AdminRole) -> Scopes {
        Scopes::from_stored(role.scopes().iter().map(|scope| (*scope).to_owned()).collect())
    }

    #[test]
    fn roles_name_scopes_that_there_are_and_each_has_what_the_next_has() {
        use AdminRole::{Admin, Auditor, Developer, Owner, ReadOnly, Security, User};
        for role in [Owner, Admin, Security, Auditor, Developer, ReadOnly, User] {
            for scope in role.scopes() {
                assert!(["*", "*:read"].contains(scope) || NAMES.contains(scope), "{role:?}: {scope}");
            }
        }
        for (more, less) in [
            (Owner, Admin),
            (Admin, Security),
            (Admin, Developer),
            (Security, Auditor),
            (Auditor, ReadOnly),
            (Developer, ReadOnly),
            (ReadOnly, User),
        ] {
            assert!(less.scopes().iter().all(|scope| of(more).contain(scope)), "{more:?} {less:?}");
            assert!(
                !more.scopes().iter().all(|scope| of(less).contain(scope)),
                "{more:?} is more than {less:?}"
            );
        }
        let owners: Vec<_> = NAMES.iter().filter(|scope| !of(Admin).contain(scope)).collect();
        assert_eq!(
            owners,
            [&"tenant:write", &"sign_in_providers:write", &"signing_keys:write"],
            "what an admin has not is named here"
        );
        assert!(NAMES.iter().all(|scope| scope.ends_with(":read") || !of(Auditor).contain(scope)));
    }
}
