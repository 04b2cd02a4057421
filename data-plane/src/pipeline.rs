//! The enforcement point: every check a request passes, one line each, in order, with its reason.
//!
//! Each check takes the evidence that earlier ones returned and returns its own, which nothing else can make; so most
//! wrong orders do not compile. [`upstream::forward`] is the only way out, and takes an [`Admitted`], which is made here
//! and nowhere else.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use tracing::Instrument as _;
use wire::v1::ToolClass;

use crate::{
    admitted::{Admitted, Evidence},
    checks::{
        Cost, ReadBody, Verb, address_limit, authenticate, authorize, edge, endpoint, kill, limit, network,
        protocol, public, session, tool_pin,
    },
    drain::Phase,
    limiter,
    presented::Presented,
    refuse::Refusal,
    resource,
    timings::{Check, Laps},
    trail::Trail,
    upstream::{self, Body, Passage, Priority},
    worker::{Peer, Worker},
};

/// Serves one request, whatever it is.
pub(crate) async fn handle<B>(
    worker: &Rc<Worker>,
    peer: Peer,
    shown: Option<&Arc<Presented>>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
{
    let version = request.version();
    let (peer, told) = worker.whose(peer, request.headers());
    let mut trail = Trail::begin(worker, peer, request.headers());
    // Boxed, because hyper keeps room for this future as long as the connection is open, also while a stream idles on it.
    let mut response = match Box::pin(enforce(worker, &mut trail, (told, shown), request)).await {
        Ok(Ok(response)) => trail.answered(response),
        Ok(Err(failed)) => trail.failed(failed),
        Err(refusal) => trail.refused(&refusal),
    };
    // While draining, each response ends its connection, so that the next request goes to another proxy.
    if worker.shared.drain.phase() > Phase::Serving && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Every check, in order. `Err`: refused by one of them. `Ok(Err)`: forwarded, and failed behind.
async fn enforce<B>(
    worker: &Rc<Worker>,
    trail: &mut Trail,
    (told, shown): (Result<(), Refusal>, Option<&Arc<Presented>>),
    request: Request<B>,
) -> Result<Result<Response<Body>, upstream::Failed>, Refusal>
where
    B: http_body::Body<Data = Bytes>,
{
    let shared = &*worker.shared;
    let (head, body) = request.into_parts();
    let mut laps = Laps::begin(worker.timings.as_ref(), &*shared.clock);

    // 0 · Without configuration every endpoint would look unknown.
    shared.ready.check()?;

    // · Whatever goes by the caller's address needs to know it.
    told?;

    // 1 · Nothing is read before it is bounded.
    let exchange = laps.of(Check::Edge, edge::check(head, trail.address(), &shared.bounds))?;

    // 2 · Nothing has a meaning before the endpoint, and hence the tenant, is known.
    let place = worker.with_fleet(|fleet| endpoint::check(&exchange, fleet, &shared.hosts));
    let place = laps.of(Check::Endpoint, place)?;
    trail.at(&place);

    // 3 · What is stopped answers nobody; depends on nothing that can fail.
    laps.of(Check::KillCoarse, kill::coarse(&shared.kills, &place))?;

    // · What nobody has confirmed for too long is not enforced: who may do what may have changed since.
    laps.of(Check::Fresh, shared.ready.fresh(place.tenant().max_stale_secs))?;

    // 4 · Stops DNS rebinding before any secret is looked at.
    let reached = laps.of(Check::Network, network::check(&exchange, &place))?;
    trail.reached_from(reached.origin());

    // 5 · Protects the credential check from guessing.
    let counted = address_limit::check(&shared.addresses, place.address_rate(), &exchange, trail.started());
    let counted = laps.of(Check::AddressLimit, counted)?;

    // · The complete list of what an anonymous caller can get.
    if let Some(answer) = public::answer(&exchange, &place, &reached, &counted) {
        return Ok(Ok(answer.map(|body| if body.is_empty() { Body::empty() } else { Body::full(body) })));
    }
    if place.is_for_metadata() {
        counted.charge();
        return Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" });
    }

    // 6 · Whoever is not known learns nothing more, and fails at the cost of its address.
    let turned_away = |trail: &mut Trail| {
        counted.charge();
        trail.pointing_to(resource::pointer(&exchange, &place));
    };
    let known = authenticate::Known { tokens: &worker.tokens, proofs: &shared.proofs, shown };
    let mut principal = authenticate::check(&exchange, &place, &counted, known, trail.began());
    // A key that an issuer of others has published only now is waited for, for a moment.
    if let Err(Refusal::KeyAwaited { keys, .. }) = &principal
        && keys.come(trail.began()).await
    {
        principal = authenticate::check(&exchange, &place, &counted, known, trail.began());
    }
    let principal = laps.of(Check::Authenticate, principal).inspect_err(|_| turned_away(trail))?;
    let credential = kill::credential(&shared.kills, &place, &principal);
    laps.of(Check::KillCredential, credential).inspect_err(|_| turned_away(trail))?;
    trail.by(&principal);
    trail.with(&exchange.head().method);

    // 7 · The body is read and parsed only for someone known.
    let verb = protocol::verb(&exchange, &principal)?;
    let body = match verb {
        Verb::Post => {
            let held = &principal.client().limit.buckets.body_bytes;
            edge::read(body, place.max_request_bytes(), held, &shared.bounds).await?
        }
        Verb::Get | Verb::Delete => ReadBody::empty(),
    };
    if body.was_waited_for() {
        laps.leave_out();
    } else {
        laps.of(Check::Body, ());
    }
    trail.read(&body);
    let message = protocol::parse(verb, &body)?;
    trail.parsed(message.as_ref(), &body);
    let call = laps.of(Check::Protocol, protocol::check(&exchange, verb, message))?;
    trail.called(&call);

    // 8 · What the caller carries back must be its own.
    let attachment = session::attachment(&place)?;
    let tool = authorize::named_tool(attachment, call.target());
    trail.towards(attachment, tool);
    trail.traced(exchange.headers(), &call);
    let session = session::check(&exchange, &place, attachment, &principal, &call);
    let session = laps.of(Check::Session, session)?;
    trail.about_task(session.opened().task.as_deref());

    // 9 · The names are known only now.
    let fine = kill::fine(&shared.kills, &place, attachment, tool.map(AsRef::as_ref), &principal);
    laps.of(Check::KillFine, fine)?;

    // 10 · Before authorize, so that probing is limited too.
    let cost = Cost::of(&call, tool.map(AsRef::as_ref));
    // By the time at which the head came, unless the body kept it waiting: what is held may have ended meanwhile.
    let now = if body.was_waited_for() {
        limiter::now(&*shared.clock)
    } else {
        limiter::at(trail.began(), trail.started())
    };
    let reservation = limit::check(&shared.limiter, &place, &principal, &session, cost, now).await;
    let reservation = laps.of(Check::Limit, reservation)?;
    trail.charged();

    // 11 · Most refusals end here, cheaply.
    let permit =
        authorize::check(&worker.decisions, &place, attachment, &principal, &call, tool, &reservation);
    let permit = laps.of(Check::Authorize, permit).inspect_err(|refusal| {
        // What a token lacks can be asked for.
        if matches!(refusal, Refusal::ScopesLacking { .. }) {
            trail.pointing_to(resource::pointer(&exchange, &place));
        }
    })?;
    trail.decided_by(permit.policies());

    // 12 · Only an approved definition may be called.
    let pinned = tool_pin::check(&exchange, &call, &permit, |tool| {
        shared.watched.is_quarantined(attachment.upstream.id, tool)
    });
    let pinned = laps.of(Check::ToolPin, pinned)?;

    // A stream that would be ended at once is not begun: another proxy will keep it.
    if shared.drain.phase() > Phase::Serving && call.keeps_open() {
        return Err(Refusal::Draining);
    }

    // 13 · A server that fails is left alone, and one that has enough to do is given no more: whoever calls it waits for his turn,
    // or learns so at once, and is not charged. Last, so that nothing else is learned from it.
    let class = pinned.tool().map(|tool| tool.class);
    let priority = call.awaited().and_then(|method| Priority::of(method, class));
    let passage =
        Passage::begin(&attachment.upstream, pinned.tool(), priority, &*shared.clock, &shared.drain).await;
    let passage = laps.of(Check::Guard, passage)?;
    // It may have waited for long: meanwhile the server may have shown another definition than the approved one.
    if pinned.tool().is_some_and(|tool| shared.watched.is_quarantined(attachment.upstream.id, tool)) {
        return Err(Refusal::ToolQuarantined);
    }

    // → · Recorded first, then forwarded. A destructive call waits until its record is on disk. Whether it was killed or
    // revoked meanwhile is asked again before its first byte leaves: that is the first thing `watch::Cut` does.
    let strict = pinned.tool().is_some_and(|tool| tool.class == ToolClass::Destructive);
    let facts = trail.facts(&place, &principal);
    let evidence = Evidence {
        exchange,
        place: &place,
        attachment,
        principal: &principal,
        call: &call,
        body: &body,
        session,
        reservation,
        permit,
        pinned,
        passage,
    };
    let admitted = Admitted::new(worker, evidence);
    let intent = worker.pen.intent(facts, strict).await.map_err(Refusal::AuditUnavailable);
    let intent = laps.of(Check::Intent, intent)?;
    laps.passed();
    let forwarded = upstream::forward(&worker.pool, admitted, intent);
    Ok(if shared.trace_calls { forwarded.instrument(trail.span()).await } else { forwarded.await })
}

#[cfg(test)]
mod tests;
