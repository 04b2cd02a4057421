//! Running one plane in this process: `portcullis control`, `portcullis proxy`.

pub mod control;
pub mod environment;
mod front;
mod logs;
pub mod proxy;
mod tls;

use std::path::Path;

use anyhow::Context as _;
use redis_link::Address;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The Redis that was given. An empty variable is as good as none.
fn redis_address(url: Option<SecretString>, ca_file: Option<&Path>) -> anyhow::Result<Option<Address>> {
    let Some(url) = url.filter(|url| !url.expose_secret().is_empty()) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    Ok(Some(Address::parse(url, ca_file.map(read).transpose()?)?))
}

/// A secret from a file, without the line's end.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(SecretString::from(text.trim()))
}
