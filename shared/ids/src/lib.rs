//! Prefixed, typed identifiers.
//!
//! An id is a UUIDv7 shown as `<prefix>_<26 characters>`: the UUID's 128 bits in lower-case Crockford base 32
//! (the TypeID encoding, so ids sort by creation time). Two kinds never mix: `ClientId` and `KeyId` are different
//! types and a text with another prefix does not parse.
//!
//! Pure: no clock and no randomness here; [`Id::from_parts`] takes both as arguments.

mod base32;
mod scope;
mod slug;

use std::{cmp, fmt, hash, marker::PhantomData, str::FromStr};

pub use scope::{Scope, ScopeError, Scopes};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
pub use slug::{Slug, SlugError};
pub use uuid::Uuid;

/// A kind of id: its prefix and the word used for it in messages.
pub trait Kind: 'static + Send + Sync {
    /// Text before the underscore, without it.
    const PREFIX: &'static str;
    /// The vocabulary's word, for error messages.
    const NOUN: &'static str;
}

/// A typed id. 16 bytes, `Copy`, ordered by its bytes (creation time first).
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

/// Why a text is not an id of the wanted kind. Never carries the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {noun} id: expected `{prefix}_` and 26 base-32 characters")]
pub struct ParseIdError {
    /// Vocabulary word of the wanted kind.
    pub noun: &'static str,
    /// Prefix of the wanted kind.
    pub prefix: &'static str,
}

impl<K: Kind> Id<K> {
    /// An id from a UUID read back from storage.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// A new UUIDv7 id. `unix_millis` comes from a `Clock`, `random` from an `Entropy`.
    #[must_use]
    pub fn from_parts(unix_millis: u64, random: [u8; 10]) -> Self {
        Self::from_uuid(uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid())
    }

    /// The UUID inside, for storage.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = base32::encode(self.0.as_u128());
        write!(f, "{}_{}", K::PREFIX, std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = ParseIdError { noun: K::NOUN, prefix: K::PREFIX };
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(error)?;
        base32::decode(digits).map(|bits| Self::from_uuid(Uuid::from_u128(bits))).ok_or(error)
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal $noun:literal;)*) => {
        /// The kinds, one zero-sized type each.
        pub mod kind {
            $(
                $(#[$doc])*
                #[derive(Debug, Clone, Copy)]
                pub enum $kind {}
                impl super::Kind for $kind {
                    const PREFIX: &'static str = $prefix;
                    const NOUN: &'static str = $noun;
                }
            )*
        }
        $( $(#[$doc])* pub type $alias = Id<kind::$kind>; )*
        /// Every prefix with its noun, for documentation and the OpenAPI test.
        pub const PREFIXES: &[(&str, &str)] = &[$(($prefix, $noun)),*];
    };
}

kinds! {
    /// A tenant: the isolation boundary.
    Tenant TenantId "tnt" "tenant";
    /// A hosted MCP URL.
    Endpoint EndpointId "ep" "endpoint";
    /// An MCP server behind endpoints.
    Upstream UpstreamId "ups" "upstream";
    /// The relation of an upstream to an endpoint.
    Attachment AttachmentId "att" "attachment";
    /// An OAuth client or machine identity.
    Client ClientId "cl" "client";
    /// A person who belongs to a tenant.
    Member MemberId "mem" "member";
    /// An API key a caller presents.
    Key KeyId "key" "key";
    /// A secret with which a client authenticates to its tenant's issuer.
    ClientSecret ClientSecretId "sec" "client secret";
    /// A public key by which a client authenticates to its tenant's issuer.
    PublicKey PublicKeyId "pub" "public key";
    /// A token with which clients may be registered at a tenant's issuer.
    InitialAccessToken InitialAccessTokenId "iat" "initial access token";
    /// An issuer of others whose assertions a tenant trusts.
    TrustedIssuer TrustedIssuerId "tis" "trusted issuer";
    /// An issuer of others whose tokens endpoints accept.
    ExternalIssuer ExternalIssuerId "exi" "external issuer";
    /// An authority that issues certificates to callers of a tenant.
    ClientAuthority ClientAuthorityId "cca" "client authority";
    /// An OpenID provider by which people sign in.
    SignInProvider SignInProviderId "sip" "sign in provider";
    /// A secret the gateway presents to an upstream.
    Credential CredentialId "crd" "credential";
    /// A named set of grants.
    Role RoleId "rol" "role";
    /// Who may call what.
    Grant GrantId "gr" "grant";
    /// A scope of access tokens, as its tenant made it.
    Scope ScopeId "scp" "scope";
    /// A catalogue entry of an upstream.
    Tool ToolId "tool" "tool";
    /// A configured limit.
    Limit LimitId "lim" "limit";
    /// A name of a tenant's own under which its endpoints are reached.
    Domain DomainId "dom" "domain";
    /// A token for the admin API.
    AdminToken AdminTokenId "adm" "admin token";
    /// A data-plane proxy.
    Proxy ProxyId "px" "proxy";
    /// A group of proxies.
    Pool PoolId "pool" "pool";
    /// A key with which a tenant's issuer signs tokens.
    SigningKey SigningKeyId "sig" "signing key";
    /// A key with which proxies sign what they assert to a tenant's upstreams.
    AssertionKey AssertionKeyId "ask" "assertion key";
    /// An access token, as its `jti`.
    Token TokenId "tok" "access token";
    /// A certificate authority of the fleet.
    Authority AuthorityId "ca" "certificate authority";
    /// A single-use token with which a proxy enrols.
    JoinToken JoinTokenId "jt" "join token";
    /// One audited call or act.
    Call CallId "call" "call";
    /// A per-tenant data key.
    DataKey DataKeyId "dk" "data key";
    /// Work asked of a proxy.
    Command CommandId "cmd" "command";
    /// An order to stop something at once.
    Kill KillId "kill" "kill";
    /// A person's account, over all tenants.
    Account AccountId "acc" "account";
    /// An invitation to become a member of a tenant.
    Invitation InvitationId "inv" "invitation";
    /// What a member has let a client do.
    Consent ConsentId "cns" "consent";
    /// What a client was given by a member's one authorization: a family of tokens.
    Authorization AuthorizationId "aut" "authorization";
    /// One HTTP request.
    Request RequestId "req" "request";
}

#[cfg(test)]
mod tests;
