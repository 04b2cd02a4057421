//! Orders that come as files: whoever can write to the proxy's own directory hands them in, and the signature decides.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use wire::kill::MAX_ORDER;

use super::Kills;

const DIRECTORY: &str = "kill-orders";
/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// Files looked at in one turn: the rest wait for the next.
const AT_ONCE: usize = 64;
/// Of files that are still being written and of those already done.
const IGNORED: [&str; 3] = ["new", "done", "refused"];

/// Looks for orders until `stopping`. One that was followed gets the ending `.done`, one that was not `.refused`; files that
/// end in `.new` are left alone, so that they can be written in peace and renamed.
pub(crate) async fn follow_files(kills: Arc<Kills>, state_dir: PathBuf, stopping: CancellationToken) {
    let dir = state_dir.join(DIRECTORY);
    let turns = async {
        loop {
            let found = tokio::task::spawn_blocking({
                let dir = dir.clone();
                move || waiting(&dir)
            });
            for (path, text) in found.await.ok().and_then(Result::ok).unwrap_or_default() {
                let ending = match kills.obey(&text).await {
                    Ok(()) => "done",
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

fn waiting(dir: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if IGNORED.contains(&ending) || !entry.file_type()?.is_file() {
            continue;
        }
        // A file that is too large is read only so far that this shows.
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(fs::File::open(&path)?, MAX_ORDER as u64 + 1), &mut text)?;
        found.push((path, text));
        if found.len() == AT_ONCE {
            break;
        }
    }
    Ok(found)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
