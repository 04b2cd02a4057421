//! W3C Trace Context (Recommendation, level 1): `traceparent` and `tracestate`, read from untrusted text.
//!
//! MCP carries both as `params._meta.traceparent` and `…tracestate`, beside the HTTP headers. Bounded: nothing longer than
//! a constant is looked at, and nothing is allocated.

use std::fmt;

/// Bytes of a version-00 `traceparent`.
pub const TRACEPARENT_LENGTH: usize = 55;
/// Longest `traceparent` of a later version that is looked at.
const MAX_TRACEPARENT: usize = 256;
/// Longest `tracestate` that is forwarded (section 3.3.1.5 asks for at least 512 characters).
pub const MAX_TRACESTATE: usize = 512;
/// Most members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
const SAMPLED: u8 = 0x01;

/// Why a text is not a `traceparent`. The specification has a receiver start a new trace then, not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct TraceContextError;

/// A parsed `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// Names the whole trace. Never all zero.
    pub trace_id: [u8; 16],
    /// Names the caller's span. Never all zero.
    pub parent_id: [u8; 8],
    /// Bit 0: the caller records this trace.
    pub flags: u8,
}

impl TraceParent {
    /// The parent of a new trace; `None` if either id is all zero.
    #[must_use]
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], sampled: bool) -> Option<Self> {
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, parent_id, flags: if sampled { SAMPLED } else { 0 } })
    }

    /// Reads a `traceparent` of version 00, or the part of a later version that 00 defines (section 3.2.4).
    ///
    /// # Errors
    /// If the text breaks the grammar of section 3.2.2: length, lower-case hexadecimal, ids that are not zero.
    pub fn parse(text: &str) -> Result<Self, TraceContextError> {
        let bytes = text.as_bytes();
        if bytes.len() < TRACEPARENT_LENGTH || bytes.len() > MAX_TRACEPARENT {
            return Err(TraceContextError);
        }
        let [version] = hex(&bytes[0..2])?;
        // A later version may go on after a dash; version 00 ends here, and ff does not exist.
        let ends = match version {
            0 => bytes.len() == TRACEPARENT_LENGTH,
            0xff => false,
            _ => bytes.len() == TRACEPARENT_LENGTH || bytes[TRACEPARENT_LENGTH] == b'-',
        };
        if !ends || [bytes[2], bytes[35], bytes[52]] != [b'-'; 3] {
            return Err(TraceContextError);
        }
        let (trace_id, parent_id, [flags]) =
            (hex(&bytes[3..35])?, hex(&bytes[36..52])?, hex(&bytes[53..55])?);
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(TraceContextError);
        }
        // Bits that this version does not define are not passed on (section 3.2.2.5).
        Ok(Self { trace_id, parent_id, flags: flags & SAMPLED })
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub const fn sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace with our span as the parent; `None` if the id is all zero.
    #[must_use]
    pub fn child(self, span_id: [u8; 8]) -> Option<Self> {
        (span_id != [0; 8]).then_some(Self { parent_id: span_id, ..self })
    }
}

/// As version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.parent_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", self.flags)
    }
}

/// Whether `text` may be passed on as `tracestate`: printable ASCII of bounded length, at most 32 members, each `key=value`.
/// One that may not is dropped, and the trace goes on without it (section 3.3.1).
#[must_use]
pub fn tracestate_is_valid(text: &str) -> bool {
    text.len() <= MAX_TRACESTATE
        && text.bytes().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e))
        && text.split(',').count() <= MAX_MEMBERS
        && text.split(',').map(|member| member.trim_matches([' ', '\t'])).all(|member| {
            member.is_empty()
                || member
                    .split_once('=')
                    .is_some_and(|(key, value)| key_is_valid(key) && value_is_valid(value))
        })
}

fn key_is_valid(key: &str) -> bool {
    key.len() <= 256
        && key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn value_is_valid(value: &str) -> bool {
    !value.is_empty() && value.len() <= 256 && !value.contains(['=', '\t'])
}

/// Lower-case hexadecimal of exactly `N` bytes.
fn hex<const N: usize>(text: &[u8]) -> Result<[u8; N], TraceContextError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceContextError),
    };
    if text.len() != 2 * N {
        return Err(TraceContextError);
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(out)
}
