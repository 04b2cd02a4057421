//! The floor: what may be served at least. It lies beside the archive and not in it, so that an archive of yesterday that is
//! copied back is noticed.
//!
//! One small sealed file, replaced whole. Whoever can put back both an old archive and its old floor is not noticed; how old
//! that may be is bounded by `max_stale`, since the floor also says when the control plane last confirmed what is in force,
//! and how long ago that was at least.
//!
//! ```text
//! file       "PCFLOOR" 2 | key id 8 | sealed
//! plaintext  confirmed_micros u64 | seq u64 | kill_epoch u64 | flags u32 | proxies u32 | age_micros u64 |
//!            (tenant 16 | rev u64)*, little-endian
//! ```
//!
//! Version 1, which proxies wrote before there was an age, has none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crypto::{
    Zeroizing,
    archive::{ArchiveKey, Place},
};
use hashbrown::HashMap;
use ids::{ProxyId, TenantId, Uuid};
use seams::{Entropy, Timestamp};

const MAGIC: [u8; 8] = *b"PCFLOOR\x02";
const NAME: &str = "archive.floor";
const FIXED: usize = 40;
/// What came before: the same without an age.
const FORMER: ([u8; 8], usize) = (*b"PCFLOOR\x01", 32);
const ROW: usize = 24;
/// Far more than any proxy serves.
const MAX_FILE: u64 = 64 << 20;
const COMPLETE: u64 = 1;

/// What may be served at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// When the control plane last confirmed that what is in force is current.
    pub(super) confirmed: Timestamp,
    /// How long ago that was at least when this was written, by clocks that cannot be set.
    pub(super) age: Duration,
    /// The last entry of the archive that this takes into account.
    pub(super) seq: u64,
    /// The last kill epoch in force.
    pub(super) kill_epoch: u64,
    /// How many proxies of the pool lived; 0: not known.
    pub(super) proxies: u32,
    /// Whether the archive held everything there was to serve.
    pub(super) complete: bool,
    /// Every tenant that is served, with the revision it has at least.
    pub(super) tenants: HashMap<TenantId, u64, ahash::RandomState>,
}

/// What lies where the floor should.
#[derive(Debug)]
pub(super) enum Found {
    Floor(Floor),
    /// Nothing was ever written.
    Nothing,
    /// Damaged, or sealed by another proxy or under another key.
    Unusable,
}

fn path(state_dir: &Path, suffix: &str) -> PathBuf {
    state_dir.join(format!("{NAME}{suffix}"))
}

/// The floor, or the one before it if that was damaged. Says whether it was.
pub(super) fn read(state_dir: &Path, key: &ArchiveKey, proxy: ProxyId) -> io::Result<(Found, bool)> {
    let mut damaged = false;
    for suffix in ["", ".old"] {
        let Some(bytes) = bytes(&path(state_dir, suffix))? else { continue };
        match decode(&bytes, key, proxy) {
            Some(floor) => return Ok((Found::Floor(floor), damaged)),
            None => damaged = true,
        }
    }
    Ok((if damaged { Found::Unusable } else { Found::Nothing }, damaged))
}

fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Replaces the floor whole: a crash leaves this one or the one before.
pub(super) fn write(
    state_dir: &Path,
    key: &ArchiveKey,
    proxy: ProxyId,
    floor: &Floor,
    entropy: &dyn Entropy,
) -> io::Result<()> {
    let mut out = [MAGIC, key.id()].concat();
    key.seal(&Place::floor(proxy), &encode(floor), &mut out, entropy).map_err(io::Error::other)?;
    let (next, current) = (path(state_dir, ".new"), path(state_dir, ""));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&out)?;
    file.sync_all()?;
    match fs::rename(&current, path(state_dir, ".old")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(next, current)?;
    File::open(state_dir)?.sync_all()
}

