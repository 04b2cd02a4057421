//! Row 8, session: what the caller carries back must be its own.
//!
//! A legacy session is a seal over (endpoint, client and member, the upstream's session). It is opened on every request and must have
//! been begun at this endpoint by this client, for this member or for itself: an unknown one, a foreign one and a forged one are the same 404. The
//! handles inside a message (cursor, task id, `requestState`) and `Last-Event-ID` are opened in the same way. 2026-07-28
//! has no sessions: there the header means nothing.

use ::mcp::{Method, headers};
use crypto::session::UpstreamSession;

use super::{Call, EndpointEvidence, Exchange, Kind, Principal};
use crate::{
    mcp::{Handles, Opened},
    refuse::Refusal,
    snapshot::index::{AttachmentIndex, UpstreamIndex},
};

/// A legacy session that belongs to the caller.
#[derive(Debug)]
pub(crate) struct Session {
    /// As the caller presented it.
    pub(crate) presented: String,
    /// The upstream's side of it.
    pub(crate) upstream: UpstreamSession,
}

/// Evidence: whatever the caller carried back was given to it, here.
#[derive(Debug)]
pub(crate) struct BoundSession {
    session: Option<Session>,
    opened: Opened,
}

impl BoundSession {
    /// The handles, opened.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Nothing carried back.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { session: None, opened: Opened::default() }
    }

    /// Its parts, for forwarding.
    pub(crate) fn into_parts(self) -> (Option<Session>, Opened) {
        (self.session, self.opened)
    }
}

/// The server behind an endpoint.
pub(crate) fn attachment(place: &EndpointEvidence) -> Result<&AttachmentIndex, Refusal> {
    place
        .endpoint()
        .attachments
        .iter()
        .find(|attachment| attachment.upstream.enabled)
        .ok_or(Refusal::NoUpstream)
}

/// Opens session and handles.
pub(crate) fn check(
    exchange: &Exchange,
    place: &EndpointEvidence,
    attachment: &AttachmentIndex,
    principal: &Principal,
    call: &Call<'_>,
) -> Result<BoundSession, Refusal> {
    let upstream = &*attachment.upstream;
    let session =
        if call.revision().is_modern() { None } else { legacy(exchange, place, principal, call, upstream)? };
    let handles =
        Handles::new(place.tenant(), place.endpoint().id, principal.holder(), attachment.upstream.id);
    let mut opened = match call.message() {
        Some(message) => handles.open_inbound(message).map_err(|_| Refusal::StateInvalid)?,
        None => Opened::default(),
    };
    if call.kind() == Kind::OpenStream {
        let id = headers::single(exchange.headers(), &headers::LAST_EVENT_ID)
            .map_err(|_| Refusal::StateInvalid)?;
        if let Some(id) = id {
            handles.open_event_id(id, &mut opened).map_err(|_| Refusal::StateInvalid)?;
        }
    }
    Ok(BoundSession { session, opened })
}

fn legacy(
    exchange: &Exchange,
    place: &EndpointEvidence,
    principal: &Principal,
    call: &Call<'_>,
    upstream: &UpstreamIndex,
) -> Result<Option<Session>, Refusal> {
    if call.method() == Some(Method::Initialize) {
        return Ok(None);
    }
    let presented =
        headers::single(exchange.headers(), &headers::SESSION_ID).map_err(|_| Refusal::SessionNotFound)?;
    let Some(presented) = presented else {
        return match call.kind() {
            // What a session's owner alone may do: end it, and answer what the server asked in it.
            Kind::EndSession | Kind::Response => Err(Refusal::SessionRequired),
            // An upstream that keeps no sessions gave none, so none can be asked for; one that does refuses by itself.
            Kind::Request | Kind::Notification | Kind::OpenStream => Ok(None),
        };
    };
    let keys = place.tenant().crypto.session();
    let seal = crypto::session::open_for(keys, presented, place.endpoint().id, principal.holder())
        .map_err(|_| Refusal::SessionNotFound)?;
    // A session with an upstream that is no longer behind this endpoint is over.
    let upstream = seal
        .upstreams
        .into_iter()
        .find(|session| session.upstream_id == upstream.id)
        .ok_or(Refusal::SessionNotFound)?;
    Ok(Some(Session { presented: presented.to_owned(), upstream }))
}

#[cfg(test)]
mod tests;
