//! What the protocol row refuses, with everything a refusal needs: catalogue code, the number and HTTP status the
//! revision prescribes, and the data it asks for.

use errors::ErrorCode;
use serde_json::{Value, json};

use crate::revision::Revision;

/// A message that breaks the rules of its revision. Rendered by the caller, or by [`ProtocolError::to_response`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code:?} ({number}, HTTP {status}): {detail}")]
pub struct ProtocolError {
    code: ErrorCode,
    number: i64,
    status: u16,
    detail: &'static str,
    extra: Vec<(&'static str, Value)>,
}

impl ProtocolError {
    fn new(code: ErrorCode, number: i64, status: u16, detail: &'static str) -> Self {
        Self { code, number, status, detail, extra: Vec::new() }
    }

    /// 2026-07-28: headers and body differ, or a required header is missing or malformed (400, -32020).
    #[must_use]
    pub fn header_mismatch(detail: &'static str) -> Self {
        Self::new(ErrorCode::HeaderMismatch, -32020, 400, detail)
    }

    /// 2026-07-28: the version is one this product does not speak in that form (400, -32022, with `supported` and
    /// `requested`). Only modern revisions are named: the older ones need `initialize`.
    #[must_use]
    pub fn unsupported_modern(requested: &str) -> Self {
        let modern = Revision::ALL.into_iter().filter(|revision| revision.is_modern());
        Self::new(ErrorCode::ProtocolVersionUnsupported, -32022, 400, "protocol version not supported")
            .with_versions(modern, requested)
    }

    /// `initialize` asks for a version this product does not speak (200, because up to 2025-11-25
    /// clients read only that; -32602 with `supported` and `requested`, as those revisions show it).
    #[must_use]
    pub fn unsupported_initialize(requested: &str) -> Self {
        let legacy = Revision::ALL.into_iter().filter(|revision| !revision.is_modern());
        Self::new(ErrorCode::ProtocolVersionUnsupported, -32602, 200, "protocol version not supported")
            .with_versions(legacy, requested)
    }

    /// `MCP-Protocol-Version` names a version this product does not speak, or is absent and so means 2025-03-26 (400, which
    /// 2025-06-18 prescribes; -32600 with `supported` and `requested`).
    #[must_use]
    pub fn unsupported_header(requested: &str) -> Self {
        Self::new(ErrorCode::ProtocolVersionUnsupported, -32600, 400, "protocol version not supported")
            .with_versions(Revision::ALL.into_iter(), requested)
    }

    /// Up to 2025-11-25: `MCP-Protocol-Version` is malformed or contradicts the session or `initialize` (400, -32600).
    #[must_use]
    pub fn legacy_header(detail: &'static str) -> Self {
        Self::new(ErrorCode::HeaderMismatch, -32600, 400, detail)
    }

    /// Params miss something the revision requires; 2026-07-28 answers 400 where `_meta` is at fault, the older ones 200.
    #[must_use]
    pub fn invalid_params(status: u16, detail: &'static str) -> Self {
        Self::new(ErrorCode::InvalidParams, -32602, status, detail)
    }

    /// No such method in this revision: 404 from 2026-07-28 on, 200 before; -32601.
    #[must_use]
    pub fn method_unknown(revision: Revision) -> Self {
        let status = if revision.is_modern() { 404 } else { 200 };
        Self::new(ErrorCode::MethodUnknown, -32601, status, "the revision has no such method")
    }

    /// A message of a kind that may not be sent here (400, -32600).
    #[must_use]
    pub fn invalid_request(detail: &'static str) -> Self {
        Self::new(ErrorCode::ParseError, -32600, 400, detail)
    }

    /// 2026-07-28: the method belongs to an extension that the client's capabilities do not name (400, -32021, with
    /// `requiredCapabilities`).
    #[must_use]
    pub fn missing_extension(extension: &str) -> Self {
        let mut error = Self::new(
            ErrorCode::ClientCapabilityMissing,
            -32021,
            400,
            "`_meta` does not declare the extension that has this method",
        );
        error.extra.push(("requiredCapabilities", json!({ "extensions": { extension: {} } })));
        error
    }

    fn with_versions(mut self, supported: impl Iterator<Item = Revision>, requested: &str) -> Self {
        /// Bytes of the caller's text that are echoed.
        const ECHO: usize = 64;
        let supported = supported.map(|revision| Value::from(revision.as_str())).collect();
        let cut =
            (0..=ECHO.min(requested.len())).rev().find(|&at| requested.is_char_boundary(at)).unwrap_or(0);
        self.extra.push(("supported", Value::Array(supported)));
        self.extra.push(("requested", Value::from(&requested[..cut])));
        self
    }

    /// The catalogue's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// `error.code`: the number the revision or JSON-RPC reserves for this.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The HTTP status the revision prescribes.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What exactly is wrong; may be shown to the caller.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        self.detail
    }

    /// Members that belong into `error.data`.
    #[must_use]
    pub fn extra(&self) -> &[(&'static str, Value)] {
        &self.extra
    }

    /// A whole JSON-RPC error response; `id` is the request's, raw.
    #[must_use]
    pub fn to_response(&self, id: Option<&[u8]>) -> Vec<u8> {
        errors::jsonrpc::response_with_code(id, self.number, self.code, Some(self.detail), None, &self.extra)
    }
}
