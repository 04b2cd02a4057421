//! The file in which a proxy keeps what must stop, so that a restart forgets none of it, also with nobody to ask.
//!
//! `portcullis kills v1\n`, SHA-256 of what follows, `KillState`. It lies beside the proxy's identity and is as safe as that:
//! who can write there is the proxy.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use crypto::digest::sha256;
use prost::Message as _;
use wire::{kill::KillSet, v1};

use super::Held;

const FILE: &str = "kills.bin";
const HEADER: &[u8] = b"portcullis kills v1\n";

/// What was kept; `None` if nothing ever was.
pub(super) fn load(state_dir: &Path) -> io::Result<Option<Held>> {
    let bytes = match fs::read(state_dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    let rest = bytes.strip_prefix(HEADER).ok_or_else(damaged)?;
    let (digest, state) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
    if sha256(state) != *digest {
        return Err(damaged());
    }
    let (set, public_keys) = KillSet::decode(state).ok_or_else(damaged)?;
    let v1::KillState { unsaved, unsaved_signature, .. } =
        v1::KillState::decode(state).map_err(|_| damaged())?;
    Ok(Some(Held { set, public_keys, unsaved, unsaved_signature }))
}

/// Replaces the file whole: a crash leaves the old one or the new one.
pub(super) fn save(state_dir: &Path, held: &Held) -> io::Result<()> {
    let mut state = held.set.encode(&held.public_keys);
    // One message after another is both of them.
    let (unsaved, unsaved_signature) = (held.unsaved.clone(), held.unsaved_signature.clone());
    let kept = v1::KillState { unsaved, unsaved_signature, ..v1::KillState::default() };
    state.extend_from_slice(&kept.encode_to_vec());
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let temporary = state_dir.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(HEADER)?;
    file.write_all(&sha256(&state))?;
    file.write_all(&state)?;
    file.sync_all()?;
    fs::rename(&temporary, state_dir.join(FILE))?;
    File::open(state_dir)?.sync_all()
}
