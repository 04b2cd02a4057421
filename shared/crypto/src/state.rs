//! Other handles a caller carries back: cursors, task ids, `requestState`, `Last-Event-ID`, ids of requests that an
//! upstream sent through us. Sealed like a session, so that any proxy serves any of them.
//!
//! Text: base64url without padding of `0x01 ‖ data key id (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. Inside: the
//! upstream's id (16 bytes), then the upstream's own value. Kind, endpoint and principal are associated data: a cursor
//! is no task id, and a handle is worth nothing at another endpoint, to another client, or to the same client for another member.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ids::{EndpointId, UpstreamId, Uuid};
use seams::Entropy;
use zeroize::Zeroizing;

use crate::{
    aead::{NONCE, SealError, TAG, put_field},
    session::{Holder, SessionKey},
};

/// Characters a sealed handle may have.
pub const MAX_TEXT: usize = 16 * 1024;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 16;

/// What a handle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// A list's `nextCursor`.
    Cursor,
    /// A task's id.
    TaskId,
    /// `requestState` of a request that needs more input.
    RequestState,
    /// An SSE event's id, which comes back as `Last-Event-ID`.
    EventId,
    /// The id of a request from server to client.
    RequestId,
}

impl StateKind {
    /// Part of the associated data: changing a label makes every handle of the kind unusable.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Cursor => b"cursor",
            Self::TaskId => b"task id",
            Self::RequestState => b"request state",
            Self::EventId => b"event id",
            Self::RequestId => b"request id",
        }
    }
}

/// A handle, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedState {
    /// Whose value it is.
    pub upstream: UpstreamId,
    /// The upstream's own value.
    pub bytes: Vec<u8>,
}

/// Seals an upstream's value for one principal at one endpoint, with the first of `keys`.
///
/// # Errors
/// [`SealError::NoKey`] without keys, [`SealError::TooLarge`] if the text would pass [`MAX_TEXT`].
pub fn seal_state(
    keys: &[SessionKey],
    kind: StateKind,
    endpoint: EndpointId,
    principal: impl Into<Holder>,
    upstream: UpstreamId,
    bytes: &[u8],
    entropy: &dyn Entropy,
) -> Result<String, SealError> {
    let plaintext = [upstream.uuid().as_bytes().as_slice(), bytes].concat();
    seal_text(keys, &domain(kind, endpoint, principal.into()), &plaintext, MAX_TEXT, entropy)
}

/// Opens a handle of this kind that was sealed for this principal at this endpoint.
///
/// # Errors
/// [`SealError::Unauthentic`] if it was changed, or is of another kind, endpoint or principal.
pub fn open_state(
    keys: &[SessionKey],
    kind: StateKind,
    endpoint: EndpointId,
    principal: impl Into<Holder>,
    text: &str,
) -> Result<OpenedState, SealError> {
    let plaintext = open_text(keys, &domain(kind, endpoint, principal.into()), text, MAX_TEXT)?;
    let (upstream, bytes) = plaintext.split_first_chunk::<16>().ok_or(SealError::Malformed)?;
    let upstream = UpstreamId::from_uuid(Uuid::from_bytes(*upstream));
    Ok(OpenedState { upstream, bytes: bytes.to_vec() })
}

fn domain(kind: StateKind, endpoint: EndpointId, principal: Holder) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    put_field(&mut out, b"portcullis state seal");
    put_field(&mut out, kind.label());
    put_field(&mut out, endpoint.uuid().as_bytes());
    put_field(&mut out, principal.client.uuid().as_bytes());
    if let Some(member) = principal.member {
        put_field(&mut out, member.uuid().as_bytes());
    }
    out
}

/// `domain` separates sessions, kinds, endpoints and principals that share a key.
pub(crate) fn seal_text(
    keys: &[SessionKey],
    domain: &[u8],
    plaintext: &[u8],
    max_text: usize,
    entropy: &dyn Entropy,
) -> Result<String, SealError> {
    let key = keys.first().ok_or(SealError::NoKey)?;
    let length = HEADER + NONCE + plaintext.len() + TAG;
    if (length * 4).div_ceil(3) > max_text {
        return Err(SealError::TooLarge);
    }
    let mut sealed = Vec::with_capacity(length);
    sealed.push(VERSION);
    sealed.extend_from_slice(key.id.uuid().as_bytes());
    let aad = associated(&sealed, domain);
    key.key.seal_onto(&mut sealed, &aad, plaintext, entropy)?;
    Ok(URL_SAFE_NO_PAD.encode(&sealed))
}

pub(crate) fn open_text(
    keys: &[SessionKey],
    domain: &[u8],
    text: &str,
    max_text: usize,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if text.len() > max_text {
        return Err(SealError::Malformed);
    }
    let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Malformed)?;
    let (header, body) = sealed.split_first_chunk::<HEADER>().ok_or(SealError::Malformed)?;
    let [version, id @ ..] = header;
    if *version != VERSION {
        return Err(SealError::UnknownVersion);
    }
    let key = keys.iter().find(|key| key.id.uuid().as_bytes() == id).ok_or(SealError::UnknownKey)?;
    key.key.open(&associated(header, domain), body)
}

fn associated(header: &[u8], domain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + header.len() + domain.len());
    put_field(&mut out, header);
    put_field(&mut out, domain);
    out
}
