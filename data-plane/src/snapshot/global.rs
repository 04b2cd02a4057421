//! Configuration of the fleet: what operators changed of how this proxy was started.

use limits::Rate;
use wire::{global, stream::Version, v1};

use super::decode::DecodeError;

/// Each is `None` where it is as the proxy was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Global {
    /// `None`: the control plane has none, or has not sent it yet.
    pub version: Option<Version>,
    /// The most an endpoint may take.
    pub max_request_bytes: Option<usize>,
    /// The most an endpoint may give in one message.
    pub max_response_bytes: Option<usize>,
    /// Open connections of one address at one worker.
    pub connections_per_address: Option<u32>,
    /// Failed authentications and anonymous answers of one address.
    pub address: Option<Rate>,
}

/// What is in `replace`, exactly as stored.
pub(super) fn decode(replace: &v1::Replace) -> Result<Global, DecodeError> {
    let snapshot = global::decode_exact(&replace.snapshot).map_err(DecodeError::Snapshot)?;
    if snapshot.rev != replace.rev {
        return Err(DecodeError::Envelope("rev"));
    }
    let digest = global::digest(&snapshot);
    if digest[..] != replace.digest[..] {
        return Err(DecodeError::Digest);
    }
    let set = |value: u32| (value > 0).then_some(value);
    let rate = Rate { per_minute: snapshot.address_per_minute, burst: snapshot.address_burst };
    Ok(Global {
        version: Some(Version { rev: snapshot.rev, digest }),
        max_request_bytes: set(snapshot.max_request_bytes).map(|bytes| bytes as usize),
        max_response_bytes: set(snapshot.max_response_bytes).map(|bytes| bytes as usize),
        connections_per_address: set(snapshot.connections_per_address),
        address: set(snapshot.address_burst).map(|_| rate),
    })
}
