//! What earlier boots left behind, read once at the start.
//!
//! A process that was killed leaves at most one incomplete frame, at the end of its last segment: that tail is cut
//! off. Damage anywhere else means that the disk or somebody changed the file: the file is kept as `.corrupt`, an error
//! is logged, and the frames that are still whole go on in a rewritten segment. The control plane sees the missing
//! sequence numbers.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use smallvec::SmallVec;

use super::frame::{self, HEADER, Header};

/// Bytes of one tenant's frames.
pub(super) type Shares = SmallVec<[([u8; 16], u64); 4]>;

/// A segment as the spool keeps track of it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) boot: [u8; 16],
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) first_seq: u64,
    /// Last sequence number in it; `first_seq - 1` when it has none.
    pub(super) last_seq: u64,
    /// Bytes with the header.
    pub(super) len: u64,
    pub(super) shares: Shares,
    /// Nothing more is written to it.
    pub(super) finished: bool,
}

impl Segment {
    /// Counts a frame towards its tenant.
    pub(super) fn count(&mut self, tenant: [u8; 16], bytes: u64) {
        match self.shares.iter_mut().find(|(id, _)| *id == tenant) {
            Some((_, sum)) => *sum += bytes,
            None => self.shares.push((tenant, bytes)),
        }
    }
}

/// What recovery found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Oldest boot first, each boot's in order.
    pub(super) segments: Vec<Segment>,
    /// Segments set aside.
    pub(super) corrupt: u64,
}

/// Reads every boot's directory under `dir`.
pub(super) fn recover(dir: &Path) -> io::Result<Recovered> {
    let mut boots: Vec<(u64, Vec<Segment>)> = Vec::new();
    let mut corrupt = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let (created, segments) = recover_boot(&path, &mut corrupt)?;
        if segments.is_empty() {
            // Fails, as it should, when something was set aside in it.
            let _ = fs::remove_dir(&path);
        } else {
            boots.push((created, segments));
        }
    }
    boots.sort_by_key(|(created, _)| *created);
    Ok(Recovered { segments: boots.into_iter().flat_map(|(_, segments)| segments).collect(), corrupt })
}

fn recover_boot(dir: &Path, corrupt: &mut u64) -> io::Result<(u64, Vec<Segment>)> {
    finish_rewrites(dir)?;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    // Numbers have a fixed width, so names sort as they were made.
    paths.sort();
    let mut created = u64::MAX;
    let mut segments = Vec::new();
    let last = paths.len().saturating_sub(1);
    for (index, path) in paths.into_iter().enumerate() {
        let (at, segment) = recover_segment(path, index == last, corrupt)?;
        created = created.min(at);
        segments.extend(segment);
    }
    Ok((created, segments))
}

/// Completes a rewrite that was interrupted: the new file is whole once the old one has been set aside.
fn finish_rewrites(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rewrite") {
            let segment = path.with_extension("seg");
            if segment.exists() { fs::remove_file(&path)? } else { fs::rename(&path, segment)? }
        }
    }
    Ok(())
}

fn recover_segment(path: PathBuf, last: bool, corrupt: &mut u64) -> io::Result<(u64, Option<Segment>)> {
    let bytes = fs::read(&path)?;
    let Some(header) = Header::decode(&bytes) else {
        if last && bytes.len() < HEADER {
            // Killed between creating the file and writing its header.
            fs::remove_file(&path)?;
        } else {
            set_aside(&path, corrupt)?;
        }
        return Ok((u64::MAX, None));
    };
    let scan = frame::scan(&bytes);
    let torn = scan.intact < bytes.len();
    if torn && last && !scan.resumed {
        tracing::warn!(
            file.path = %path.display(),
            cut.bytes = bytes.len() - scan.intact,
            "audit spool: incomplete last record cut off"
        );
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(scan.intact as u64)?;
        file.sync_all()?;
    } else if torn {
        rewrite(&path, &bytes, &scan, corrupt)?;
    }
    if scan.frames.is_empty() {
        if path.exists() {
            fs::remove_file(&path)?;
        }
        return Ok((header.created_micros, None));
    }
    let mut segment = Segment {
        boot: header.boot,
        number: header.number,
        path,
        first_seq: header.first_seq,
        last_seq: header.first_seq.saturating_sub(1),
        len: HEADER as u64,
        shares: Shares::new(),
        finished: true,
    };
    for (_, frame) in &scan.frames {
        segment.last_seq = frame.seq;
        segment.len += frame.raw.len() as u64;
        segment.count(frame.tenant, frame.raw.len() as u64);
    }
    Ok((header.created_micros, Some(segment)))
}

fn rewrite(path: &Path, bytes: &[u8], scan: &frame::Scan<'_>, corrupt: &mut u64) -> io::Result<()> {
    let new = path.with_extension("rewrite");
    if !scan.frames.is_empty() {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes[..HEADER])?;
        for (_, frame) in &scan.frames {
            file.write_all(frame.raw)?;
        }
        file.sync_all()?;
    }
    set_aside(path, corrupt)?;
    if !scan.frames.is_empty() {
        fs::rename(&new, path)?;
    }
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn set_aside(path: &Path, corrupt: &mut u64) -> io::Result<()> {
    *corrupt += 1;
    let to = path.with_extension("corrupt");
    fs::rename(path, &to)?;
    // Two names of one file, since it was noticed before: renaming one to the other does nothing.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tracing::error!(
        file.path = %to.display(),
        "audit spool: a segment is damaged and was set aside; compare it with the disk's own error log"
    );
    Ok(())
}
