//! From a message and its headers to a call of a known method of a known revision: the protocol row of the pipeline.
//!
//! Which era a message belongs to: a request is modern (2026-07-28) when its `_meta` or its `MCP-Protocol-Version` header
//! says so, or when only that revision has its method; `initialize` is legacy unless the header is modern.

use std::borrow::Cow;

use http::HeaderMap;

use crate::envelope::{Message, Params, Request};
use crate::error::ProtocolError;
use crate::headers::{self, HeaderFault};
use crate::method::{Direction, Method, NameMember, Shape};
use crate::raw::Raw;
use crate::revision::{Era, Revision};

/// A message that is well-formed by its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The revision it is spoken in; for `initialize` the newest it can lead to.
    pub revision: Revision,
    /// Its method; `None` for a response to a request of the upstream.
    pub method: Option<Method>,
    /// What it is about, as far as decisions need to know.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// The method alone says everything.
    Nothing,
    /// `tools/call`
    Tool {
        /// The name the caller used.
        name: Cow<'a, str>,
        /// An object, if present.
        arguments: Option<Raw<'a>>,
    },
    /// `prompts/get`
    Prompt {
        /// The name the caller used.
        name: Cow<'a, str>,
        /// An object, if present.
        arguments: Option<Raw<'a>>,
    },
    /// `resources/read`, `resources/subscribe`, `resources/unsubscribe`
    Resource {
        /// The URI the caller used.
        uri: Cow<'a, str>,
    },
    /// `completion/complete` for a prompt's arguments.
    CompletePrompt {
        /// The prompt's name.
        name: Cow<'a, str>,
    },
    /// `completion/complete` for a resource template's arguments.
    CompleteResource {
        /// The URI or URI template.
        uri: Cow<'a, str>,
    },
    /// `tasks/*` about one task.
    Task {
        /// The id the caller used.
        id: Cow<'a, str>,
    },
    /// `subscriptions/listen`
    Listen {
        /// The filter, an object.
        filter: Raw<'a>,
    },
}

/// Checks a message from a client against the revision it claims.
///
/// `session` is the revision negotiated by the legacy session the message belongs to, where the caller knows it: it stands in
/// for an absent header and must equal a present one. Without it an absent header means 2025-03-26, which is not spoken.
pub fn classify<'a>(
    headers: &HeaderMap,
    message: &Message<'a>,
    session: Option<Revision>,
) -> Result<Call<'a>, ProtocolError> {
    let version = headers::single(headers, &headers::PROTOCOL_VERSION);
    if message.params().is_some_and(Params::misspelt) {
        return Err(ProtocolError::invalid_params(
            200,
            "a member of `params` differs from a known one in case alone",
        ));
    }
    match era(version, message) {
        Era::Modern => modern(headers, version, message),
        Era::Legacy => legacy(version, message, session),
    }
}

fn era(version: Result<Option<&str>, HeaderFault>, message: &Message<'_>) -> Era {
    let header_modern =
        version.ok().flatten().and_then(Revision::parse).is_some_and(|revision| revision.is_modern());
    let modern = header_modern
        || match message {
            Message::Request(request) => match Method::parse(&request.method) {
                Some(Method::Initialize) => false,
                Some(Method::Discover | Method::SubscriptionsListen) => true,
                _ => request.params.meta_members().protocol_version().is_some(),
            },
            Message::Notification(_) | Message::Response(_) => false,
        };
    if modern { Era::Modern } else { Era::Legacy }
}

