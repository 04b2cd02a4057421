//! The bytes of a segment file.
//!
//! A segment is a header and then frames, all integers little-endian:
//!
//! ```text
//! header  "PCSPOOL" 1 | boot 16 | proxy 16 | number u32 | created_micros u64 | first_seq u64 | crc32 of the above
//! frame   len u32 | crc32 u32 | seq u64 | tenant 16 | record, `len` bytes      (crc over len, seq, tenant and record)
//! ```
//!
//! The frame repeats the tenant so that quotas can be counted after a restart without decoding records.

use super::SpoolError;

/// Bytes of a segment's header.
pub(super) const HEADER: usize = 64;
/// Bytes of a frame before its record.
pub(super) const FRAME: usize = 32;
/// The longest record a frame holds, in bytes. A record holds at most 4 KiB of sealed arguments and 2 KiB of excerpt.
pub(super) const MAX_RECORD: usize = 256 * 1024;
/// How far sequence numbers may jump when a damaged segment is searched for frames that are still whole.
const MAX_JUMP: u64 = 1 << 32;

const MAGIC: [u8; 8] = *b"PCSPOOL\x01";

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) boot: [u8; 16],
    pub(super) proxy: [u8; 16],
    pub(super) number: u32,
    pub(super) created_micros: u64,
    pub(super) first_seq: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..24].copy_from_slice(&self.boot);
        out[24..40].copy_from_slice(&self.proxy);
        out[40..44].copy_from_slice(&self.number.to_le_bytes());
        out[44..52].copy_from_slice(&self.created_micros.to_le_bytes());
        out[52..60].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when the bytes are no header of this version, or were damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 60)? != crc32fast::hash(&bytes[..60]) {
            return None;
        }
        Some(Self {
            boot: array_at(bytes, 8)?,
            proxy: array_at(bytes, 24)?,
            number: u32_at(bytes, 40)?,
            created_micros: u64_at(bytes, 44)?,
            first_seq: u64_at(bytes, 52)?,
        })
    }
}

/// Appends one frame to `out`; `encode` writes exactly `len` record bytes.
pub(super) fn write(
    out: &mut Vec<u8>,
    seq: u64,
    tenant: [u8; 16],
    len: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Result<(), SpoolError> {
    if len > MAX_RECORD {
        return Err(SpoolError::TooLong);
    }
    let start = out.len();
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&tenant);
    encode(out);
    let crc = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// One whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) seq: u64,
    pub(super) tenant: [u8; 16],
    pub(super) record: &'a [u8],
    /// The frame's own bytes.
    pub(super) raw: &'a [u8],
}

/// What starts at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A frame whose checksum is right.
    Frame(Frame<'a>),
    /// Fewer bytes than the frame would need.
    Short,
    /// Not a frame, or a damaged one.
    Damaged,
}

/// Reads the frame at the start of `bytes`.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    let Some(len) = u32_at(bytes, 0).map(|len| len as usize) else { return Next::Short };
    if len > MAX_RECORD {
        return Next::Damaged;
    }
    let Some(raw) = bytes.get(..FRAME + len) else { return Next::Short };
    match (u32_at(raw, 4), u64_at(raw, 8), array_at(raw, 16)) {
        (Some(crc), Some(seq), Some(tenant)) if crc == checksum(raw) => {
            Next::Frame(Frame { seq, tenant, record: &raw[FRAME..], raw })
        }
        _ => Next::Damaged,
    }
}

/// What a walk through a segment's frames found.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// Whole frames in the order they lie, with their offsets.
    pub(super) frames: Vec<(usize, Frame<'a>)>,
    /// Bytes up to the first damage: all of them when there is none.
    pub(super) intact: usize,
    /// There is damage, and whole frames lie behind it.
    pub(super) resumed: bool,
}

/// Walks all frames of a segment (`bytes` with its header), stepping over damage.
pub(super) fn scan(bytes: &[u8]) -> Scan<'_> {
    let mut found = Scan { frames: Vec::new(), intact: HEADER, resumed: false };
    let mut at = HEADER;
    let mut damaged = false;
    let mut last = None;
    while at < bytes.len() {
        match next(&bytes[at..]) {
            Next::Frame(frame) if last.is_none_or(|last| frame.seq > last) => {
                found.resumed |= damaged;
                last = Some(frame.seq);
                found.frames.push((at, frame));
                at += frame.raw.len();
                if !damaged {
                    found.intact = at;
                }
            }
            _ => {
                damaged = true;
                match resync(bytes, at + 1, last) {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
    }
    found
}

/// The next place from `from` on where a whole frame with a plausible sequence number starts.
pub(super) fn resync(bytes: &[u8], from: usize, last: Option<u64>) -> Option<usize> {
    let after = last.unwrap_or(0);
    (from..bytes.len().saturating_sub(FRAME - 1)).find(|&at| {
        // The sequence number is looked at first: it rules out nearly every place without a checksum.
        u64_at(bytes, at + 8).is_some_and(|seq| seq > after && seq - after < MAX_JUMP)
            && matches!(next(&bytes[at..]), Next::Frame(_))
    })
}

fn checksum(raw: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&raw[..4]);
    hasher.update(&raw[8..]);
    hasher.finalize()
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
