//! One message of an upstream, held whole: is it what was asked for, may it pass, and what must be rewritten in it.

use std::borrow::Cow;

use ::mcp::{
    Method, Revision,
    envelope::{self, Message, Outcome, RawId, Response, ResultMembers},
    list::{self, Item, ListKind, Verdict},
    raw::{Edits, Kind, Raw},
};
use crypto::SealError;

use super::{
    handles::{related_task, task_ids},
    speaker::Speaker,
};
use crate::upstream::{Fault, UpstreamError};

/// A request that waits for its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Raw JSON.
    pub(crate) id: Box<[u8]>,
    /// What it asks.
    pub(crate) method: Method,
}

/// What a message of an upstream comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The response that is waited for. `None`: its bytes as they came.
    Answer { rewritten: Option<Vec<u8>>, is_error: bool },
    /// A request or notification for the caller.
    Pass(Option<Vec<u8>>),
    /// A request that is not passed on; the server is told so under this id.
    Declined(Box<[u8]>),
    /// Something that is not passed on.
    Withheld,
}

impl Speaker {
    /// Looks at one message. `request` is the one whose response may come.
    ///
    /// # Errors
    /// When it is no message, or a response that cannot be passed on.
    pub(crate) fn hear(&self, request: Option<&Request>, body: &[u8]) -> Result<Said, UpstreamError> {
        if body.len() > self.max_message {
            return Err(UpstreamError::TooLarge);
        }
        let message = envelope::parse(body).map_err(Fault::Message)?;
        match message {
            Message::Response(response) => match request {
                Some(request) if answers(&response, request) => self.answer(request.method, &response, body),
                _ => Ok(Said::Withheld),
            },
            Message::Request(asked) => {
                let open = Method::parse(&asked.method).is_some_and(|method| self.may_send(method));
                let id = if open { self.handles.seal_request_id(asked.id.as_bytes())? } else { None };
                let Some(id) = id else { return Ok(Said::Declined(asked.id.as_bytes().into())) };
                let mut edits = Edits::new();
                edits.replace_string(asked.id.raw().range(), &id);
                self.pass(edits, asked.params.raw().and_then(related_task).as_slice(), body)
            }
            Message::Notification(told) => {
                let Some(method) = Method::parse(&told.method).filter(|method| self.may_send(*method)) else {
                    return Ok(Said::Withheld);
                };
                match method {
                    Method::ResourceUpdated => {
                        let uri = told.params.uri().and_then(Raw::string);
                        if !uri.is_some_and(|uri| self.visible.resource(&uri)) {
                            return Ok(Said::Withheld);
                        }
                    }
                    Method::ToolsListChanged => self.watched.list_changed(self.tenant.id, self.upstream.id),
                    _ => {}
                }
                let mut edits = Edits::new();
                // A server cancels what it asked itself, known to the client under the sealed id. From 2026-07-28 on it
                // asks nothing in this way.
                if method == Method::Cancelled
                    && !self.revision.is_modern()
                    && let Some(asked) = told.params.raw().and_then(|params| params.get("requestId"))
                {
                    let Some(id) = self.handles.seal_request_id(asked.as_bytes())? else {
                        return Ok(Said::Withheld);
                    };
                    edits.replace_string(asked.range(), &id);
                }
                let mut tasks: Vec<_> = match (method, told.params.raw()) {
                    (Method::TaskStatus | Method::Task, Some(params)) => task_ids(params),
                    (_, Some(params)) => related_task(params).into_iter().collect(),
                    (_, None) => Vec::new(),
                };
                tasks.extend(told.params.notifications().into_iter().flat_map(subscribed_tasks));
                self.pass(edits, &tasks, body)
            }
        }
    }

