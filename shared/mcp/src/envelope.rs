//! The JSON-RPC 2.0 envelope: one strict pass over a body gives the message and the places of everything the gateway
//! decides on.

mod members;

use std::borrow::Cow;

use errors::ErrorCode;

pub use members::{ErrorMembers, Meta, Params, ResultMembers, same_but_case};
use members::{ErrorSpans, ParamSpans, ResultSpans};

use crate::raw::{Kind, Raw, ScanError};
use crate::scan::{Scanner, Span, StringSpan};

/// Bytes an id may have, quotes included. The gateway's own sealed ids for requests towards the client fit.
pub const MAX_ID_BYTES: usize = 1024;

/// Why a body is not a message. Each is refused before anything is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not strict JSON: see [`ScanError`].
    #[error(transparent)]
    Json(#[from] ScanError),
    /// An array: batches exist only in 2025-03-26.
    #[error("a batch")]
    Batch,
    /// Neither an object nor an array.
    #[error("not an object")]
    NotAnObject,
    /// `jsonrpc` is missing or not `"2.0"`.
    #[error("`jsonrpc` is not \"2.0\"")]
    Version,
    /// A top-level member other than `jsonrpc`, `id`, `method`, `params`, `result`, `error`.
    #[error("unknown member beside `method`")]
    UnknownMember,
    /// `id` is neither a string nor an integer, is too long, or is null where an id is required.
    #[error("`id` is not a string or an integer")]
    Id,
    /// `method` is not a string, or stands beside `result` or `error`.
    #[error("`method` is not a string, or out of place")]
    Method,
    /// `params` is not an object, or is out of place.
    #[error("`params` is not an object")]
    Params,
    /// A response with both or neither of `result` and `error`, or without the id it needs, or with an `error` that is not
    /// `{code: integer, message: string}`.
    #[error("not a response")]
    Response,
}

impl ParseError {
    /// The catalogue's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Batch => ErrorCode::BatchUnsupported,
            Self::Params => ErrorCode::InvalidParams,
            Self::Json(_)
            | Self::NotAnObject
            | Self::Version
            | Self::UnknownMember
            | Self::Id
            | Self::Method
            | Self::Response => ErrorCode::ParseError,
        }
    }

    /// The number JSON-RPC 2.0 section 5.1 reserves for it: -32700 for what is not JSON, -32600 for what is not a message,
    /// -32602 for params that are not an object.
    #[must_use]
    pub fn json_rpc_code(&self) -> i64 {
        match self {
            Self::Json(_) => -32700,
            Self::Params => -32602,
            _ => -32600,
        }
    }
}

/// The id of a request or response, exactly as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawId<'a>(Raw<'a>);

impl<'a> RawId<'a> {
    /// The JSON text: a string with quotes, or an integer.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0.as_str()
    }

    /// The value and its place in the body.
    #[must_use]
    pub fn raw(self) -> Raw<'a> {
        self.0
    }

    /// Whether both mean the same id: strings by what they spell, integers by their digits.
    #[must_use]
    pub fn same(self, other: RawId<'_>) -> bool {
        match (self.0.string(), other.0.string()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// A request: it is answered.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its id, never null.
    pub id: RawId<'a>,
    /// The method's name as spelled after unescaping; borrowed unless it has escapes.
    pub method: Cow<'a, str>,
    /// `params` and what was found in them.
    pub params: Params<'a>,
}

/// A notification: it is not answered.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    /// The method's name as spelled after unescaping.
    pub method: Cow<'a, str>,
    /// `params` and what was found in them.
    pub params: Params<'a>,
}

/// A response to a request of the other side.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The id it answers; `None` for an error response to something whose id could not be read.
    pub id: Option<RawId<'a>>,
    /// What it says.
    pub outcome: Outcome<'a>,
}

/// `result` or `error` of a response.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// It succeeded.
    Result(ResultMembers<'a>),
    /// It failed.
    Error(ErrorMembers<'a>),
}

/// One JSON-RPC message, borrowed from its body.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Has `method` and `id`.
    Request(Request<'a>),
    /// Has `method`, no `id`.
    Notification(Notification<'a>),
    /// Has `result` or `error`.
    Response(Response<'a>),
}

impl<'a> Message<'a> {
    /// The id, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<RawId<'a>> {
        match self {
            Self::Request(request) => Some(request.id),
            Self::Notification(_) => None,
            Self::Response(response) => response.id,
        }
    }

    /// The method's name, if it has one.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Request(request) => Some(&request.method),
            Self::Notification(notification) => Some(&notification.method),
            Self::Response(_) => None,
        }
    }

    /// The params of a request or notification.
    #[must_use]
    pub fn params(&self) -> Option<&Params<'a>> {
        match self {
            Self::Request(request) => Some(&request.params),
            Self::Notification(notification) => Some(&notification.params),
            Self::Response(_) => None,
        }
    }
}

