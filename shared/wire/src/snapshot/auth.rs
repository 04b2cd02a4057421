//! The rules of what upstreams are shown beside static headers.

use super::{
    body::{Check, is_http, need, sorted},
    bounds::{MAX_ASSERTION_KEYS, MAX_SEALED, MAX_URL},
    check::is_id,
};
use crate::v1;

/// The header in which an assertion travels where it does not in `Authorization`.
pub const ASSERTION_HEADER: &str = "portcullis-assertion";

pub(super) fn check(upstream: &v1::Upstream) -> Check {
    let Some(auth) = &upstream.auth else { return Ok(()) };
    let v1::UpstreamAuth { assertion } = auth;
    need(assertion.is_some(), "is shown nothing, and says so")?;
    if let Some(assertion) = assertion {
        need(is_text(&assertion.audience), "an assertion's audience is malformed")?;
        let header = if assertion.bearer { "authorization" } else { ASSERTION_HEADER };
        need(!has_header(upstream, header), "has a credential where its assertion goes")?;
    }
    Ok(())
}

fn has_header(upstream: &v1::Upstream, name: &str) -> bool {
    upstream.headers.iter().any(|header| header.name == name)
}

fn is_text(text: &str) -> bool {
    (1..=MAX_URL).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn check_assertions(assertions: &v1::Assertions) -> Check {
    need(is_http(&assertions.issuer), "a URL is malformed")?;
    need((1..=MAX_ASSERTION_KEYS).contains(&assertions.keys.len()), "has no key, or too many")?;
    need(sorted(assertions.keys.iter().map(|key| &key.id)), "keys are out of order or repeat")?;
    for key in &assertions.keys {
        need(is_id(&key.id) && is_id(&key.data_key_id), "a key's id is not 16 bytes")?;
        need((1..=MAX_SEALED).contains(&key.sealed.len()), "a sealed key's size is out of bounds")?;
    }
    Ok(())
}