fn encode(floor: &Floor) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(FIXED + floor.tenants.len() * ROW));
    let flags = (u64::from(floor.complete) * COMPLETE) | (u64::from(floor.proxies) << 32);
    let age = u64::try_from(floor.age.as_micros()).unwrap_or(u64::MAX);
    for value in [floor.confirmed.micros(), floor.seq, floor.kill_epoch, flags, age] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    for (tenant, rev) in &floor.tenants {
        out.extend_from_slice(tenant.uuid().as_bytes());
        out.extend_from_slice(&rev.to_le_bytes());
    }
    out
}

fn decode(bytes: &[u8], key: &ArchiveKey, proxy: ProxyId) -> Option<Floor> {
    let (sealed, fixed) = match (bytes.strip_prefix(&MAGIC), bytes.strip_prefix(&FORMER.0)) {
        (Some(rest), _) => (rest.get(8..)?, FIXED),
        (None, Some(rest)) => (rest.get(8..)?, FORMER.1),
        (None, None) => return None,
    };
    let plain = key.open(&Place::floor(proxy), sealed).ok()?;
    let (fixed, rows) = plain.split_at_checked(fixed)?;
    let value = |at: usize| Some(u64::from_le_bytes(*fixed.get(at * 8..)?.first_chunk()?));
    let (rows, []) = rows.as_chunks::<ROW>() else { return None };
    let tenants = rows.iter().map(|row| {
        let tenant = TenantId::from_uuid(Uuid::from_slice(&row[..16]).ok()?);
        Some((tenant, u64::from_le_bytes(*row[16..].first_chunk()?)))
    });
    let (flags, proxies) = (value(3)? & u64::from(u32::MAX), value(3)? >> 32);
    (flags <= COMPLETE).then_some(())?;
    Some(Floor {
        confirmed: Timestamp::from_micros(value(0)?),
        age: Duration::from_micros(if fixed.len() == FIXED { value(4)? } else { 0 }),
        seq: value(1)?,
        kill_epoch: value(2)?,
        proxies: u32::try_from(proxies).ok()?,
        complete: flags & COMPLETE != 0,
        tenants: tenants.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use seams::SystemEntropy;

    use super::*;

    fn sealed(magic: [u8; 8], plain: &[u8]) -> (Vec<u8>, ArchiveKey, ProxyId) {
        let key = ArchiveKey::from_file(&ArchiveKey::generate_file(&SystemEntropy)).unwrap();
        let proxy = ProxyId::from_parts(1, [1; 10]);
        let mut bytes = [magic, key.id()].concat();
        key.seal(&Place::floor(proxy), plain, &mut bytes, &SystemEntropy).unwrap();
        (bytes, key, proxy)
    }

    fn sample() -> Floor {
        Floor {
            confirmed: Timestamp::from_secs(1_800_000_000),
            age: Duration::from_secs(90),
            seq: 7,
            kill_epoch: 3,
            proxies: 4,
            complete: true,
            tenants: [(TenantId::from_parts(1, [2; 10]), 5)].into_iter().collect(),
        }
    }

    #[test]
    fn a_floor_is_read_as_it_was_written() {
        let (bytes, key, proxy) = sealed(MAGIC, &encode(&sample()));
        assert_eq!(decode(&bytes, &key, proxy), Some(sample()));
    }

    /// What a proxy wrote before an upgrade; and the version, which is not sealed, says nothing that the rest does not.
    #[test]
    fn a_floor_without_an_age_is_read_too() {
        let mut plain = encode(&sample()).to_vec();
        plain.drain(FORMER.1..FIXED);
        let (mut bytes, key, proxy) = sealed(FORMER.0, &plain);
        assert_eq!(decode(&bytes, &key, proxy), Some(Floor { age: Duration::ZERO, ..sample() }));
        bytes[..8].copy_from_slice(&MAGIC);
        assert_eq!(decode(&bytes, &key, proxy), None);
        let (mut bytes, key, proxy) = sealed(MAGIC, &encode(&sample()));
        bytes[..8].copy_from_slice(&FORMER.0);
        assert_eq!(decode(&bytes, &key, proxy), None);
    }
}
