//! A small MCP client that lists a server's tools, in either era, over connections that pass the same address guard as calls.

use std::{collections::HashSet, net::SocketAddr};

use ::mcp::{
    Revision,
    envelope::{self, Message, Outcome, ResultMembers},
    raw::{Kind, Raw, definition_digest, json_string},
    sse::Decoder,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use wire::v1::ToolDefinition;

use super::{DiscoverError, Found, MAX_BYTES, MAX_PAGES, MAX_TOOLS};
use crate::{
    snapshot::index::UpstreamIndex,
    upstream::{self, Break, Fault, Origin, Proof, Resolver, UpstreamError, Waiting},
};

const CLIENT_INFO: &str = concat!(r#"{"name":"portcullis","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
/// JSON-RPC: method not found.
const METHOD_NOT_FOUND: i64 = -32601;

/// Lists the tools of the upstream to which this is proven.
pub(super) async fn discover(proof: Proof<'_>, resolver: &dyn Resolver) -> Result<Found, DiscoverError> {
    let origin = Origin::new(proof.upstream)?.without_h2();
    let mut client = Client {
        rules: &proof.tenant.egress,
        upstream: proof.upstream,
        proof,
        resolver,
        origin,
        address: None,
        session: None,
        revision: Revision::NEWEST,
        next: 0,
    };
    let mut found = Found::default();
    let has_tools =
        if client.is_modern(&mut found).await? { true } else { client.initialize(&mut found).await? };
    client.revision.as_str().clone_into(&mut found.protocol_version);
    if has_tools {
        client.list(&mut found).await?;
    }
    client.leave().await;
    Ok(found)
}

struct Client<'a> {
    rules: &'a egress::Rules,
    upstream: &'a UpstreamIndex,
    proof: Proof<'a>,
    resolver: &'a dyn Resolver,
    origin: Origin,
    /// Where the first connection led: a legacy session lives there.
    address: Option<SocketAddr>,
    session: Option<HeaderValue>,
    revision: Revision,
    next: u64,
}

/// What a server answered.
struct Answer {
    status: StatusCode,
    session: Option<HeaderValue>,
    /// The message that answers, whole.
    body: Bytes,
}

impl Answer {
    /// The result, or the error's code.
    fn outcome(&self) -> Result<Result<ResultMembers<'_>, i64>, Fault> {
        match envelope::parse(&self.body)? {
            Message::Response(response) => Ok(match response.outcome {
                Outcome::Result(result) => Ok(result),
                Outcome::Error(error) => Err(error.code().and_then(Raw::i64).unwrap_or_default()),
            }),
            _ => Err(Fault::NotTheResponse),
        }
    }
}

