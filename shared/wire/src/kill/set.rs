//! The set and what may change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ids::{ClientId, KeyId, KillId, MemberId, TenantId, TokenId};
use prost::Message as _;
use seams::Timestamp;

use super::{Kill, Order, id};
use crate::v1;

/// Kills held at once.
pub const MAX_KILLS: usize = 16 * 1024;
/// Lifted ids that are remembered; of more, the oldest kills' are forgotten.
pub const MAX_LIFTED: usize = 16 * 1024;
/// Dead credentials that are remembered. Of more, those are forgotten that died first, of the tenants that have most:
/// configuration lacks them by then, and no tenant uses up the room of another.
pub const MAX_REVOKED: usize = 64 * 1024;

/// How long after its revocation an access token is remembered: longer than it can live, on clocks that differ.
pub const TOKENS_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// A credential that can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credential {
    /// One key.
    Key(TenantId, KeyId),
    /// What a client had until then.
    Client(TenantId, ClientId),
    /// Access tokens that a client had until then; its keys live on.
    TokensOf(TenantId, ClientId),
    /// Access tokens that were a member's until then.
    TokensOfMember(TenantId, MemberId),
    /// Those of them that this client was given.
    TokensOfMemberBy(TenantId, MemberId, ClientId),
    /// One access token.
    Token(TenantId, TokenId),
}

/// Everything that must stop, as one party knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KillSet {
    epoch: u64,
    kills: BTreeMap<KillId, Kill>,
    lifted: BTreeSet<KillId>,
    revoked: BTreeMap<Credential, Timestamp>,
    /// Kills that came by order. Apart, because orders may lift these and no others.
    ordered: BTreeMap<KillId, Kill>,
    lifted_by_order: BTreeSet<KillId>,
}

impl KillSet {
    /// The highest epoch the control plane's stream has brought; 0 before.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// In force, by id.
    pub fn kills(&self) -> impl Iterator<Item = &Kill> {
        self.kills.values().chain(self.ordered.values())
    }

    /// Dead credentials; of a client, those issued before.
    pub fn revoked(&self) -> impl Iterator<Item = (Credential, Timestamp)> {
        self.revoked.iter().map(|(credential, before)| (*credential, *before))
    }

    /// Whether this kill was lifted.
    #[must_use]
    pub fn is_lifted(&self, id: KillId) -> bool {
        self.lifted.contains(&id)
    }

    /// Takes what the control plane's stream says. `false`: something in it is not known to this build, or does not fit;
    /// everything else was taken.
    #[must_use]
    pub fn follow(&mut self, body: &v1::KillBody) -> bool {
        let mut whole = true;
        for lifted in &body.lifted {
            match id(lifted) {
                Some(id) => self.lift(id),
                None => whole = false,
            }
        }
        self.epoch = self.epoch.max(body.epoch);
        self.add(body) && whole
    }

    /// Takes what may only add: kills and dead credentials. `false` as for [`Self::follow`].
    #[must_use]
    pub fn add(&mut self, body: &v1::KillBody) -> bool {
        let mut whole = true;
        for entry in &body.entries {
            whole &= Kill::read(entry).is_some_and(|kill| self.kill(kill));
        }
        for revoked in &body.revoked {
            whole &= self.revoke(revoked);
        }
        self.forget_ended_tokens();
        if self.revoked.len() > MAX_REVOKED {
            self.forget_revocations();
        }
        whole
    }

    /// Takes an offline order whose signature was checked. `false` when there is no room.
    #[must_use]
    pub fn obey(&mut self, order: &Order) -> bool {
        for id in &order.lifted {
            self.ordered.remove(id);
            remember(&mut self.lifted_by_order, *id);
        }
        let Some(kill) = &order.kill else { return true };
        let over = self.lifted.contains(&kill.id) || self.lifted_by_order.contains(&kill.id);
        over || insert(&mut self.ordered, kill.clone())
    }

    fn kill(&mut self, kill: Kill) -> bool {
        self.lifted.contains(&kill.id) || insert(&mut self.kills, kill)
    }

    fn lift(&mut self, id: KillId) {
        self.kills.remove(&id);
        self.ordered.remove(&id);
        remember(&mut self.lifted, id);
    }

    fn revoke(&mut self, revoked: &v1::RevokedCredential) -> bool {
        use v1::revoked_credential::Subject;
        let Some(tenant) = id(&revoked.tenant_id) else { return false };
        let credential = match &revoked.subject {
            Some(Subject::KeyId(key)) => id(key).map(|key| Credential::Key(tenant, key)),
            Some(Subject::ClientId(client)) => id(client).map(|client| Credential::Client(tenant, client)),
            Some(Subject::TokenId(token)) => id(token).map(|token| Credential::Token(tenant, token)),
            Some(Subject::TokensOfClientId(client)) => {
                id(client).map(|client| Credential::TokensOf(tenant, client))
            }
            Some(Subject::TokensOfMemberId(member)) => {
                id(member).map(|member| Credential::TokensOfMember(tenant, member))
            }
            Some(Subject::TokensOfMemberThrough(v1::MemberThrough { member_id, client_id })) => id(member_id)
                .zip(id(client_id))
                .map(|(member, client)| Credential::TokensOfMemberBy(tenant, member, client)),
            None => None,
        };
        let Some(credential) = credential else { return false };
        let before = Timestamp::from_micros(revoked.issued_before_micros);
        let latest = self.revoked.entry(credential).or_default();
        *latest = before.max(*latest);
        true
    }

