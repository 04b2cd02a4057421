//! A call that has passed every check: the only thing that may be forwarded. Made at one place, at the end of
//! `pipeline.rs`, out of the evidence of all rows.

use std::{any::Any, net::IpAddr, rc::Rc, sync::Arc};

use ::mcp::{Method, raw::Edits};
use bytes::Bytes;
use ids::UpstreamId;

use crate::{
    checks::{
        BoundSession, Call, EndpointEvidence, Exchange, Kind, Permit, PinnedCall, Principal, ReadBody,
        Reservation, authorize,
    },
    mcp::Opened,
    meters::Counted,
    snapshot::index::{AttachmentIndex, UpstreamIndex},
    upstream::{Dispatch, Outgoing, Passage, Session},
    visible::View,
    watch::{Cut, Standing},
    worker::Worker,
};

/// A call with proof of every check.
pub(crate) struct Admitted {
    worker: Rc<Worker>,
    place: EndpointEvidence,
    upstream: Arc<UpstreamIndex>,
    prefix: Box<str>,
    principal: Principal,
    address: IpAddr,
    revision: ::mcp::Revision,
    outgoing: Outgoing,
    keeps_open: bool,
    body: Bytes,
    headers: http::HeaderMap,
    mcp_name: Option<String>,
    session: Option<Session>,
    opened: Opened,
    reservation: Reservation,
    permit: Permit,
    passage: Passage,
    _pinned: PinnedCall,
}

/// Everything the checks have proved, as it is spent on [`Admitted`].
pub(crate) struct Evidence<'a> {
    pub(crate) exchange: Exchange,
    pub(crate) place: &'a EndpointEvidence,
    pub(crate) attachment: &'a AttachmentIndex,
    pub(crate) principal: &'a Principal,
    pub(crate) call: &'a Call<'a>,
    pub(crate) body: &'a ReadBody,
    pub(crate) session: BoundSession,
    pub(crate) reservation: Reservation,
    pub(crate) permit: Permit,
    pub(crate) pinned: PinnedCall,
    pub(crate) passage: Passage,
}

impl Admitted {
    /// Admits. The message's bytes change only where a name loses its prefix or a handle becomes the upstream's own.
    pub(crate) fn new(worker: &Rc<Worker>, evidence: Evidence<'_>) -> Self {
        let Evidence { call, attachment, .. } = evidence;
        let name = bare_name(call, attachment);
        let (session, opened) = evidence.session.into_parts();
        let address = evidence.exchange.address();
        let body = rewritten(evidence.body.bytes(), call, name, &opened);
        let mcp_name = opened.mcp_name.clone().or_else(|| name.map(str::to_owned));
        let session = session.map(|session| Session {
            presented: session.presented.into(),
            address: session.upstream.address.parse().ok(),
            upstream_session: session.upstream.session_id.into(),
        });
        Self {
            worker: Rc::clone(worker),
            place: evidence.place.clone(),
            upstream: Arc::clone(&attachment.upstream),
            prefix: attachment.prefix.clone(),
            principal: evidence.principal.clone(),
            address,
            revision: call.revision(),
            outgoing: outgoing(call),
            keeps_open: call.keeps_open(),
            body,
            headers: evidence.exchange.into_headers(),
            mcp_name,
            session,
            opened,
            reservation: evidence.reservation,
            permit: evidence.permit,
            passage: evidence.passage,
            _pinned: evidence.pinned,
        }
    }

    /// Spends the reservation and hands over what the upstream needs to know.
    pub(crate) fn into_dispatch(self) -> Dispatch {
        let max_response_bytes = self.place.max_response_bytes();
        let (worker, tenant, endpoint) =
            (self.worker, self.place.tenant().clone(), self.place.endpoint().clone());
        let caller = self.principal.holder();
        let upstream: UpstreamId = self.upstream.id;
        let visible = Rc::new(View::new(Rc::clone(&worker), tenant.id, self.principal.clone(), upstream));
        let hold: Box<dyn Any> =
            Box::new(Hold { _leases: self.reservation.keep(), _in_flight: worker.meters.in_flight() });
        let standing = Standing {
            tenant: Arc::clone(&tenant),
            endpoint: Arc::clone(&endpoint),
            upstream,
            principal: self.principal,
            address: self.address,
            grounds: self.permit.into_grounds(),
            keeps_open: self.keeps_open,
        };
        Dispatch {
            visible,
            max_response_bytes,
            tenant,
            endpoint,
            upstream: self.upstream,
            prefix: self.prefix,
            caller,
            revision: self.revision,
            outgoing: self.outgoing,
            body: self.body,
            headers: self.headers,
            mcp_name: self.mcp_name,
            session: self.session,
            opened: self.opened,
            passage: self.passage,
            hold,
            cut: Box::pin(Cut::new(worker, standing)),
        }
    }
}

/// What lasts exactly as long as a call.
struct Hold {
    _leases: crate::limiter::Leases,
    _in_flight: Counted,
}

/// The upstream's own name, where the caller's differs from it.
fn bare_name<'a>(call: &'a Call<'_>, attachment: &AttachmentIndex) -> Option<&'a str> {
    use ::mcp::Target;
    match call.target() {
        Target::Tool { name, .. } | Target::Prompt { name, .. } | Target::CompletePrompt { name }
            if !attachment.prefix.is_empty() =>
        {
            authorize::original(attachment, name)
        }
        _ => None,
    }
}

fn rewritten(body: &Bytes, call: &Call<'_>, name: Option<&str>, opened: &Opened) -> Bytes {
    let mut edits = Edits::new();
    for (range, bytes) in &opened.edits {
        edits.replace(range.clone(), bytes.as_slice());
    }
    let params = call.message().and_then(::mcp::envelope::Message::params);
    // `initialize` leads to no revision of the later era, whatever a client of both asks for: a server that took it at its
    // word would speak what the client, after this handshake, does not.
    if call.method() == Some(Method::Initialize)
        && let Some(asked) = params.and_then(|params| params.protocol_version())
        && !asked.is_str(call.revision().as_str())
    {
        edits.replace_string(asked.range(), call.revision().as_str());
    }
    if let (Some(name), Some(params)) = (name, params) {
        // `completion/complete` names its prompt in `ref`.
        let place = params.name().or_else(|| params.reference().and_then(|reference| reference.get("name")));
        if let Some(place) = place {
            edits.replace_string(place.range(), name);
        }
    }
    if edits.is_empty() { body.clone() } else { Bytes::from(edits.apply(body)) }
}

fn outgoing(call: &Call<'_>) -> Outgoing {
    match (call.kind(), call.method(), call.message().and_then(::mcp::envelope::Message::id)) {
        (Kind::OpenStream, ..) => Outgoing::Listen,
        (Kind::EndSession, ..) => Outgoing::End,
        (Kind::Request, Some(method), Some(id)) => Outgoing::Request { id: id.as_bytes().into(), method },
        (Kind::Response, ..) => Outgoing::Response,
        _ => Outgoing::Notification,
    }
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admitted").field("upstream", &self.upstream.id).finish_non_exhaustive()
    }
}
