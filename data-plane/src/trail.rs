//! What is known of a request so far: for its refusal, its audit record and its metrics. It decides nothing.

mod span;

use std::{borrow::Cow, net::IpAddr, rc::Rc, sync::Arc};

use ::mcp::{
    Method, Revision, Target,
    envelope::{self, Message},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use ids::{CallId, ToolId, UpstreamId};
use seams::{Monotonic, Timestamp};
use telemetry::field;

use crate::{
    audit::{CallFacts, End},
    checks::{Call, EndpointEvidence, Principal, ReadBody, network},
    meters::Label,
    refuse::{self, Addressee, Refusal},
    resource::Pointer,
    snapshot::index::{AttachmentIndex, ToolIndex},
    upstream::{Body, Failed, UpstreamError},
    worker::{Peer, Worker},
};

/// Echoed when the caller sent one, and on every refusal.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a caller's request id that is kept.
const MAX_REQUEST_ID: usize = 128;

/// The trail of one request.
pub(crate) struct Trail {
    worker: Rc<Worker>,
    peer: Peer,
    call: CallId,
    /// When it began, by both of the clock's times; what comes later is told by the one that does not step back.
    began: Timestamp,
    started: Monotonic,
    request_id: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    /// Where somebody who was not let in finds out how.
    pointer: Option<Pointer>,
    place: Option<EndpointEvidence>,
    principal: Option<Principal>,
    /// Raw JSON-RPC id, once the body has shown that it is a request.
    id: Option<Bytes>,
    method: Option<Method>,
    method_name: Cow<'static, str>,
    revision: Option<Revision>,
    upstream: Option<UpstreamId>,
    target: String,
    tool: Option<ToolId>,
    policies: Vec<String>,
    arguments: Bytes,
    bytes_in: u64,
    /// A limit has been charged for the request.
    charged: bool,
    span: tracing::Span,
}

impl Trail {
    pub(crate) fn begin(worker: &Rc<Worker>, peer: Peer, headers: &HeaderMap) -> Self {
        let began = worker.shared.clock.now();
        Self {
            call: worker.call_id(began),
            began,
            started: worker.shared.clock.monotonic(),
            worker: Rc::clone(worker),
            peer,
            request_id: headers.get(REQUEST_ID).filter(|id| is_request_id(id)).cloned(),
            origin: None,
            pointer: None,
            place: None,
            principal: None,
            id: None,
            method: None,
            method_name: Cow::Borrowed(""),
            revision: None,
            upstream: None,
            target: String::new(),
            tool: None,
            policies: Vec::new(),
            arguments: Bytes::new(),
            bytes_in: 0,
            charged: false,
            span: tracing::Span::none(),
        }
    }

    pub(crate) fn started(&self) -> Monotonic {
        self.started
    }

    pub(crate) fn began(&self) -> Timestamp {
        self.began
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.peer.address.ip()
    }

    pub(crate) fn at(&mut self, place: &EndpointEvidence) {
        self.place = Some(place.clone());
    }

    pub(crate) fn reached_from(&mut self, origin: Option<&HeaderValue>) {
        self.origin = origin.cloned();
    }

    /// Whoever is not let in is told where to find out how.
    pub(crate) fn pointing_to(&mut self, pointer: Pointer) {
        self.pointer = Some(pointer);
    }

    pub(crate) fn by(&mut self, principal: &Principal) {
        self.principal = Some(principal.clone());
    }

    /// The HTTP method stands for the JSON-RPC method until there is one.
    pub(crate) fn with(&mut self, method: &http::Method) {
        self.method_name = match *method {
            http::Method::POST => Cow::Borrowed("POST"),
            http::Method::GET => Cow::Borrowed("GET"),
            http::Method::DELETE => Cow::Borrowed("DELETE"),
            _ => Cow::Borrowed("other"),
        };
    }

    pub(crate) fn read(&mut self, body: &ReadBody) {
        self.bytes_in = body.bytes().len() as u64;
    }

    /// A JSON-RPC message: from now on a refusal is answered to its id.
    pub(crate) fn parsed(&mut self, message: Option<&Message<'_>>, body: &ReadBody) {
        let Some(message) = message else { return };
        if let Message::Request(request) = message {
            self.id = Some(body.bytes().slice(request.id.raw().range()));
        }
        if let Some(method) = message.method().and_then(Method::parse) {
            self.method = Some(method);
            self.method_name = Cow::Borrowed(method.as_str());
        }
        if let Some(arguments) = message.params().and_then(envelope::Params::arguments) {
            self.arguments = body.bytes().slice(arguments.range());
        }
    }

    pub(crate) fn called(&mut self, call: &Call<'_>) {
        self.revision = Some(call.revision());
        if self.method.is_none() {
            self.method_name = Cow::Borrowed(call.method_name());
        }
        self.target = match call.target() {
            Target::Tool { name, .. } | Target::Prompt { name, .. } | Target::CompletePrompt { name } => name,
            Target::Resource { uri } | Target::CompleteResource { uri } => uri,
            Target::Task { .. } | Target::Listen { .. } | Target::Nothing => "",
        }
        .to_owned();
    }

    /// The upstream, and its own names for what is asked.
    pub(crate) fn towards(&mut self, attachment: &AttachmentIndex, tool: Option<&Arc<ToolIndex>>) {
        self.upstream = Some(attachment.upstream.id);
        if let Some(tool) = tool {
            self.tool = Some(tool.id);
        }
        let named =
            matches!(self.method, Some(Method::ToolsCall | Method::PromptsGet | Method::CompletionComplete));
        if named && let Some(original) = self.target.strip_prefix(&*attachment.prefix) {
            self.target.drain(..self.target.len() - original.len());
        }
    }

    /// A task, by the upstream's own id.
    pub(crate) fn about_task(&mut self, task: Option<&str>) {
        if let Some(task) = task {
            task.clone_into(&mut self.target);
        }
    }

    /// Row 10 is passed: how many requests come so far is bounded.
    pub(crate) fn charged(&mut self) {
        self.charged = true;
    }

    /// Whether a refusal gets a record of its own: as many as limits allow, and a bounded number beside.
    fn is_recorded_alone(&self, principal: &Principal) -> bool {
        self.charged || principal.client().limit.records_refusal(self.started)
    }

    pub(crate) fn decided_by(&mut self, policies: &[Box<str>]) {
        self.policies = policies.iter().map(|policy| String::from(&**policy)).collect();
    }

    /// What the records of a call have in common.
    pub(crate) fn facts(&mut self, place: &EndpointEvidence, principal: &Principal) -> CallFacts {
        CallFacts {
            tenant: Arc::clone(place.tenant()),
            call: self.call,
            client: Some(principal.client_id()),
            member: principal.holder().member,
            key: principal.shown().key(),
            token: principal.shown().token(),
            shown_by: principal.by(),
            certificate: principal.certificate(),
            external: principal.of().map(|(issuer, subject)| {
                let keys = place.tenant().crypto.current();
                (issuer, keys.map(|keys| keys.audit_mac.mac(&[subject.as_bytes()])))
            }),
            address: self.peer.address.ip(),
            endpoint: place.endpoint().id,
            upstream: self.upstream,
            method: self.method_name.clone(),
            target: std::mem::take(&mut self.target),
            tool: self.tool,
            policies: std::mem::take(&mut self.policies),
            arguments: std::mem::take(&mut self.arguments),
            protocol_version: self.revision.map_or("", Revision::as_str),
            request_id: self
                .request_id
                .as_ref()
                .and_then(|id| id.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            bytes_in: self.bytes_in,
            began: self.began,
            started: self.started,
        }
    }

    /// Begins the span of the call towards the agent; only where spans are exported.
    pub(crate) fn traced(&mut self, headers: &HeaderMap, call: &Call<'_>) {
        if self.worker.shared.trace_calls {
            self.span = span::of(self, span::Traces::of(headers, call.message()));
        }
    }

    pub(crate) fn span(&self) -> tracing::Span {
        self.span.clone()
    }

    /// Completes a response that is going out.
    pub(crate) fn answered(&self, mut response: Response<Body>) -> Response<Body> {
        self.meter(None);
        self.complete(response.headers_mut(), false);
        response
    }

    /// Renders a refusal, and records it.
    pub(crate) fn refused(&mut self, refusal: &Refusal) -> Response<Body> {
        let rendered = self.render(refusal);
        let (code, status) = (refusal.code(), rendered.status.as_u16());
        if !refusal.policies().is_empty() {
            self.decided_by(refusal.policies());
        }
        let recorder = &self.worker.shared.recorder.clone();
        match (self.place.clone(), self.principal.clone()) {
            (Some(place), Some(principal)) if self.is_recorded_alone(&principal) => {
                recorder.refused(&self.facts(&place, &principal), code, status, &rendered.body);
            }
            // Whose caller is not known, or sends too many: counted, not recorded one by one.
            (place, _) => {
                if let Some(place) = place {
                    let tenant = place.tenant();
                    recorder.count(tenant.id, tenant.rev, place.endpoint().id, self.peer.address.ip(), code);
                }
            }
        }
        self.finish(rendered)
    }

    /// Renders a failure of the upstream, and records it as the outcome of the call that was forwarded.
    pub(crate) fn failed(&mut self, failed: Failed) -> Response<Body> {
        let cut = matches!(failed.error, UpstreamError::Cut(_));
        let refusal = Refusal::Upstream(failed.error);
        let rendered = self.render(&refusal);
        failed.intent.finish_now(End {
            code: Some(refusal.code()),
            status: rendered.status.as_u16(),
            body: &rendered.body,
            cut,
        });
        self.finish(rendered)
    }

    fn render(&self, refusal: &Refusal) -> refuse::Rendered {
        let name = self.name();
        self.span.record(field::ERROR_TYPE, refusal.code().slug());
        self.span.in_scope(|| refusal.log(&name, self.principal.is_some()));
        let addressee = self.id.as_deref().map_or(Addressee::Http, Addressee::Request);
        self.worker.meters.refused(refusal.code());
        self.meter(Some(refusal.code()));
        refuse::render(refusal, addressee, &name, self.pointer.as_ref())
    }

    fn finish(&self, rendered: refuse::Rendered) -> Response<Body> {
        let mut response = rendered.into_response();
        self.complete(response.headers_mut(), true);
        response
    }

    /// The id by which logs know the request: the caller's, else the call's.
    fn name(&self) -> Cow<'_, str> {
        match self.request_id.as_ref().and_then(|id| id.to_str().ok()) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.call.to_string()),
        }
    }

    fn meter(&self, code: Option<errors::ErrorCode>) {
        let took = self.worker.shared.clock.monotonic().since(self.started);
        let label = Label { method: self.method, revision: self.revision, code };
        self.worker.meters.ended(label, took, self.principal.is_some());
    }

    /// Headers that every response has where they apply.
    fn complete(&self, headers: &mut HeaderMap, refused: bool) {
        if let Some(origin) = &self.origin {
            network::expose(origin, headers);
        }
        if let Some(id) = &self.request_id {
            headers.insert(REQUEST_ID, id.clone());
        } else if refused && let Ok(id) = HeaderValue::try_from(self.call.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        if self.peer.tls {
            listen::headers::protect(headers);
            listen::headers::stay_encrypted(headers);
        }
    }
}

fn is_request_id(id: &HeaderValue) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}