    fn pass(&self, mut edits: Edits<'_>, tasks: &[Raw<'_>], body: &[u8]) -> Result<Said, UpstreamError> {
        self.seal_tasks(&mut edits, tasks.iter().copied())?;
        Ok(Said::Pass((!edits.is_empty()).then(|| edits.apply(body))))
    }

    fn answer(&self, method: Method, response: &Response<'_>, body: &[u8]) -> Result<Said, UpstreamError> {
        let result = match &response.outcome {
            Outcome::Error(_) => return Ok(Said::Answer { rewritten: None, is_error: true }),
            Outcome::Result(result) => result,
        };
        let mut edits = Edits::new();
        self.rewrite(&mut edits, method, result)?;
        let rewritten = (!edits.is_empty()).then(|| edits.apply(body));
        Ok(Said::Answer { rewritten, is_error: false })
    }

    fn rewrite<'e>(
        &'e self,
        edits: &mut Edits<'e>,
        method: Method,
        result: &ResultMembers<'_>,
    ) -> Result<(), UpstreamError> {
        let raw = result.raw();
        match method {
            Method::Initialize => negotiated(result)?,
            Method::Discover => list::discover(edits, raw).map_err(Fault::List)?,
            _ => {}
        }
        if let Some(kind) = ListKind::of(method) {
            self.filter(edits, kind, raw)?;
        } else if is_list(result) {
            return Err(Fault::NotTheResponse.into());
        } else if result.cache_scope().is_some() {
            // Whatever an endpoint answers depends on who asks.
            list::make_private(edits, raw, self.revision);
        }
        if let Some(state) = result.request_state()
            && let Some(text) = state.string()
        {
            let sealed = self.handles.seal_request_state(&text, &self.opened, &*self.entropy)?;
            edits.replace_string(state.range(), &sealed);
        }
        if let Some(asked) = result.input_requests() {
            self.look_at_input_requests(asked)?;
        }
        // Most results name no task, and finding that out costs a walk only where one could.
        let names_task = result.task_id().is_some() || result.task().is_some();
        if names_task || result.meta().is_some() {
            let tasks = match (names_task, method) {
                (true, Method::ToolsCall) if !creates_task(result) => related_task(raw).into_iter().collect(),
                (true, _) => task_ids(raw),
                (false, _) => related_task(raw).into_iter().collect::<Vec<_>>(),
            };
            self.seal_tasks(edits, tasks)?;
        }
        Ok(())
    }

    /// From 2026-07-28 on the server's questions to the client travel in results: a question the endpoint has
    /// switched off does not.
    fn look_at_input_requests(&self, asked: Raw<'_>) -> Result<(), UpstreamError> {
        for (_, question) in asked.members() {
            let method = question.get("method").and_then(Raw::string).and_then(|name| Method::parse(&name));
            let open = matches!(
                method,
                Some(method @ (Method::ElicitationCreate | Method::SamplingCreateMessage | Method::RootsList))
                    if self.is_open(method)
            );
            if !open {
                return Err(Fault::Question.into());
            }
        }
        Ok(())
    }

    fn filter<'e>(
        &'e self,
        edits: &mut Edits<'e>,
        kind: ListKind,
        result: Raw<'_>,
    ) -> Result<(), UpstreamError> {
        let mut failed: Option<SealError> = None;
        let decide = |item: &Item<'_>| match kind {
            ListKind::Tools => self.tool(item),
            ListKind::Prompts if self.visible.prompt(&item.key) => self.prompt(item),
            ListKind::Resources if self.visible.resource(&item.key) => Verdict::Keep,
            ListKind::ResourceTemplates if self.visible.template(&item.key) => Verdict::Keep,
            _ => Verdict::Drop,
        };
        let cursor = |cursor: &str| match self.handles.seal_cursor(cursor, &*self.entropy) {
            Ok(sealed) => Some(sealed),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        list::filter(edits, result, kind, self.revision, decide, cursor).map_err(Fault::List)?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// What is live is compared with what is pinned, whoever asks; what is shown is the pin.
    fn tool<'e>(&'e self, item: &Item<'_>) -> Verdict<'e> {
        let (tenant, upstream) = (self.tenant.id, self.upstream.id);
        let known = self.upstream.tools.get(&item.key);
        let unchanged = known.is_some_and(|tool| tool.definition == item.raw.as_bytes());
        if !unchanged {
            let digest = ::mcp::raw::definition_digest(item.raw).ok();
            let pinned = known.and_then(|tool| tool.digest);
            if pinned.is_some() && pinned == digest {
                self.watched.agrees(upstream, &item.key);
            } else {
                let definition = item.raw.as_bytes();
                self.watched.differs(tenant, upstream, &item.key, pinned.is_some(), digest, definition);
            }
        } else {
            self.watched.agrees(upstream, &item.key);
        }
        let Some(tool) = known.filter(|tool| self.visible.tool(tool)) else { return Verdict::Drop };
        if self.prefix.is_empty() {
            return Verdict::Replace(Cow::Borrowed(&tool.definition));
        }
        let name = [&*self.prefix, &*item.key].concat();
        let renamed = Raw::parse(&tool.definition).ok().and_then(|pinned| list::renamed(pinned, &name));
        renamed.map_or(Verdict::Drop, |bytes| Verdict::Replace(Cow::Owned(bytes)))
    }

    fn prompt<'e>(&self, item: &Item<'_>) -> Verdict<'e> {
        if self.prefix.is_empty() {
            return Verdict::Keep;
        }
        let name = [&*self.prefix, &*item.key].concat();
        list::renamed(item.raw, &name).map_or(Verdict::Drop, |bytes| Verdict::Replace(Cow::Owned(bytes)))
    }

    fn seal_tasks<'r>(
        &self,
        edits: &mut Edits<'_>,
        tasks: impl IntoIterator<Item = Raw<'r>>,
    ) -> Result<(), UpstreamError> {
        for task in tasks {
            let Some(text) = task.string() else { continue };
            edits.replace_string(task.range(), &self.handles.seal_task(&text, &self.opened)?);
        }
        Ok(())
    }
}

