//! Problem documents (RFC 9457): the admin API, and refusals at the gateway before a JSON-RPC message is known.

use std::{borrow::Cow, time::Duration};

use serde::Serialize;

use crate::ErrorCode;

/// Media type of a rendered [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Where the pages are served, relative to the origin that sent the problem.
pub const DEFAULT_BASE: &str = "/errors/";

/// One place in the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the request body; empty for the whole body.
    pub pointer: String,
    /// What is wrong there. Public text.
    pub message: String,
}

/// A problem document. Title, status and remedy come from the catalogue.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Which error.
    pub code: ErrorCode,
    /// Public text about this occurrence. Never a cause from inside.
    pub detail: Option<Cow<'static, str>>,
    /// Id by which the logs know this request.
    pub request_id: Option<String>,
    /// Places in the request body.
    pub errors: Vec<FieldError>,
    /// How long to wait before the same request may succeed.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem without particulars.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, detail: None, request_id: None, errors: Vec::new(), retry_after: None }
    }

    /// With public text about this occurrence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With the id by which the logs know this request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// With places in the request body.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// With a time to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.code.entry().status
    }

    /// Value of `Retry-After`: whole seconds, rounded up, so that who waits exactly that long is not early.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
    }

    /// The document, its `type` relative to the origin.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.to_json_with_base(DEFAULT_BASE)
    }

    /// The document, its `type` under `base`.
    #[must_use]
    pub fn to_json_with_base(&self, base: &str) -> Vec<u8> {
        let entry = self.code.entry();
        let body = Body {
            r#type: type_uri(base, self.code),
            title: entry.title,
            status: entry.status,
            code: entry.slug,
            detail: self.detail.as_deref(),
            remedy: entry.remedy,
            retryable: entry.retryable,
            retry_after_ms: self.retry_after.map(whole_millis),
            request_id: self.request_id.as_deref(),
            errors: &self.errors,
        };
        // Only a map with keys that are not text, or an error from `Serialize`, can fail here; `Body` has neither.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The URI that identifies `code`; it resolves to the code's page.
#[must_use]
pub fn type_uri(base: &str, code: ErrorCode) -> String {
    format!("{base}{}", code.slug())
}

/// Rounded up, so that who waits exactly that long is not early.
pub(crate) fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    remedy: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}
