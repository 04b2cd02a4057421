//! The archive's key file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use crypto::{
    Zeroizing,
    archive::{ArchiveKey, ArchiveKeyError},
};
use seams::Entropy;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// It cannot be read or made.
    #[error("archive key file cannot be read or made")]
    Io(#[from] io::Error),
    /// It holds something else.
    #[error(transparent)]
    Format(#[from] ArchiveKeyError),
}

/// The key in the file; makes the file if there is none.
pub(super) fn ensure(path: &Path, entropy: &dyn Entropy) -> Result<ArchiveKey, KeyFileError> {
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => return Ok(ArchiveKey::from_file(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let bytes = ArchiveKey::generate_file(entropy);
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()?;
    Ok(ArchiveKey::from_file(&bytes)?)
}