/// A response without an id answers only an error to something that could not be read.
fn answers(response: &Response<'_>, request: &Request) -> bool {
    match response.id {
        Some(id) => same_id(id, &request.id),
        None => matches!(response.outcome, Outcome::Error(_)),
    }
}

/// A list that nobody asked for is not passed on, because nothing would be left out of it. Servers that keep requests by
/// id put a list here when a client uses the id of a running list request again.
fn is_list(result: &ResultMembers<'_>) -> bool {
    [result.tools(), result.prompts(), result.resources(), result.resource_templates()]
        .into_iter()
        .flatten()
        .any(|list| list.kind() == Kind::Array)
}

fn same_id(id: RawId<'_>, wanted: &[u8]) -> bool {
    if id.as_bytes() == wanted {
        return true;
    }
    // The same text, spelled with other escapes.
    let wanted = Raw::parse(wanted).ok().and_then(Raw::string);
    wanted.is_some() && id.raw().string() == wanted
}

/// A legacy server answers `initialize` with the revision it chose; only a legacy one that the gateway speaks will do.
fn negotiated(result: &ResultMembers<'_>) -> Result<(), Fault> {
    let chosen = result.protocol_version().and_then(Raw::string);
    match chosen.and_then(|chosen| Revision::parse(&chosen)) {
        Some(revision) if !revision.is_modern() => Ok(()),
        _ => Err(Fault::Revision),
    }
}

/// Whether a `tools/call` result is a created task (2025-11-25: a `task` object; 2026-07-28: `resultType`), not a tool's own
/// output that happens to have a member of that name.
fn creates_task(result: &ResultMembers<'_>) -> bool {
    result.task().is_some_and(Raw::is_object) || result.result_type().is_some_and(|kind| kind.is_str("task"))
}

/// Task ids in the filter of a subscription.
pub(super) fn subscribed_tasks(filter: Raw<'_>) -> Vec<Raw<'_>> {
    let Some(tasks) = filter.get("taskIds") else { return Vec::new() };
    tasks.elements().filter(|task| task.kind() == Kind::String).collect()
}

#[cfg(test)]
mod tests;