/// 2026-07-28, "Server Validation" and "Protocol Version Header".
fn modern<'a>(
    headers: &HeaderMap,
    version: Result<Option<&str>, HeaderFault>,
    message: &Message<'a>,
) -> Result<Call<'a>, ProtocolError> {
    let request = match message {
        Message::Request(request) => request,
        Message::Notification(notification) => {
            let revision = Revision::NEWEST;
            let mirrored = mirrored(headers, &headers::METHOD)?;
            if mirrored.is_some_and(|mirrored| mirrored != notification.method) {
                return Err(ProtocolError::header_mismatch("Mcp-Method differs from `method`"));
            }
            let method = known(revision, &notification.method, message)?;
            return Ok(Call { revision, method: Some(method), target: Target::Nothing });
        }
        Message::Response(_) => {
            return Err(ProtocolError::invalid_request("this revision has no responses from clients"));
        }
    };
    let revision = modern_revision(version, &request.params)?;
    match mirrored(headers, &headers::METHOD)? {
        Some(mirrored) if mirrored == request.method => {}
        Some(_) => return Err(ProtocolError::header_mismatch("Mcp-Method differs from `method`")),
        None => return Err(ProtocolError::header_mismatch("Mcp-Method missing")),
    }
    let method = known(revision, &request.method, message)?;
    if let Some(member) = method.name_member() {
        let body = string_member(match member {
            NameMember::Name => request.params.name(),
            NameMember::Uri => request.params.uri(),
            NameMember::TaskId => request.params.task_id(),
        })?;
        let header = mirrored(headers, &headers::NAME)?
            .ok_or_else(|| ProtocolError::header_mismatch("Mcp-Name missing"))?;
        let header =
            headers::decode(header).map_err(|_| ProtocolError::header_mismatch("Mcp-Name malformed"))?;
        if header != body {
            return Err(ProtocolError::header_mismatch("Mcp-Name differs from the body"));
        }
    }
    // Said here rather than left to the upstream: whoever has not declared the extension holds no task id that would
    // open, and must hear what to declare, not that the id is wrong.
    if let Some(extension) = method.extension()
        && !declares(&request.params, extension)
    {
        return Err(ProtocolError::missing_extension(extension));
    }
    Ok(Call { revision, method: Some(method), target: target(method, request)? })
}

/// What `_meta` and the header must say; `_meta` first, because without it there is nothing to compare.
fn modern_revision(
    version: Result<Option<&str>, HeaderFault>,
    params: &Params<'_>,
) -> Result<Revision, ProtocolError> {
    let meta = params.meta_members();
    let claimed = meta.protocol_version().and_then(Raw::string).ok_or_else(|| {
        ProtocolError::invalid_params(400, "`_meta` lacks io.modelcontextprotocol/protocolVersion")
    })?;
    match version {
        Ok(Some(header)) if header == claimed => {}
        Ok(Some(_)) => {
            return Err(ProtocolError::header_mismatch("MCP-Protocol-Version differs from `_meta`"));
        }
        Ok(None) => return Err(ProtocolError::header_mismatch("MCP-Protocol-Version missing")),
        Err(_) => return Err(ProtocolError::header_mismatch("MCP-Protocol-Version malformed")),
    }
    let revision = Revision::parse(&claimed)
        .filter(|revision| revision.is_modern())
        .ok_or_else(|| ProtocolError::unsupported_modern(&claimed))?;
    if !meta.client_capabilities().is_some_and(Raw::is_object) {
        return Err(ProtocolError::invalid_params(
            400,
            "`_meta` lacks io.modelcontextprotocol/clientCapabilities",
        ));
    }
    Ok(revision)
}

/// Whether the request's client capabilities name an extension.
fn declares(params: &Params<'_>, extension: &str) -> bool {
    let capabilities = params.meta_members().client_capabilities();
    capabilities.and_then(|declared| declared.path(&["extensions", extension])).is_some_and(Raw::is_object)
}

/// Up to 2025-11-25: the header says the revision, except for `initialize`, whose params do.
fn legacy<'a>(
    version: Result<Option<&str>, HeaderFault>,
    message: &Message<'a>,
    session: Option<Revision>,
) -> Result<Call<'a>, ProtocolError> {
    let version = version.map_err(|_| ProtocolError::legacy_header("MCP-Protocol-Version malformed"))?;
    if let Message::Request(request) = message
        && request.method == Method::Initialize.as_str()
    {
        return initialize(version, &request.params);
    }
    let revision = match (version, session) {
        (None, Some(session)) => session,
        // What the specification has us assume for a client that names no revision.
        (None, None) => return Err(ProtocolError::unsupported_header("2025-03-26")),
        (Some(version), session) => {
            let revision =
                Revision::parse(version).ok_or_else(|| ProtocolError::unsupported_header(version))?;
            if session.is_some_and(|session| session != revision) {
                return Err(ProtocolError::legacy_header("MCP-Protocol-Version differs from the session's"));
            }
            revision
        }
    };
    let name = match message {
        Message::Request(request) => &request.method,
        Message::Notification(notification) => &notification.method,
        Message::Response(_) => return Ok(Call { revision, method: None, target: Target::Nothing }),
    };
    let method = known(revision, name, message)?;
    let target = match message {
        Message::Request(request) => target(method, request)?,
        _ => Target::Nothing,
    };
    Ok(Call { revision, method: Some(method), target })
}