impl Client<'_> {
    /// Asks in the newest revision. Whatever is not a proper answer to that means an older server.
    async fn is_modern(&mut self, found: &mut Found) -> Result<bool, DiscoverError> {
        let asked = self.request("server/discover", "").await;
        let answer = match asked {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(_) => return Ok(false),
            Err(UpstreamError::Protocol(_) | UpstreamError::SessionNotFound) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let Ok(Ok(result)) = answer.outcome() else { return Ok(false) };
        let versions = result.supported_versions();
        let speaks = versions.is_some_and(|versions| {
            versions.elements().any(|version| version.is_str(Revision::NEWEST.as_str()))
        });
        if speaks {
            let meta = result.meta().and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"));
            found.introduce(meta.or_else(|| result.raw().get("serverInfo")));
        }
        Ok(speaks)
    }

    /// The handshake of older revisions. Says whether the server has tools at all.
    async fn initialize(&mut self, found: &mut Found) -> Result<bool, DiscoverError> {
        self.revision = Revision::NEWEST_LEGACY;
        let params = format!(
            r#""protocolVersion":"{}","capabilities":{{}},"clientInfo":{CLIENT_INFO}"#,
            Revision::NEWEST_LEGACY
        );
        let answer = self.request("initialize", &params).await?;
        let result = answer.outcome().map_err(UpstreamError::from)?.map_err(DiscoverError::Refused)?;
        let chosen = result.protocol_version().and_then(Raw::string).and_then(|text| Revision::parse(&text));
        let chosen = chosen.filter(|revision| !revision.is_modern());
        self.revision = chosen.ok_or(UpstreamError::Protocol(Fault::Revision))?;
        found.introduce(result.raw().get("serverInfo"));
        let has_tools = result.capabilities().is_some_and(|capabilities| capabilities.get("tools").is_some());
        self.session.clone_from(&answer.session);
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.send(Method::POST, None, Bytes::from_static(initialized)).await?;
        Ok(has_tools)
    }

    async fn list(&mut self, found: &mut Found) -> Result<(), DiscoverError> {
        let mut cursor: Option<String> = None;
        let (mut bytes, mut names) = (0, HashSet::new());
        for _ in 0..MAX_PAGES {
            let params = match &cursor {
                Some(cursor) => format!(r#""cursor":{}"#, String::from_utf8_lossy(&json_string(cursor))),
                None => String::new(),
            };
            let answer = self.request("tools/list", &params).await?;
            let result = match answer.outcome().map_err(UpstreamError::from)? {
                Ok(result) => result,
                // A server without tools need not know the method.
                Err(METHOD_NOT_FOUND) => return Ok(()),
                Err(code) => return Err(DiscoverError::Refused(code)),
            };
            let tools = result.raw().get("tools").filter(|tools| tools.kind() == Kind::Array);
            let tools = tools.ok_or(UpstreamError::Protocol(Fault::List(::mcp::list::ListError::Shape)))?;
            for definition in tools.elements() {
                bytes += definition.as_bytes().len();
                found.add(definition, &mut names);
            }
            if bytes > MAX_BYTES || found.tools.len() > MAX_TOOLS {
                return Err(DiscoverError::TooLarge);
            }
            let next = result.next_cursor().and_then(Raw::string).map(String::from);
            match next {
                Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                _ => return Ok(()),
            }
        }
        Err(DiscoverError::TooLarge)
    }

    /// Ends a session that was begun only to look. A server that does not let it be ended forgets it by itself.
    async fn leave(&mut self) {
        if self.session.is_some() {
            let _ = self.send(Method::DELETE, None, Bytes::new()).await;
        }
    }

    async fn request(&mut self, method: &'static str, params: &str) -> Result<Answer, UpstreamError> {
        self.next += 1;
        let meta = if self.revision.is_modern() {
            format!(
                r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{CLIENT_INFO}}}"#,
                self.revision
            )
        } else {
            String::new()
        };
        let comma = if params.is_empty() || meta.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"{method}","params":{{{params}{comma}{meta}}}}}"#,
            self.next
        );
        self.send(Method::POST, Some(method), Bytes::from(body)).await
    }

    /// Sends one message and reads the answer, on a connection of its own. `method` is `None` where none is answered.
    async fn send(
        &mut self,
        verb: Method,
        method: Option<&'static str>,
        body: Bytes,
    ) -> Result<Answer, UpstreamError> {
        let request = self.build(verb, method, body)?;
        let within = self.upstream.timeouts.connect;
        let connected =
            upstream::connect(&self.origin, self.rules, self.resolver, self.address, within).await?;
        self.address = Some(connected.address);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(connected.io)).await.map_err(Break::from)?;
        let wanted = method.map(|_| self.next);
        let exchange = async {
            let sent =
                tokio::time::timeout(self.upstream.timeouts.first_byte, sender.send_request(request)).await;
            let response =
                sent.map_err(|_| UpstreamError::Timeout(Waiting::FirstByte))?.map_err(Break::from)?;
            let answer = read(response, wanted);
            tokio::time::timeout(self.upstream.timeouts.total, answer)
                .await
                .unwrap_or(Err(UpstreamError::Timeout(Waiting::Total)))
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The connection may be over before its last bytes are read here.
            ended = connection => match ended {
                Err(error) => Err(Break::from(error).into()),
                Ok(()) => exchange.await,
            },
        }
    }

    fn build(
        &self,
        verb: Method,
        method: Option<&'static str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, UpstreamError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.origin.host_header());
        if verb == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if method != Some("initialize") {
            let revision = HeaderValue::from_static(self.revision.as_str());
            headers.insert(::mcp::headers::PROTOCOL_VERSION, revision);
        }
        if let (Some(method), true) = (method, self.revision.is_modern()) {
            headers.insert(::mcp::headers::METHOD, HeaderValue::from_static(method));
        }
        if let Some(session) = &self.session {
            headers.insert(::mcp::headers::SESSION_ID, session.clone());
        }
        upstream::finish(&mut headers, &self.proof, &body)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = verb;
        *request.uri_mut() = self.origin.target();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Reads what answers request `wanted`; nothing where none is wanted.
async fn read(response: Response<Incoming>, wanted: Option<u64>) -> Result<Answer, UpstreamError> {
    let (head, body) = response.into_parts();
    if matches!(head.status.as_u16(), 401 | 403 | 407) {
        return Err(UpstreamError::Unauthorized(head.status.as_u16()));
    }
    let session = head.headers.get(::mcp::headers::SESSION_ID).cloned();
    let answer = |body| Answer { status: head.status, session, body };
    let Some(wanted) = wanted else { return Ok(answer(Bytes::new())) };
    let content =
        head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is =
        |wanted: &str| content.split(';').next().is_some_and(|text| text.trim().eq_ignore_ascii_case(wanted));
    if is("text/event-stream") {
        return read_stream(body, wanted).await.map(answer);
    }
    if !is("application/json") {
        let fault =
            if head.status.is_success() { Fault::ContentType } else { Fault::Status(head.status.as_u16()) };
        return Err(fault.into());
    }
    let body = http_body_util::Limited::new(body, MAX_BYTES).collect().await;
    // Longer than the limit, or broken: either way there is no answer to read.
    let body = body.map_err(|_| UpstreamError::TooLarge)?.to_bytes();
    Ok(answer(body))
}

async fn read_stream(mut body: Incoming, wanted: u64) -> Result<Bytes, UpstreamError> {
    let mut decoder = Decoder::new(MAX_BYTES);
    let wanted = wanted.to_string();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(Break::from)?.into_data() else { continue };
        decoder.feed(&data);
        while let Some(event) = decoder.next_event() {
            let event = event.map_err(|_| UpstreamError::TooLarge)?;
            let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
            if let Ok(Message::Response(response)) = envelope::parse(&data)
                && response.id.is_some_and(|id| id.as_str() == wanted)
            {
                return Ok(Bytes::copy_from_slice(&data));
            }
        }
    }
    Err(Fault::Ended.into())
}

impl Found {
    fn introduce(&mut self, info: Option<Raw<'_>>) {
        let text = |name| info.and_then(|info| info.get(name)).and_then(Raw::string).unwrap_or_default();
        let start = |text: &str| text.chars().take(200).collect();
        self.server_name = start(&text("name"));
        self.server_version = start(&text("version"));
    }

    /// Of several with one name the first counts. What cannot be pinned cannot be approved either.
    fn add(&mut self, definition: Raw<'_>, names: &mut HashSet<String>) {
        let Some(name) = definition.get("name").and_then(Raw::string) else { return };
        if definition_digest(definition).is_err() {
            tracing::warn!(tool.name = &*name, "definition has a number that no pin can hold; left out");
            return;
        }
        if names.insert(name.clone().into_owned()) {
            let definition = Bytes::copy_from_slice(definition.as_bytes());
            self.tools.push(ToolDefinition { name: name.into_owned(), definition });
        }
    }
}