/// What the top level of a body holds, before the kinds of message are told apart.
#[derive(Default)]
struct Top {
    version: bool,
    id: Option<Span>,
    method: Option<StringSpan>,
    params: Option<ParamSpans>,
    result: Option<ResultSpans>,
    error: Option<ErrorSpans>,
}

/// Reads one message. The whole body is checked: see [`ParseError`].
pub fn parse(body: &[u8]) -> Result<Message<'_>, ParseError> {
    let mut scanner = Scanner::new(body)?;
    match scanner.peek() {
        Some(b'{') => {}
        Some(b'[') => return Err(ParseError::Batch),
        Some(b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            scanner.value()?;
            scanner.end()?;
            return Err(ParseError::NotAnObject);
        }
        _ => return Err(scanner.value().err().map_or(ParseError::NotAnObject, ParseError::Json)),
    }
    let top = read_top(&mut scanner)?;
    scanner.end()?;
    top?.message(scanner.text())
}

/// The id of a body that [`parse`] refused, for the refusal; `None` when it cannot be told for certain.
#[must_use]
pub fn peek_id(body: &[u8]) -> Option<RawId<'_>> {
    let object = Raw::parse(body).ok().filter(|value| value.is_object())?;
    object.get("id").and_then(valid_id)
}

/// Reads the object. What is wrong with its members is inside, for the caller to report after the scan of the whole body, so that
/// text which is not JSON at all is always called that.
fn read_top(scanner: &mut Scanner<'_>) -> Result<Result<Top, ParseError>, ScanError> {
    let mut top = Top::default();
    let mut wrong = None;
    let mut frame = scanner.begin_object()?;
    while let Some(key) = scanner.next_key(&mut frame)? {
        match &*scanner.key_text(key) {
            "jsonrpc" => {
                let span = scanner.value()?;
                top.version = Raw::at(scanner.text(), span).is_str("2.0");
            }
            "id" => top.id = Some(scanner.value()?),
            "method" if scanner.peek() == Some(b'"') => top.method = Some(scanner.string()?),
            "method" => {
                scanner.value()?;
                wrong = wrong.or(Some(ParseError::Method));
            }
            "params" => match members::params(scanner)? {
                Some(spans) => top.params = Some(spans),
                None => wrong = wrong.or(Some(ParseError::Params)),
            },
            "result" => top.result = Some(members::result(scanner)?),
            "error" => match members::error(scanner)? {
                Some(spans) => top.error = Some(spans),
                None => wrong = wrong.or(Some(ParseError::Response)),
            },
            _ => {
                scanner.value()?;
                wrong = wrong.or(Some(ParseError::UnknownMember));
            }
        }
    }
    Ok(wrong.map_or(Ok(top), Err))
}

impl Top {
    fn message(self, text: &str) -> Result<Message<'_>, ParseError> {
        if !self.version {
            return Err(ParseError::Version);
        }
        let id = match self.id {
            None => None,
            Some(span) => {
                let raw = Raw::at(text, span);
                // Null stands for "no id could be read" in an error response and is refused everywhere else.
                let absent = raw.is_null() && self.error.is_some();
                if absent { None } else { Some(valid_id(raw).ok_or(ParseError::Id)?) }
            }
        };
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => {
                let method = members::text_of(text, method);
                let params = Params::new(text, self.params.unwrap_or_default());
                Ok(match id {
                    Some(id) => Message::Request(Request { id, method, params }),
                    None => Message::Notification(Notification { method, params }),
                })
            }
            (Some(_), ..) => Err(ParseError::Method),
            (None, ..) if self.params.is_some() => Err(ParseError::Params),
            (None, Some(result), None) => {
                let id = id.ok_or(ParseError::Response)?;
                let outcome = Outcome::Result(ResultMembers::new(text, result));
                Ok(Message::Response(Response { id: Some(id), outcome }))
            }
            (None, None, Some(error)) => Ok(Message::Response(Response {
                id,
                outcome: Outcome::Error(ErrorMembers::new(text, error)),
            })),
            (None, ..) => Err(ParseError::Response),
        }
    }
}

fn valid_id(raw: Raw<'_>) -> Option<RawId<'_>> {
    let fits = raw.as_bytes().len() <= MAX_ID_BYTES;
    let allowed = match raw.kind() {
        Kind::String => true,
        Kind::Number => raw.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
        _ => false,
    };
    (fits && allowed).then_some(RawId(raw))
}

#[cfg(test)]
mod tests;
