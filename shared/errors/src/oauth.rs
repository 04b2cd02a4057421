//! Error bodies of OAuth endpoints (RFC 6749 section 5.2): a problem document would not be understood there.

use serde::Serialize;

use crate::{ErrorCode, problem};

/// Media type of a rendered error.
pub const CONTENT_TYPE: &str = "application/json";

/// The body: `error` as RFC 6749 (or the extension in use) names it, `error_description` from the catalogue with what it was this
/// time, if that is known, and
/// `error_uri` pointing to the code's page.
#[must_use]
pub fn error(code: ErrorCode, error: &'static str, detail: Option<&'static str>) -> Vec<u8> {
    let entry = code.entry();
    let body = Body {
        error,
        error_description: match detail {
            Some(detail) => format!("{}: {detail}. {}", entry.title, entry.remedy),
            None => format!("{}. {}", entry.title, entry.remedy),
        },
        error_uri: problem::type_uri(problem::DEFAULT_BASE, code),
    };
    // Three texts: nothing in it can fail to serialise.
    serde_json::to_vec(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
    error_uri: String,
}
