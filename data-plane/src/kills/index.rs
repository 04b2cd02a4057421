//! The set as calls look at it.

use std::collections::{HashMap, HashSet};

use ids::{ClientId, EndpointId, Id, KeyId, Kind, TenantId, TokenId, ToolId, UpstreamId};
use seams::Timestamp;
use telemetry::metric;
use wire::kill::{Credential, KillSet, Target};

/// A call, by what can be killed of it below its endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) tenant: TenantId,
    pub(crate) upstream: UpstreamId,
    /// The tool it calls, if the catalogue knows it.
    pub(crate) tool: Option<ToolId>,
    pub(crate) client: ClientId,
    pub(crate) shown: Shown,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Key(KeyId),
    Token(TokenId),
}

impl Shown {
    /// The key, if it was one.
    pub(crate) const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key(key) => Some(key),
            Self::Token(_) => None,
        }
    }

    /// The access token, if it was one.
    pub(crate) const fn token(self) -> Option<TokenId> {
        match self {
            Self::Token(token) => Some(token),
            Self::Key(_) => None,
        }
    }
}

/// What is in force; drills are not.
#[derive(Debug, Default)]
pub(crate) struct KillIndex {
    targets: HashSet<Target, ahash::RandomState>,
    /// Whether any of them is a principal: only then is a name made to look for.
    principals: bool,
    keys: HashSet<(TenantId, KeyId), ahash::RandomState>,
    clients: HashMap<(TenantId, ClientId), Timestamp, ahash::RandomState>,
    tokens: HashSet<(TenantId, TokenId), ahash::RandomState>,
    tokens_of: HashMap<(TenantId, ClientId), Timestamp, ahash::RandomState>,
}

impl KillIndex {
    pub(super) fn of(set: &KillSet) -> Self {
        let mut index = Self::default();
        for kill in set.kills().filter(|kill| !kill.drill) {
            index.principals |= matches!(kill.target, Target::Principal(..));
            index.targets.insert(kill.target.clone());
        }
        for (credential, before) in set.revoked() {
            match credential {
                Credential::Key(tenant, key) => {
                    index.keys.insert((tenant, key));
                }
                Credential::Client(tenant, client) => {
                    index.clients.insert((tenant, client), before);
                }
                Credential::TokensOf(tenant, client) => {
                    index.tokens_of.insert((tenant, client), before);
                }
                Credential::Token(tenant, token) => {
                    index.tokens.insert((tenant, token));
                }
            }
        }
        index
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
            && self.keys.is_empty()
            && self.clients.is_empty()
            && self.tokens.is_empty()
            && self.tokens_of.is_empty()
    }

    pub(super) fn meter(&self) {
        metrics::gauge!(metric::KILLS_IN_FORCE).set(self.targets.len() as f64);
    }

    /// Whether the fleet, the tenant or the endpoint is stopped.
    pub(crate) fn stops_endpoint(&self, tenant: TenantId, endpoint: EndpointId) -> bool {
        !self.targets.is_empty()
            && (self.targets.contains(&Target::Fleet)
                || self.targets.contains(&Target::Tenant(tenant))
                || self.targets.contains(&Target::Endpoint(tenant, endpoint)))
    }

    /// Whether the upstream, the tool, the client, the key or the principal is stopped.
    pub(crate) fn stops_call(&self, call: Running) -> bool {
        let Running { tenant, upstream, tool, client, shown } = call;
        let named = || Target::Principal(tenant, client.to_string().into());
        !self.targets.is_empty()
            && (self.targets.contains(&Target::Upstream(tenant, upstream))
                || tool.is_some_and(|tool| self.targets.contains(&Target::Tool(tenant, tool)))
                || self.targets.contains(&Target::Client(tenant, client))
                || shown.key().is_some_and(|key| self.targets.contains(&Target::Key(tenant, key)))
                || (self.principals && self.targets.contains(&named())))
    }

    /// Whether the credential was revoked, alone or with its client's, whatever the configuration says.
    pub(crate) fn is_revoked(&self, tenant: TenantId, client: ClientId, shown: Shown) -> bool {
        let all = self.clients.get(&(tenant, client));
        match shown {
            Shown::Key(key) => {
                self.keys.contains(&(tenant, key)) || all.is_some_and(|before| issued(key) < *before)
            }
            Shown::Token(token) => {
                let tokens = self.tokens_of.get(&(tenant, client));
                self.tokens.contains(&(tenant, token))
                    || all.max(tokens).is_some_and(|before| issued(token) < *before)
            }
        }
    }
}

/// When a key or token was made: its id says so, in milliseconds.
fn issued<K: Kind>(id: Id<K>) -> Timestamp {
    let millis = id.uuid().as_u128() >> 80;
    Timestamp::from_micros(u64::try_from(millis).unwrap_or(u64::MAX).saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_alone_with_its_clients_tokens_or_with_its_client() {
        let tenant = TenantId::from_parts(1, [1; 10]);
        let client = |n: u8| ClientId::from_parts(1, [n; 10]);
        let token = |millis: u64| TokenId::from_parts(millis, [1; 10]);
        let before = Timestamp::from_micros(2_000_000);
        let set = |credential: Credential| {
            let mut set = KillSet::default();
            let revoked = vec![credential.write(before)];
            assert!(set.follow(&wire::v1::KillBody { revoked, ..Default::default() }));
            // As it is kept on disk.
            let (kept, _) = KillSet::decode(&set.encode(&[])).unwrap();
            assert_eq!(kept, set);
            KillIndex::of(&set)
        };
        let shown = |millis: u64| Shown::Token(token(millis));
        let index = set(Credential::Token(tenant, token(1_000)));
        assert!(index.is_revoked(tenant, client(1), shown(1_000)) && !index.is_empty());
        assert!(!index.is_revoked(tenant, client(1), shown(1_001)));
        assert!(!index.is_revoked(TenantId::from_parts(1, [2; 10]), client(1), shown(1_000)));
        let key = Shown::Key(KeyId::from_parts(1_000, [1; 10]));
        for (credential, ends_keys) in
            [(Credential::TokensOf(tenant, client(1)), false), (Credential::Client(tenant, client(1)), true)]
        {
            let index = set(credential);
            assert!(index.is_revoked(tenant, client(1), shown(1_999)) && !index.is_empty());
            assert!(!index.is_revoked(tenant, client(1), shown(2_000)), "made later");
            assert!(!index.is_revoked(tenant, client(2), shown(1_999)), "another client's");
            assert_eq!(index.is_revoked(tenant, client(1), key), ends_keys);
        }
    }

    #[test]
    fn an_id_says_when_its_key_was_made() {
        assert_eq!(
            issued(KeyId::from_parts(1_800_000_000_123, [7; 10])),
            Timestamp::from_micros(1_800_000_000_123_000)
        );
    }
}
