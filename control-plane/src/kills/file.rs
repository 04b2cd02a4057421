//! The file in which a control plane keeps kills without rows, so that its own restart forgets none of them.
//!
//! `portcullis unsaved kills v1\n`, the signature, `UnsavedKills`. Only while there are any. One that cannot be used is set
//! aside under another name, for people to look at, and is told of at every start until it is gone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crypto::signature::SIGNATURE;

const FILE: &str = "unsaved-kills.bin";
const SET_ASIDE: &str = "unsaved-kills.unreadable";
const HEADER: &[u8] = b"portcullis unsaved kills v1\n";
/// More is not read.
const MOST_BYTES: u64 = 8 << 20;
/// Files that are set aside; with so many, nothing more is written over.
const MOST_SET_ASIDE: usize = 16;

/// What was kept: its bytes and their signature, which is the caller's to check. `None` if nothing is.
pub(super) fn load(dir: &Path) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let file = match File::open(dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let rest = if bytes.len() as u64 > MOST_BYTES { None } else { bytes.strip_prefix(HEADER) };
    let (signature, body) = rest.and_then(|rest| rest.split_at_checked(SIGNATURE)).ok_or_else(damaged)?;
    Ok(Some((body.to_vec(), signature.to_vec())))
}

/// What a file is that holds something else.
pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is damaged, or not signed by this installation")
}

/// Replaces the file whole: a crash leaves the old one or the new one.
pub(super) fn save(dir: &Path, body: &[u8], signature: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = dir.join(format!("{FILE}.new"));
    absent_is_fine(fs::remove_file(&temporary))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(HEADER)?;
    file.write_all(signature)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

/// Nothing is to be kept any more.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Ok(()) => File::open(dir)?.sync_all(),
        Err(error) => absent_is_fine(Err(error)),
    }
}

/// Gives an unusable file a name under which nothing writes over it.
pub(super) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let mut names = (1..=MOST_SET_ASIDE).map(|number| dir.join(format!("{SET_ASIDE}-{number}")));
    let free = names.find(|path| fs::symlink_metadata(path).is_err());
    let free = free.ok_or_else(|| io::Error::other("too many files were set aside already"))?;
    fs::rename(dir.join(FILE), &free)?;
    File::open(dir)?.sync_all()?;
    Ok(free)
}

/// Files that were set aside and that nobody has taken away yet.
pub(super) fn unreadable(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(SET_ASIDE))
    };
    entries.map(|entry| entry.path()).filter(named).collect()
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
