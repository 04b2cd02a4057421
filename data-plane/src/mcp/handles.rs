//! Handles: values of an upstream that a caller carries and brings back — cursors, task ids, `requestState`, event ids,
//! ids of the upstream's own requests.
//!
//! Outward each is sealed to the endpoint, the client with its member, and the upstream; inward each must open for exactly these. So
//! possession of somebody else's handle is worth nothing, and any proxy serves any of them. Only the value's own bytes are
//! replaced in a message.

use std::{borrow::Cow, ops::Range, sync::Arc};

use ::mcp::{
    Method,
    envelope::{MAX_ID_BYTES, Message, Outcome, Params},
    raw::{Kind, Raw, json_string},
};
use crypto::{
    Holder, SealError,
    digest::{Digest, sha256_parts},
    state::{StateKind, open_state, seal_state},
};
use ids::{EndpointId, UpstreamId};
use seams::Entropy;

use super::answer::subscribed_tasks;
use crate::snapshot::index::TenantIndex;

/// `_meta` member that ties a message to a task (2025-11-25).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// Around a JSON string.
const QUOTES: usize = 2;

/// A handle that does not open here. Which and why stays unsaid: all the caller may learn is that it is not theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("handle does not open for this caller here")]
pub(crate) struct HandleError;

/// Seals and opens the handles of one caller at one upstream of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Handles {
    tenant: Arc<TenantIndex>,
    endpoint: EndpointId,
    holder: Holder,
    upstream: UpstreamId,
}

/// What a caller brought, opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opened {
    /// Replacements in the caller's message.
    pub(crate) edits: Vec<(Range<usize>, Vec<u8>)>,
    /// What `Mcp-Name` must say to the upstream, where it names a handle.
    pub(crate) mcp_name: Option<String>,
    /// The upstream's own task id, for the record.
    pub(crate) task: Option<String>,
    /// Where a stream resumes.
    pub(crate) resume: Option<Resume>,
    /// Task ids by the text the caller knows them under.
    echo: Vec<(String, String)>,
    /// What the caller's request asks, and of what: its `requestState` comes back with the same.
    asked: Asked,
}

/// A request's method and what it names: tool, prompt, resource or task. A server may trust its `requestState` to be
/// brought back with the question that it was made for.
#[derive(Debug, Clone, Default)]
struct Asked {
    method: Option<Method>,
    target: Box<str>,
}

impl Asked {
    fn of(method: Option<Method>, params: &Params<'_>) -> Self {
        let target = params.name().or_else(|| params.uri()).or_else(|| params.task_id());
        Self { method, target: target.and_then(Raw::string).unwrap_or_default().into() }
    }

    fn digest(&self) -> Digest {
        // One task is read, fed and ended by different methods.
        let method = match self.method {
            Some(Method::TasksGet | Method::TasksCancel | Method::TasksResult | Method::TasksUpdate) => {
                "tasks"
            }
            Some(method) => method.as_str(),
            None => "",
        };
        sha256_parts(&[method.as_bytes(), b"\n", self.target.as_bytes()])
    }
}

/// Where a stream resumes, and which request it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The upstream's own event id.
    pub(crate) event: String,
    /// The request whose response may come on the stream; `None` for a stream that answers none.
    pub(crate) request: Option<(Method, Box<[u8]>)>,
}

/// Callers compare ids of tasks and of requests, so equal ids must give equal handles. AES-GCM-SIV keeps its promises under a
/// repeated nonce, except that equal values show as equal, which is what is wanted.
#[derive(Debug)]
struct SameNonce;

impl Entropy for SameNonce {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0);
    }
}

impl Handles {
    /// For one caller at one upstream of one endpoint.
    pub(crate) fn new(
        tenant: &Arc<TenantIndex>,
        endpoint: EndpointId,
        holder: impl Into<Holder>,
        upstream: UpstreamId,
    ) -> Self {
        Self { tenant: tenant.clone(), endpoint, holder: holder.into(), upstream }
    }

    /// Whose handles they are.
    pub(crate) const fn holder(&self) -> Holder {
        self.holder
    }