    /// Those that were revoked so long before another that they have ended by themselves: it is later now than that other.
    fn forget_ended_tokens(&mut self) {
        let latest = self.revoked.values().max().copied().unwrap_or_default();
        self.revoked.retain(|each, before| !each.ends_by_itself() || latest.since(*before) <= TOKENS_KEPT);
    }

    /// Down to [`MAX_REVOKED`]: tenants take turns, each with its latest. Single tokens come last: they end by themselves, and
    /// clients, which are many, may end their own.
    fn forget_revocations(&mut self) {
        let is_more = |each: &Credential| !matches!(each, Credential::Token(..));
        let mut latest_first: Vec<_> =
            self.revoked.iter().map(|(each, before)| (is_more(each), *before, *each)).collect();
        latest_first.sort_unstable_by(|one, other| other.cmp(one));
        let mut of_tenant = BTreeMap::<TenantId, usize>::new();
        let mut turns: Vec<_> = latest_first
            .into_iter()
            .map(|(_, _, credential)| {
                let turn = of_tenant.entry(credential.tenant()).or_default();
                *turn += 1;
                (*turn, credential)
            })
            .collect();
        // Stable: in one turn those that died last come first.
        turns.sort_by_key(|(turn, _)| *turn);
        for (_, credential) in turns.drain(MAX_REVOKED.min(turns.len())..) {
            self.revoked.remove(&credential);
        }
    }

    /// For the disk, with the keys by which signed sets are checked.
    #[must_use]
    pub fn encode(&self, public_keys: &[[u8; 32]]) -> Vec<u8> {
        let bytes = |id: &KillId| id.uuid().as_bytes().to_vec();
        v1::KillState {
            epoch: self.epoch,
            entries: self.kills.values().map(Kill::write).collect(),
            lifted: self.lifted.iter().map(bytes).collect(),
            revoked: self.revoked().map(|(credential, before)| credential.write(before)).collect(),
            public_keys: public_keys.iter().map(|key| key.to_vec()).collect(),
            ordered: self.ordered.values().map(Kill::write).collect(),
            lifted_by_order: self.lifted_by_order.iter().map(bytes).collect(),
            // Whoever keeps them adds them.
            ..v1::KillState::default()
        }
        .encode_to_vec()
    }

    /// What [`Self::encode`] gave. `None` for everything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, Vec<[u8; 32]>)> {
        let state = v1::KillState::decode(bytes).ok()?;
        let ids = |list: &[Vec<u8>]| list.iter().map(|bytes| id(bytes)).collect::<Option<BTreeSet<_>>>();
        let mut set = Self {
            epoch: state.epoch,
            lifted: ids(&state.lifted)?,
            lifted_by_order: ids(&state.lifted_by_order)?,
            ..Self::default()
        };
        for entry in &state.ordered {
            insert(&mut set.ordered, Kill::read(entry)?);
        }
        let body = v1::KillBody { entries: state.entries, revoked: state.revoked, ..v1::KillBody::default() };
        let keys =
            state.public_keys.iter().map(|key| key.as_slice().try_into().ok()).collect::<Option<_>>()?;
        set.add(&body).then_some((set, keys))
    }
}

/// `false` when there is no room.
fn insert(kills: &mut BTreeMap<KillId, Kill>, kill: Kill) -> bool {
    let fits = kills.len() < MAX_KILLS || kills.contains_key(&kill.id);
    if fits {
        kills.entry(kill.id).or_insert(kill);
    }
    fits
}

fn remember(lifted: &mut BTreeSet<KillId>, id: KillId) {
    lifted.insert(id);
    if lifted.len() > MAX_LIFTED {
        lifted.pop_first();
    }
}

impl Credential {
    /// Whose it was.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        match self {
            Self::Key(tenant, _)
            | Self::Client(tenant, _)
            | Self::TokensOf(tenant, _)
            | Self::TokensOfMember(tenant, _)
            | Self::TokensOfMemberBy(tenant, _, _)
            | Self::Token(tenant, _) => *tenant,
        }
    }

    /// Whether nothing of what it ends lives longer than [`TOKENS_KEPT`].
    const fn ends_by_itself(&self) -> bool {
        matches!(self, Self::Token(..) | Self::TokensOfMember(..) | Self::TokensOfMemberBy(..))
    }

    /// For the wire. `before`: of a client or member, credentials issued before are dead.
    #[must_use]
    pub fn write(&self, before: Timestamp) -> v1::RevokedCredential {
        use v1::revoked_credential::Subject;
        let (tenant, subject) = match self {
            Self::Key(tenant, key) => (tenant, Subject::KeyId(key.uuid().as_bytes().to_vec())),
            Self::Client(tenant, client) => (tenant, Subject::ClientId(client.uuid().as_bytes().to_vec())),
            Self::TokensOf(tenant, client) => {
                (tenant, Subject::TokensOfClientId(client.uuid().as_bytes().to_vec()))
            }
            Self::TokensOfMember(tenant, member) => {
                (tenant, Subject::TokensOfMemberId(member.uuid().as_bytes().to_vec()))
            }
            Self::TokensOfMemberBy(tenant, member, client) => {
                let member_id = member.uuid().as_bytes().to_vec();
                let client_id = client.uuid().as_bytes().to_vec();
                (tenant, Subject::TokensOfMemberThrough(v1::MemberThrough { member_id, client_id }))
            }
            Self::Token(tenant, token) => (tenant, Subject::TokenId(token.uuid().as_bytes().to_vec())),
        };
        v1::RevokedCredential {
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            subject: Some(subject),
            issued_before_micros: before.micros(),
        }
    }
}
