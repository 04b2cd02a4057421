//! Mirrored headers (2026-07-28, "Request Metadata"): reading, decoding, encoding, and the tool parameters that a
//! definition asks to mirror.
//!
//! A header is only ever compared with the body; no decision is made on its value.

mod params;

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName};

pub use params::{ParamHeaderError, ParamHeaders, verify_params};

/// `MCP-Protocol-Version`
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Mcp-Session-Id` (up to 2025-11-25)
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Last-Event-ID` (up to 2025-11-25)
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What the names of mirrored tool parameters begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// Bytes a mirrored header may have; longer ones are refused before they are decoded.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

const ENCODED_PREFIX: &str = "=?base64?";
const ENCODED_SUFFIX: &str = "?=";

/// Why a header cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Sent more than once.
    #[error("header repeated")]
    Repeated,
    /// Contains something other than visible ASCII, space and tab.
    #[error("header has characters outside visible ASCII")]
    Characters,
    /// Longer than [`MAX_VALUE_BYTES`].
    #[error("header too long")]
    TooLong,
    /// `=?base64?…?=` around something that is not padded base64 of UTF-8.
    #[error("header is not valid base64")]
    Base64,
}

/// The one value of a header, without surrounding white space; `None` when it is absent.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HeaderFault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderFault::Repeated);
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(HeaderFault::TooLong);
    }
    let text = value.to_str().map_err(|_| HeaderFault::Characters)?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

/// What a mirrored value spells: the content of `=?base64?…?=`, everything else literally.
pub fn decode(value: &str) -> Result<Cow<'_, str>, HeaderFault> {
    let encoded = value.strip_prefix(ENCODED_PREFIX).and_then(|rest| rest.strip_suffix(ENCODED_SUFFIX));
    let Some(encoded) = encoded else { return Ok(Cow::Borrowed(value)) };
    let bytes = STANDARD.decode(encoded).map_err(|_| HeaderFault::Base64)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| HeaderFault::Base64)
}

/// A value as a header carries it: literally where that is safe and unambiguous, else `=?base64?…?=`.
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let visible = value.bytes().all(|byte| matches!(byte, 0x20..=0x7E | b'\t'));
    let trimmed = value.trim_matches([' ', '\t']).len() == value.len();
    let sentinel = value.starts_with(ENCODED_PREFIX) && value.ends_with(ENCODED_SUFFIX);
    if visible && trimmed && !sentinel && !value.is_empty() {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("{ENCODED_PREFIX}{}{ENCODED_SUFFIX}", STANDARD.encode(value)))
    }
}

#[cfg(test)]
mod tests;
