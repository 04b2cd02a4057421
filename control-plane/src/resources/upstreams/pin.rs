//! The text of a pin: `sha256/` and base64, as in RFC 7469 and in what tools print.

use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(super) const EXPECTED: &str = "must each be sha256/ and the base64 of 32 bytes";

/// The hash; `None` if it is none. Each hash has one text only.
fn parse(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.strip_prefix("sha256/").filter(|rest| rest.len() == 44)?).ok()?.try_into().ok()
}

/// The hashes; `None` if one of them is none.
pub(crate) fn parse_all(texts: &[String]) -> Option<Vec<[u8; 32]>> {
    texts.iter().map(|text| parse(text)).collect()
}

#[cfg(test)]
pub(super) fn text(hash: &[u8; 32]) -> String {
    format!("sha256/{}", STANDARD.encode(hash))
}
