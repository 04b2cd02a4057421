//! Session seal, version 1: a session is a value the caller carries, so that any proxy can serve it.
//!
//! Text: base64url without padding of `0x01 ‖ data key id (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, visible ASCII as
//! MCP asks of `Mcp-Session-Id`, at most 1 KiB. Inside is a protobuf message; version and key id are associated data.

use std::fmt;

use ids::{ClientId, DataKeyId, EndpointId, MemberId, UpstreamId, Uuid};
use prost::Message;
use seams::Entropy;
use zeroize::Zeroizing;

use crate::aead::{AeadKey, SealError};

/// Characters a sealed session may have.
pub const MAX_TEXT: usize = 1024;

const DOMAIN: &[u8] = b"portcullis session seal";

/// A tenant's key for sessions and other handles. The first of a list seals; every one opens.
pub struct SessionKey {
    pub(crate) id: DataKeyId,
    pub(crate) key: AeadKey,
}

impl SessionKey {
    /// With a key that serves nothing else: `data_key.derive(Purpose::SessionSeal)`.
    #[must_use]
    pub fn new(id: DataKeyId, key: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self { id, key: AeadKey::new(&key.into()) }
    }

    /// The data key it was derived from.
    #[must_use]
    pub fn id(&self) -> DataKeyId {
        self.id
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whose a session or handle is: never one of the keys or tokens that were shown, so that it outlives these. What a client has for one
/// member is not another member's, nor its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// The client.
    pub client: ClientId,
    /// The member for whom it acts; `None`: it acts for itself.
    pub member: Option<MemberId>,
}

impl From<ClientId> for Holder {
    fn from(client: ClientId) -> Self {
        Self { client, member: None }
    }
}

/// What a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeal {
    /// Where it was begun.
    pub endpoint: EndpointId,
    /// Who began it.
    pub principal: Holder,
    /// When, in microseconds since the epoch.
    pub created_micros: u64,
    /// The sessions behind it.
    pub upstreams: Vec<UpstreamSession>,
}

/// One upstream's session.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamSession {
    /// Which upstream.
    pub upstream_id: UpstreamId,
    /// What it sent as `Mcp-Session-Id`; empty where it keeps none. Whoever knows it may speak in the session.
    pub session_id: String,
    /// Address it was reached at, `ip:port`, so that a session stays with one server behind a name.
    pub address: String,
}

impl fmt::Debug for UpstreamSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamSession")
            .field("upstream_id", &self.upstream_id)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl SessionSeal {
    /// Whether it was begun here by this principal.
    #[must_use]
    pub fn belongs_to(&self, endpoint: EndpointId, principal: impl Into<Holder>) -> bool {
        self.endpoint == endpoint && self.principal == principal.into()
    }
}

/// Seals a session with the first of `keys`.
///
/// # Errors
/// [`SealError::NoKey`] without keys, [`SealError::TooLarge`] if the text would pass [`MAX_TEXT`].
pub fn seal(keys: &[SessionKey], session: &SessionSeal, entropy: &dyn Entropy) -> Result<String, SealError> {
    let plaintext = Zeroizing::new(wire::Session::from(session).encode_to_vec());
    crate::state::seal_text(keys, DOMAIN, &plaintext, MAX_TEXT, entropy)
}

/// Opens a session of whatever endpoint and principal. On the request path use [`open_for`].
///
/// # Errors
/// If `text` was not sealed under one of `keys`, or was changed.
pub fn open(keys: &[SessionKey], text: &str) -> Result<SessionSeal, SealError> {
    let plaintext = crate::state::open_text(keys, DOMAIN, text, MAX_TEXT)?;
    let message = wire::Session::decode(plaintext.as_slice()).map_err(|_| SealError::Malformed)?;
    // Decoding drops fields it does not know; a session that says more than this build understands is refused.
    if message.encode_to_vec() != *plaintext {
        return Err(SealError::Malformed);
    }
    SessionSeal::try_from(message)
}

/// Opens a session and requires that it was begun at this endpoint by this principal.
///
/// # Errors
/// As [`open`]; [`SealError::Foreign`] if it is somebody else's or another endpoint's.
pub fn open_for(
    keys: &[SessionKey],
    text: &str,
    endpoint: EndpointId,
    principal: impl Into<Holder>,
) -> Result<SessionSeal, SealError> {
    let session = open(keys, text)?;
    if session.belongs_to(endpoint, principal) { Ok(session) } else { Err(SealError::Foreign) }
}

/// The bytes inside. Field numbers are part of version 1.
mod wire {
    /// Protobuf of a session.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Session {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) endpoint: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) principal: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub(super) created_micros: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) upstreams: Vec<Upstream>,
        /// Empty where the client acts for itself.
        #[prost(bytes = "vec", tag = "5")]
        pub(super) member: Vec<u8>,
    }

    /// Protobuf of one upstream's session.
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Upstream {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) upstream_id: Vec<u8>,
        #[prost(string, tag = "2")]
        pub(super) session_id: String,
        #[prost(string, tag = "3")]
        pub(super) address: String,
    }
}

impl From<&SessionSeal> for wire::Session {
    fn from(session: &SessionSeal) -> Self {
        Self {
            endpoint: session.endpoint.uuid().as_bytes().to_vec(),
            principal: session.principal.client.uuid().as_bytes().to_vec(),
            member: session.principal.member.map_or_else(Vec::new, |id| id.uuid().as_bytes().to_vec()),
            created_micros: session.created_micros,
            upstreams: session
                .upstreams
                .iter()
                .map(|upstream| wire::Upstream {
                    upstream_id: upstream.upstream_id.uuid().as_bytes().to_vec(),
                    session_id: upstream.session_id.clone(),
                    address: upstream.address.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Session> for SessionSeal {
    type Error = SealError;

    fn try_from(message: wire::Session) -> Result<Self, SealError> {
        let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(|_| SealError::Malformed);
        Ok(Self {
            endpoint: EndpointId::from_uuid(uuid(&message.endpoint)?),
            principal: Holder {
                client: ClientId::from_uuid(uuid(&message.principal)?),
                member: match &*message.member {
                    [] => None,
                    bytes => Some(MemberId::from_uuid(uuid(bytes)?)),
                },
            },
            created_micros: message.created_micros,
            upstreams: message
                .upstreams
                .into_iter()
                .map(|upstream| {
                    Ok(UpstreamSession {
                        upstream_id: UpstreamId::from_uuid(uuid(&upstream.upstream_id)?),
                        session_id: upstream.session_id,
                        address: upstream.address,
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }
}
