//! One file of the archive: a header and then frames ([`crypto::archive::frame`]), only ever appended to.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crypto::archive::frame::{FRAME, Frame, HEADER, Header, Walk, walk};

const SUFFIX: &str = ".gen";

/// An open generation.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) len: u64,
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}{SUFFIX}"))
}

/// Numbers of the generations in `dir`, newest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

impl Generation {
    /// Begins a generation under a name that [`list`] does not see; [`Self::publish`] gives it its own.
    pub(super) fn create(dir: &Path, header: Header) -> io::Result<Self> {
        let path = dir.join("next");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all_at(&header.encode(), 0)?;
        Ok(Self { number: header.number, path, file: Arc::new(file), len: HEADER as u64 })
    }

    /// Once all of it is on disk, makes it one of the generations.
    pub(super) fn publish(&mut self, dir: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let path = path(dir, self.number);
        fs::rename(&self.path, &path)?;
        self.path = path;
        File::open(dir)?.sync_all()
    }

    /// Opens a generation; `None` in place of a header that is none.
    pub(super) fn open(dir: &Path, number: u64) -> io::Result<(Self, Option<Header>)> {
        let path = path(dir, number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let len = file.metadata()?.len();
        let mut head = [0; HEADER];
        let header = if len < HEADER as u64 || file.read_exact_at(&mut head, 0).is_err() {
            None
        } else {
            Header::decode(&head)
        };
        Ok((Self { number, path, file: Arc::new(file), len }, header))
    }

    /// The frames in it.
    pub(super) fn walk(&self) -> io::Result<Walk> {
        walk(self.len, |at, out| self.file.read_exact_at(out, at))
    }

    /// Forgets what lies behind `end`, so that the next frame begins there.
    pub(super) fn cut(&mut self, end: u64) -> io::Result<()> {
        self.file.set_len(end)?;
        self.len = end;
        Ok(())
    }

    /// Writes a frame at the end; gives its offset. A part of one is overwritten by the next.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<u64> {
        let at = self.len;
        self.file.write_all_at(frame, at)?;
        self.len += frame.len() as u64;
        Ok(at)
    }

    /// Keeps the file under a name that [`list`] does not see.
    pub(super) fn set_aside(self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("unusable"))
    }

    /// Deletes the file.
    pub(super) fn delete(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

/// The sealed part of the frame at `at`. `None` when another frame, or none, lies there.
pub(super) fn sealed(file: &File, at: u64, frame: &Frame) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; FRAME + frame.len as usize];
    file.read_exact_at(&mut bytes, at)?;
    if Frame::decode(&bytes) != Some(*frame) {
        return Ok(None);
    }
    Ok(Some(bytes.split_off(FRAME)))
}
