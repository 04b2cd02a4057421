//! Looking at what came back.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use url::Url;

/// A member that must be a string.
#[must_use]
pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no text `{member}` in {value}")).to_owned()
}

/// Waits until `holds`; panics after a time that only a defect needs.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

pub(crate) fn https(addr: SocketAddr) -> Url {
    format!("https://{addr}").parse().unwrap()
}