fn initialize<'a>(version: Option<&str>, params: &Params<'_>) -> Result<Call<'a>, ProtocolError> {
    let wanted = string_member(params.protocol_version())?;
    if version.is_some_and(|version| version != wanted) {
        return Err(ProtocolError::legacy_header("MCP-Protocol-Version differs from `protocolVersion`"));
    }
    // A client of both eras names the newest revision it has; the server answers with one that has this handshake.
    let revision = match Revision::parse(&wanted) {
        Some(revision) if revision.is_modern() => Revision::NEWEST_LEGACY,
        Some(revision) => revision,
        None => return Err(ProtocolError::unsupported_initialize(&wanted)),
    };
    Ok(Call { revision, method: Some(Method::Initialize), target: Target::Nothing })
}

/// A method this revision lets clients send, in the form (request or notification) in which it is sent.
fn known(revision: Revision, name: &str, message: &Message<'_>) -> Result<Method, ProtocolError> {
    let shape = match message {
        Message::Request(_) => Shape::Request,
        _ => Shape::Notification,
    };
    Method::parse(name)
        .filter(|method| method.shape() == shape && method.allowed_in(revision, Direction::ClientToServer))
        .ok_or_else(|| ProtocolError::method_unknown(revision))
}

fn target<'a>(method: Method, request: &Request<'a>) -> Result<Target<'a>, ProtocolError> {
    let params = &request.params;
    Ok(match method {
        Method::ToolsCall => {
            Target::Tool { name: string_member(params.name())?, arguments: arguments(params)? }
        }
        Method::PromptsGet => {
            Target::Prompt { name: string_member(params.name())?, arguments: arguments(params)? }
        }
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            Target::Resource { uri: string_member(params.uri())? }
        }
        Method::CompletionComplete => {
            let reference = params.reference().ok_or_else(missing)?;
            let kind = string_member(reference.get("type"))?;
            match &*kind {
                "ref/prompt" => Target::CompletePrompt { name: string_member(reference.get("name"))? },
                "ref/resource" => Target::CompleteResource { uri: string_member(reference.get("uri"))? },
                _ => return Err(ProtocolError::invalid_params(200, "`ref.type` is unknown")),
            }
        }
        Method::TasksGet | Method::TasksCancel | Method::TasksResult | Method::TasksUpdate => {
            Target::Task { id: string_member(params.task_id())? }
        }
        Method::SubscriptionsListen => {
            let filter = params.notifications().filter(|filter| filter.is_object()).ok_or_else(missing)?;
            Target::Listen { filter }
        }
        _ => Target::Nothing,
    })
}

fn arguments<'a>(params: &Params<'a>) -> Result<Option<Raw<'a>>, ProtocolError> {
    match params.arguments() {
        Some(arguments) if !arguments.is_object() => {
            Err(ProtocolError::invalid_params(200, "`arguments` is not an object"))
        }
        arguments => Ok(arguments),
    }
}

fn string_member(value: Option<Raw<'_>>) -> Result<Cow<'_, str>, ProtocolError> {
    value.and_then(Raw::string).ok_or_else(missing)
}

fn missing() -> ProtocolError {
    ProtocolError::invalid_params(200, "a member the method requires is missing or of the wrong type")
}

fn mirrored<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Result<Option<&'h str>, ProtocolError> {
    headers::single(headers, name).map_err(|_| ProtocolError::header_mismatch("an Mcp- header is malformed"))
}

#[cfg(test)]
mod tests;