    fn seal(&self, kind: StateKind, value: &[u8], entropy: &dyn Entropy) -> Result<String, SealError> {
        let keys = self.tenant.crypto.session();
        seal_state(keys, kind, self.endpoint, self.holder, self.upstream, value, entropy)
    }

    fn open(&self, kind: StateKind, text: &str) -> Result<String, HandleError> {
        String::from_utf8(self.open_bytes(kind, text)?).map_err(|_| HandleError)
    }

    fn open_bytes(&self, kind: StateKind, text: &str) -> Result<Vec<u8>, HandleError> {
        let keys = self.tenant.crypto.session();
        let opened = open_state(keys, kind, self.endpoint, self.holder, text).map_err(|_| HandleError)?;
        if opened.upstream != self.upstream {
            return Err(HandleError);
        }
        Ok(opened.bytes)
    }

    fn open_value(&self, kind: StateKind, value: Raw<'_>) -> Result<(String, String), HandleError> {
        let sealed = value.string().ok_or(HandleError)?;
        Ok((self.open(kind, &sealed)?, sealed.into_owned()))
    }

    /// Opens every handle in a caller's message.
    ///
    /// # Errors
    /// [`HandleError`] when one does not open for this client here.
    pub(crate) fn open_inbound(&self, message: &Message<'_>) -> Result<Opened, HandleError> {
        let mut opened = Opened::default();
        match message {
            Message::Request(request) => {
                let method = Method::parse(&request.method);
                opened.asked = Asked::of(method, &request.params);
                self.open_params(method, &request.params, &mut opened)?;
                self.open_related(request.params.meta_members().related_task(), true, &mut opened)?;
            }
            Message::Notification(notification) => {
                self.open_related(notification.params.meta_members().related_task(), false, &mut opened)?;
            }
            Message::Response(response) => {
                // Only a question that was put to this caller can be answered.
                let id = response.id.ok_or(HandleError)?.raw();
                let (value, _) = self.open_value(StateKind::RequestId, id)?;
                opened.edits.push((id.range(), value.into_bytes()));
                if let Outcome::Result(result) = &response.outcome {
                    let related = result.meta().and_then(|meta| meta.get(RELATED_TASK));
                    self.open_related(related, false, &mut opened)?;
                }
            }
        }
        Ok(opened)
    }

    fn open_params(
        &self,
        method: Option<Method>,
        params: &Params<'_>,
        opened: &mut Opened,
    ) -> Result<(), HandleError> {
        if let Some(cursor) = params.cursor() {
            let (value, _) = self.open_value(StateKind::Cursor, cursor)?;
            opened.edits.push((cursor.range(), json_string(&value)));
        }
        if let Some(state) = params.request_state() {
            let sealed = state.string().ok_or(HandleError)?;
            let bytes = self.open_bytes(StateKind::RequestState, &sealed)?;
            let (asked, value) = bytes.split_first_chunk().ok_or(HandleError)?;
            if *asked != opened.asked.digest() {
                return Err(HandleError);
            }
            let value = std::str::from_utf8(value).map_err(|_| HandleError)?;
            opened.edits.push((state.range(), json_string(value)));
        }
        let names_task = matches!(
            method,
            Some(Method::TasksGet | Method::TasksCancel | Method::TasksResult | Method::TasksUpdate)
        );
        if names_task && let Some(task) = params.task_id() {
            let (value, sealed) = self.open_value(StateKind::TaskId, task)?;
            opened.edits.push((task.range(), json_string(&value)));
            opened.mcp_name = Some(value.clone());
            opened.task = Some(value.clone());
            opened.echo.push((value, sealed));
        }
        for task in params.notifications().into_iter().flat_map(subscribed_tasks) {
            let (value, sealed) = self.open_value(StateKind::TaskId, task)?;
            opened.edits.push((task.range(), json_string(&value)));
            opened.echo.push((value, sealed));
        }
        Ok(())
    }

