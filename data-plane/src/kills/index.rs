//! The set as calls look at it.

use std::collections::{HashMap, HashSet};

use crypto::Holder;
use ids::{ClientId, EndpointId, Id, KeyId, Kind, MemberId, TenantId, TokenId, ToolId, UpstreamId};
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
    pub(crate) caller: Holder,
    pub(crate) shown: Shown,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Key(KeyId),
    Token(TokenId),
    /// A token of others that was made then.
    External(Timestamp),
    /// A certificate.
    Certificate,
}

impl Shown {
    /// The key, if it was one.
    pub(crate) const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key(key) => Some(key),
            Self::Token(_) | Self::External(_) | Self::Certificate => None,
        }
    }

    /// The access token, if it was one.
    pub(crate) const fn token(self) -> Option<TokenId> {
        match self {
            Self::Token(token) => Some(token),
            Self::Key(_) | Self::External(_) | Self::Certificate => None,
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
    tokens_of_members: HashMap<(TenantId, MemberId, Option<ClientId>), Timestamp, ahash::RandomState>,
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
                Credential::TokensOfMember(tenant, member) => {
                    index.tokens_of_members.insert((tenant, member, None), before);
                }
                Credential::TokensOfMemberBy(tenant, member, client) => {
                    index.tokens_of_members.insert((tenant, member, Some(client)), before);
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
            && self.tokens_of_members.is_empty()
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
        let Running { tenant, upstream, tool, caller: Holder { client, member }, shown } = call;
        let named = |name: String| self.targets.contains(&Target::Principal(tenant, name.into()));
        let stopped = || named(client.to_string()) || member.is_some_and(|member| named(member.to_string()));
        !self.targets.is_empty()
            && (self.targets.contains(&Target::Upstream(tenant, upstream))
                || tool.is_some_and(|tool| self.targets.contains(&Target::Tool(tenant, tool)))
                || self.targets.contains(&Target::Client(tenant, client))
                || shown.key().is_some_and(|key| self.targets.contains(&Target::Key(tenant, key)))
                || (self.principals && stopped()))
    }

    /// Whether the credential was revoked, alone or with its client's or member's, whatever the configuration says.
    pub(crate) fn is_revoked(&self, tenant: TenantId, caller: Holder, shown: Shown) -> bool {
        let Holder { client, member } = caller;
        let all = self.clients.get(&(tenant, client));
        match shown {
            Shown::Key(key) => {
                self.keys.contains(&(tenant, key)) || all.is_some_and(|before| issued(key) < *before)
            }
            // When a certificate was made says nothing of when somebody began to trust it.
            Shown::Certificate => all.is_some(),
            // What ends a client's tokens ends those that were made for it by others, too.
            Shown::External(made) => {
                all.max(self.tokens_of.get(&(tenant, client))).is_some_and(|before| made < *before)
            }
            Shown::Token(token) => {
                let tokens = self.tokens_of.get(&(tenant, client));
                let of_member = |through| {
                    let members = &self.tokens_of_members;
                    member.filter(|_| !members.is_empty()).and_then(|id| members.get(&(tenant, id, through)))
                };
                let latest = all.max(tokens).max(of_member(None)).max(of_member(Some(client)));
                self.tokens.contains(&(tenant, token)) || latest.is_some_and(|before| issued(token) < *before)
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
        assert!(index.is_revoked(tenant, client(1).into(), shown(1_000)) && !index.is_empty());
        assert!(!index.is_revoked(tenant, client(1).into(), shown(1_001)));
        assert!(!index.is_revoked(TenantId::from_parts(1, [2; 10]), client(1).into(), shown(1_000)));
        let key = Shown::Key(KeyId::from_parts(1_000, [1; 10]));
        for (credential, ends_keys) in
            [(Credential::TokensOf(tenant, client(1)), false), (Credential::Client(tenant, client(1)), true)]
        {
            let index = set(credential);
            assert!(index.is_revoked(tenant, client(1).into(), shown(1_999)) && !index.is_empty());
            assert!(!index.is_revoked(tenant, client(1).into(), shown(2_000)), "made later");
            assert!(!index.is_revoked(tenant, client(2).into(), shown(1_999)), "another client's");
            assert_eq!(index.is_revoked(tenant, client(1).into(), key), ends_keys);
        }
    }

    #[test]
    fn a_members_tokens_end_through_every_client_or_through_one() {
        let tenant = TenantId::from_parts(1, [1; 10]);
        let holder = |client: u8, member: Option<u8>| Holder {
            client: ClientId::from_parts(1, [client; 10]),
            member: member.map(|n| MemberId::from_parts(1, [n; 10])),
        };
        let made = |millis: u64| Shown::Token(TokenId::from_parts(millis, [1; 10]));
        let before = Timestamp::from_micros(2_000_000);
        let member = MemberId::from_parts(1, [1; 10]);
        for (credential, through_others) in [
            (Credential::TokensOfMember(tenant, member), true),
            (Credential::TokensOfMemberBy(tenant, member, holder(1, None).client), false),
        ] {
            let mut set = KillSet::default();
            let revoked = vec![credential.write(before)];
            assert!(set.follow(&wire::v1::KillBody { revoked, ..Default::default() }));
            assert_eq!(KillSet::decode(&set.encode(&[])).unwrap().0, set);
            let index = KillIndex::of(&set);
            assert!(!index.is_empty());
            assert!(index.is_revoked(tenant, holder(1, Some(1)), made(1_999)));
            assert!(!index.is_revoked(tenant, holder(1, Some(1)), made(2_000)), "made later");
            assert_eq!(index.is_revoked(tenant, holder(2, Some(1)), made(1_999)), through_others);
            assert!(!index.is_revoked(tenant, holder(1, Some(2)), made(1_999)), "another member's");
            assert!(!index.is_revoked(tenant, holder(1, None), made(1_999)), "the client's own");
            assert!(!index.is_revoked(TenantId::from_parts(1, [2; 10]), holder(1, Some(1)), made(1_999)));
        }
    }

    #[test]
    fn a_principal_is_a_client_or_a_member_by_its_id() {
        let tenant = TenantId::from_parts(1, [1; 10]);
        let (client, member) = (ClientId::from_parts(1, [1; 10]), MemberId::from_parts(1, [1; 10]));
        let running = |member| Running {
            tenant,
            upstream: UpstreamId::from_parts(1, [1; 10]),
            tool: None,
            caller: Holder { client, member },
            shown: Shown::Token(TokenId::from_parts(1, [1; 10])),
        };
        let stops = |name: String, member| {
            let mut index = KillIndex { principals: true, ..KillIndex::default() };
            index.targets.insert(Target::Principal(tenant, name.into()));
            index.stops_call(running(member))
        };
        assert!(stops(member.to_string(), Some(member)) && stops(client.to_string(), None));
        assert!(!stops(member.to_string(), None), "the client itself goes on");
        assert!(!stops(member.to_string(), Some(MemberId::from_parts(1, [2; 10]))));
        assert!(stops(client.to_string(), Some(member)), "whatever it does for others too");
    }

    #[test]
    fn an_id_says_when_its_key_was_made() {
        assert_eq!(
            issued(KeyId::from_parts(1_800_000_000_123, [7; 10])),
            Timestamp::from_micros(1_800_000_000_123_000)
        );
    }
}
