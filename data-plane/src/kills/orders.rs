//! Orders that come as files: whoever can write to the proxy's own directory hands them in, and the signature decides.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use wire::kill::{MAX_ORDER, OrderError};

use super::Kills;

const DIRECTORY: &str = "kill-orders";
/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// Files looked at in one turn: the rest wait for the next.
const AT_ONCE: usize = 64;
/// Unreadable files that are told of.
const MOST_SAID: usize = 1_024;
/// Of files that are still being written and of those already done.
const IGNORED: [&str; 3] = ["new", "done", "refused"];

/// Looks for orders until `stopping`. One that was followed gets the ending `.done`, one that was not `.refused`; files that
/// end in `.new` are left alone, so that they can be written in peace and renamed.
pub(crate) async fn follow_files(kills: Arc<Kills>, state_dir: PathBuf, stopping: CancellationToken) {
    let dir = state_dir.join(DIRECTORY);
    let turns = async {
        // What was complained about, so that it is said once and not twice a second.
        let mut said = HashSet::new();
        loop {
            let found = tokio::task::spawn_blocking({
                let dir = dir.clone();
                move || waiting(&dir, read)
            });
            let (found, unreadable) = found.await.unwrap_or_default();
            for (path, error) in unreadable {
                if said.len() < MOST_SAID && said.insert(path.clone()) {
                    tracing::error!(file = %path.display(), error.cause = %error, "kill order cannot be read");
                }
            }
            for (path, text) in found {
                let ending = match kills.obey(&text).await {
                    Ok(()) => "done",
                    // In force as far as it could be; kept, it is tried again, and after a restart too.
                    Err(OrderError::Full) => continue,
                    Err(error) => {
                        tracing::error!(file = %path.display(), error.cause = %error, "kill order refused");
                        "refused"
                    }
                };
                if let Err(error) = fs::rename(&path, with_ending(&path, ending)) {
                    tracing::error!(file = %path.display(), error.cause = %error, "kill order stays");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = turns => {}
        () = stopping.cancelled() => {}
    }
}

type Found = (Vec<(PathBuf, Vec<u8>)>, Vec<(PathBuf, io::Error)>);

/// Orders, and what cannot be read: that one is no reason to miss another.
fn waiting(dir: &Path, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Found {
    let (mut found, mut unreadable) = Found::default();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
                unreadable.push((dir.to_owned(), error));
            }
            return (found, unreadable);
        }
        Err(error) => {
            unreadable.push((dir.to_owned(), error));
            return (found, unreadable);
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if IGNORED.contains(&ending) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        match read(&path) {
            Ok(text) => found.push((path, text)),
            Err(error) => unreadable.push((path, error)),
        }
        if found.len() == AT_ONCE || unreadable.len() == MOST_SAID {
            break;
        }
    }
    (found, unreadable)
}

/// A file that is too large is read only so far that this shows.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MAX_ORDER as u64 + 1), &mut text)?;
    Ok(text)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_cannot_be_read_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two", "three", "four.done", "five.new"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        // Root may read everything, so the disk has to refuse.
        let bad = dir.path().join("two");
        let (mut found, unreadable) =
            waiting(
                dir.path(),
                |path| if path == bad { Err(io::Error::other("bad sector")) } else { read(path) },
            );
        found.sort();
        let expected = ["one", "three"].map(|name| (dir.path().join(name), name.as_bytes().to_vec()));
        assert_eq!(found, expected);
        let [(path, error)] = &unreadable[..] else { panic!("{unreadable:?}") };
        assert_eq!((path, error.to_string().as_str()), (&bad, "bad sector"));
        assert!(bad.exists(), "it is tried again");
    }
}
