//! The bytes of an archive's files, all integers little-endian:
//!
//! ```text
//! generation  header, then frames
//! header      "PCARCH\0" 1 | number u64 | proxy 16 | key id 8 | 0 u32 | crc32 of the above
//! frame       "pcF" kind u8 | len u32 | seq u64 | rev u64 | tenant 16 | 0 u32 | crc32 of the above | sealed, `len` bytes
//! ```
//!
//! The checksum covers a frame's header alone: it tells where frames begin. Whether a frame says the truth is told by what
//! is sealed in it, which names everything in the header.

use ids::{TenantId, Uuid};

use super::{Kind, OVERHEAD};

/// Bytes of a file's header.
pub const HEADER: usize = 48;
/// Bytes of a frame before its sealed part.
pub const FRAME: usize = 48;
/// The longest sealed part, in bytes: a whole tenant with its data keys fits.
pub const MAX_SEALED: usize = 20 << 20;

const MAGIC: [u8; 8] = *b"PCARCH\0\x01";
const FRAME_MAGIC: [u8; 3] = *b"pcF";

/// Header of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Counts generations.
    pub number: u64,
    /// Who keeps it.
    pub proxy: [u8; 16],
    /// What it is sealed under.
    pub key: [u8; 8],
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..32].copy_from_slice(&self.proxy);
        out[32..40].copy_from_slice(&self.key);
        finish(&mut out);
        out
    }

    /// `None` when the bytes are no header of this version, or were damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = checked(bytes)?;
        (bytes[..8] == MAGIC).then_some(())?;
        Some(Self { number: u64_at(bytes, 8), proxy: array_at(bytes, 16), key: array_at(bytes, 32) })
    }
}

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it is: a tenant's configuration, or that it is gone.
    pub kind: Kind,
    /// Bytes of the sealed part.
    pub len: u32,
    /// Place in the order of entries.
    pub seq: u64,
    /// Revision.
    pub rev: u64,
    /// Whose.
    pub tenant: TenantId,
}

impl Frame {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME] {
        let mut out = [0; FRAME];
        out[..3].copy_from_slice(&FRAME_MAGIC);
        out[3] = match self.kind {
            Kind::Tenant => 1,
            Kind::Removed => 2,
            Kind::Floor => 3,
        };
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16..24].copy_from_slice(&self.rev.to_le_bytes());
        out[24..40].copy_from_slice(self.tenant.uuid().as_bytes());
        finish(&mut out);
        out
    }

    /// `None` when the bytes are no frame's, or were damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = checked(bytes)?;
        (bytes[..3] == FRAME_MAGIC).then_some(())?;
        let kind = match bytes[3] {
            1 => Kind::Tenant,
            2 => Kind::Removed,
            _ => return None,
        };
        let len = u32::from_le_bytes(array_at(bytes, 4));
        ((OVERHEAD..=MAX_SEALED).contains(&(len as usize))).then_some(())?;
        let tenant = TenantId::from_uuid(Uuid::from_bytes(array_at(bytes, 24)));
        Some(Self { kind, len, seq: u64_at(bytes, 8), rev: u64_at(bytes, 16), tenant })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub const fn whole(&self) -> u64 {
        FRAME as u64 + self.len as u64
    }
}

/// Where the next frame begins in `bytes`, which begin inside damage: the first place at which one decodes.
#[must_use]
pub fn find(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(FRAME)?;
    (0..=last).find(|at| bytes[*at..].starts_with(&FRAME_MAGIC) && Frame::decode(&bytes[*at..]).is_some())
}

/// What a walk through a generation found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Whole frames in the order they lie, with their offsets. What is sealed in them has not been looked at.
    pub frames: Vec<(u64, Frame)>,
    /// Where the last of them ends: what lies behind was not written to its end.
    pub end: u64,
    /// There is damage, and whole frames lie behind it.
    pub damaged: bool,
}

/// Bytes read at once where a frame is searched for.
const CHUNK: usize = 64 << 10;

/// Walks the frames of a generation of `len` bytes, stepping over damage. `read` fills a buffer from an offset; it is asked
/// for nothing beyond `len`.
///
/// # Errors
/// What `read` gave.
pub fn walk<E>(len: u64, mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>) -> Result<Walk, E> {
    let mut found = Walk { end: HEADER as u64, ..Walk::default() };
    let mut at = HEADER as u64;
    let mut head = [0; FRAME];
    while at + FRAME as u64 <= len {
        read(at, &mut head)?;
        let Some(frame) = Frame::decode(&head) else {
            let Some(next) = search(at + 1, len, &mut read)? else { break };
            at = next;
            found.damaged = true;
            continue;
        };
        if frame.whole() > len - at {
            // The last one, unless its length is a lie that happens to check.
            let Some(next) = search(at + 1, len, &mut read)? else { break };
            at = next;
            found.damaged = true;
            continue;
        }
        found.frames.push((at, frame));
        at += frame.whole();
        found.end = at;
    }
    Ok(found)
}

fn search<E>(
    mut at: u64,
    len: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<u64>, E> {
    let mut chunk = vec![0; CHUNK];
    while at + FRAME as u64 <= len {
        let size = usize::try_from(len - at).map_or(CHUNK, |left| left.min(CHUNK));
        read(at, &mut chunk[..size])?;
        if let Some(offset) = find(&chunk[..size]) {
            return Ok(Some(at + offset as u64));
        }
        at += (size - FRAME + 1) as u64;
    }
    Ok(None)
}

/// Both headers end alike.
fn finish(out: &mut [u8; HEADER]) {
    let crc = crc32fast::hash(&out[..HEADER - 4]);
    out[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
}

fn checked(bytes: &[u8]) -> Option<&[u8; HEADER]> {
    let bytes = bytes.first_chunk::<HEADER>()?;
    let zero = bytes[HEADER - 8..HEADER - 4] == [0; 4];
    let crc = u32::from_le_bytes(array_at(bytes, HEADER - 4));
    (zero && crc == crc32fast::hash(&bytes[..HEADER - 4])).then_some(bytes)
}

fn array_at<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u64_at(bytes: &[u8; HEADER], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
