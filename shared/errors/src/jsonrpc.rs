//! JSON-RPC error objects: how a refused call looks to an agent.
//!
//! `error.code` is the catalogue's number, which is positive and so outside the range JSON-RPC 2.0 section 5.1 reserves.
//! Where an MCP revision prescribes a reserved number, [`response_with_code`] sends that one; `data.code` carries the
//! slug in every case.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{ErrorCode, problem::whole_millis};

/// Members added to `error.data`. A member the renderer writes itself (`code`, `remedy`, …) cannot be replaced.
pub type Extra<'a> = &'a [(&'a str, Value)];

/// The `error` object: catalogue number, title, and `data` with slug, remedy and particulars.
#[must_use]
pub fn error_object(
    code: ErrorCode,
    detail: Option<&str>,
    retry_after_ms: Option<u64>,
    extra: Extra<'_>,
) -> Vec<u8> {
    error_object_with_code(code.entry().number, code, detail, retry_after_ms, extra)
}

/// [`error_object`] with a number the MCP specification prescribes.
#[must_use]
pub fn error_object_with_code(
    number: i64,
    code: ErrorCode,
    detail: Option<&str>,
    retry_after_ms: Option<u64>,
    extra: Extra<'_>,
) -> Vec<u8> {
    let entry = code.entry();
    let mut rest = Map::new();
    for (name, value) in extra {
        if !OWN_MEMBERS.contains(name) {
            rest.insert((*name).to_owned(), value.clone());
        }
    }
    let data = Data { code: entry.slug, remedy: entry.remedy, retry_after_ms, detail, rest };
    let object = ErrorObject { code: number, message: entry.title, data };
    // Only a map with keys that are not text, or an error from `Serialize`, can fail here; there is neither.
    serde_json::to_vec(&object).unwrap_or_default()
}

/// A whole response. `id` is the request's id as it was sent, raw; `None` becomes `null` (JSON-RPC 2.0 section 5).
#[must_use]
pub fn response(
    id: Option<&[u8]>,
    code: ErrorCode,
    detail: Option<&str>,
    retry_after_ms: Option<u64>,
    extra: Extra<'_>,
) -> Vec<u8> {
    wrap(id, &error_object(code, detail, retry_after_ms, extra))
}

/// [`response`] with a number the MCP specification prescribes (-32601, -32602, …).
#[must_use]
pub fn response_with_code(
    id: Option<&[u8]>,
    number: i64,
    code: ErrorCode,
    detail: Option<&str>,
    retry_after_ms: Option<u64>,
    extra: Extra<'_>,
) -> Vec<u8> {
    wrap(id, &error_object_with_code(number, code, detail, retry_after_ms, extra))
}

/// `retry_after_ms` of a wait: whole milliseconds, rounded up.
#[must_use]
pub fn retry_after_ms(wait: Duration) -> u64 {
    whole_millis(wait)
}

const OWN_MEMBERS: [&str; 4] = ["code", "remedy", "retry_after_ms", "detail"];

fn wrap(id: Option<&[u8]>, error: &[u8]) -> Vec<u8> {
    let id = id.unwrap_or(b"null");
    [br#"{"jsonrpc":"2.0","id":"#.as_slice(), id, br#","error":"#, error, b"}"].concat()
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: i64,
    message: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    code: &'static str,
    remedy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}
