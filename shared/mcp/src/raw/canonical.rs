//! Canonical JSON (RFC 8785) and the digest by which a definition is pinned.

use sha2::{Digest, Sha256};

use super::{Kind, Raw, number, write_json_string};

/// Why a value has no canonical form that keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number that an IEEE 754 double cannot hold without changing its value: two definitions that differ
    /// only there would get the same digest. The offset is in the scanned text.
    #[error("number at byte {0} does not survive as a double")]
    Number(usize),
    /// A definition that is not an object.
    #[error("definition is not an object")]
    NotAnObject,
}

/// The canonical form (RFC 8785): members sorted by UTF-16 code units, no white space, shortest escapes, numbers as
/// ECMAScript prints them. Equal values, and only those, give equal bytes.
pub fn canonical(value: Raw<'_>) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(value.as_bytes().len());
    write(&mut out, value)?;
    Ok(out)
}

/// SHA-256 over the canonical form of a whole raw definition (tool, prompt or resource): a new or unknown member is a
/// change like any other.
pub fn definition_digest(definition: Raw<'_>) -> Result<[u8; 32], CanonicalError> {
    if !definition.is_object() {
        return Err(CanonicalError::NotAnObject);
    }
    Ok(Sha256::digest(canonical(definition)?).into())
}

fn write(out: &mut Vec<u8>, value: Raw<'_>) -> Result<(), CanonicalError> {
    match value.kind() {
        Kind::Object => {
            let mut members: Vec<_> = value.members().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (at, (name, member)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json_string(out, name);
                out.push(b':');
                write(out, *member)?;
            }
            out.push(b'}');
        }
        Kind::Array => {
            out.push(b'[');
            for (at, element) in value.elements().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, element)?;
            }
            out.push(b']');
        }
        Kind::String => write_json_string(out, &value.string().unwrap_or_default()),
        Kind::Number => {
            let text =
                number::canonical(value.as_str()).ok_or(CanonicalError::Number(value.range().start))?;
            out.extend_from_slice(text.as_bytes());
        }
        Kind::Bool | Kind::Null => out.extend_from_slice(value.as_bytes()),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