    /// `_meta`'s tie to a task. Tasks that the caller itself keeps for the server have ids of its own making: in what
    /// answers or informs the server they pass as they are.
    fn open_related(
        &self,
        related: Option<Raw<'_>>,
        strict: bool,
        opened: &mut Opened,
    ) -> Result<(), HandleError> {
        let Some(task) = related.and_then(|related| related.get("taskId")) else { return Ok(()) };
        match self.open_value(StateKind::TaskId, task) {
            Ok((value, sealed)) => {
                opened.edits.push((task.range(), json_string(&value)));
                opened.echo.push((value, sealed));
                Ok(())
            }
            Err(error) if strict => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Opens `Last-Event-ID`.
    ///
    /// # Errors
    /// [`HandleError`] when it does not open for this client here.
    pub(crate) fn open_event_id(&self, text: &str, opened: &mut Opened) -> Result<(), HandleError> {
        let value = self.open(StateKind::EventId, text)?;
        let mut parts = value.splitn(3, '\n');
        let (Some(method), Some(id), Some(event)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HandleError);
        };
        let request = match method {
            "" => None,
            method => Some((Method::parse(method).ok_or(HandleError)?, id.as_bytes().into())),
        };
        opened.resume = Some(Resume { event: event.to_owned(), request });
        Ok(())
    }

    /// Seals an event id, together with the request its stream answers, so that what comes on a resumed stream is
    /// treated as what it answers.
    pub(crate) fn seal_event_id(
        &self,
        event: &str,
        request: Option<(Method, &[u8])>,
        entropy: &dyn Entropy,
    ) -> Result<String, SealError> {
        let (method, id) = request.map_or(("", &[][..]), |(method, id)| (method.as_str(), id));
        let value = [method.as_bytes(), b"\n", id, b"\n", event.as_bytes()].concat();
        self.seal(StateKind::EventId, &value, entropy)
    }

    /// Seals a cursor.
    pub(crate) fn seal_cursor(&self, cursor: &str, entropy: &dyn Entropy) -> Result<String, SealError> {
        self.seal(StateKind::Cursor, cursor.as_bytes(), entropy)
    }

    /// Seals `requestState`, together with what was asked when it was given.
    pub(crate) fn seal_request_state(
        &self,
        state: &str,
        opened: &Opened,
        entropy: &dyn Entropy,
    ) -> Result<String, SealError> {
        let value = [&opened.asked.digest(), state.as_bytes()].concat();
        self.seal(StateKind::RequestState, &value, entropy)
    }

    /// Seals the id of a request from server to client, raw JSON; `None` for one too long to come back.
    pub(crate) fn seal_request_id(&self, id: &[u8]) -> Result<Option<String>, SealError> {
        let sealed = self.seal(StateKind::RequestId, id, &SameNonce)?;
        Ok((sealed.len() + QUOTES <= MAX_ID_BYTES).then_some(sealed))
    }

    /// Seals a task id; one the caller presented in this exchange looks again as it presented it.
    pub(crate) fn seal_task<'o>(&self, task: &str, opened: &'o Opened) -> Result<Cow<'o, str>, SealError> {
        match opened.echo.iter().find(|(value, _)| value == task) {
            Some((_, sealed)) => Ok(Cow::Borrowed(sealed)),
            None => self.seal(StateKind::TaskId, task.as_bytes(), &SameNonce).map(Cow::Owned),
        }
    }
}

/// The places of task ids in a result or in params of an upstream's message.
pub(super) fn task_ids(value: Raw<'_>) -> Vec<Raw<'_>> {
    let mut found = Vec::new();
    found.extend(value.get("taskId"));
    found.extend(value.path(&["task", "taskId"]));
    if let Some(tasks) = value.get("tasks") {
        found.extend(tasks.elements().filter_map(|task| task.get("taskId")));
    }
    found.extend(related_task(value));
    found.retain(|task| task.kind() == Kind::String);
    found
}

/// The id in `_meta`'s tie to a task.
pub(super) fn related_task(value: Raw<'_>) -> Option<Raw<'_>> {
    value.path(&["_meta", RELATED_TASK, "taskId"]).filter(|task| task.kind() == Kind::String)
}

#[cfg(test)]
mod tests;
