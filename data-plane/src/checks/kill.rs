//! Rows 3 and 9, kill, and what belongs to row 6: a credential that was revoked.
//!
//! What is killed is refused whatever the configuration says, and needs nothing that can fail: one number is read, and
//! only while something is killed or revoked is more looked at. Drills stop nothing. The same is asked again before the
//! first byte goes to an upstream, and of all that runs (`watch.rs`).

use super::{EndpointEvidence, Principal};
use crate::{
    kills::{Kills, Running},
    refuse::Refusal,
    snapshot::index::{AttachmentIndex, ToolIndex},
};

/// Row 3: fleet, tenant, endpoint.
pub(crate) fn coarse(kills: &Kills, place: &EndpointEvidence) -> Result<(), Refusal> {
    match kills.look() {
        Some(index) if index.stops_endpoint(place.tenant().id, place.endpoint().id) => Err(Refusal::Killed),
        _ => Ok(()),
    }
}

/// Row 6: a revoked credential is one that does not exist.
pub(crate) fn credential(
    kills: &Kills,
    place: &EndpointEvidence,
    principal: &Principal,
) -> Result<(), Refusal> {
    let dead = |index: &crate::kills::KillIndex| {
        index.is_revoked(place.tenant().id, principal.holder(), principal.shown())
    };
    match kills.look() {
        Some(index) if dead(&index) => Err(Refusal::CredentialInvalid),
        _ => Ok(()),
    }
}

/// Row 9: upstream, tool, client, key, principal.
pub(crate) fn fine(
    kills: &Kills,
    place: &EndpointEvidence,
    attachment: &AttachmentIndex,
    tool: Option<&ToolIndex>,
    principal: &Principal,
) -> Result<(), Refusal> {
    let call = || Running {
        tenant: place.tenant().id,
        upstream: attachment.upstream.id,
        tool: tool.map(|tool| tool.id),
        caller: principal.holder(),
        shown: principal.shown(),
    };
    match kills.look() {
        Some(index) if index.stops_call(call()) => Err(Refusal::Killed),
        _ => Ok(()),
    }
}
