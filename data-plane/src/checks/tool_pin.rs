//! Row 12, tool pin: only an approved definition may be called.
//!
//! The approved definition is the one that is listed. A tool whose server shows another definition is quarantined: by the
//! snapshot, or at once by the worker that noticed. From 2026-07-28 on, `Mcp-Param-*` headers must equal the arguments
//! that the approved definition mirrors.

use std::sync::Arc;

use ::mcp::{ProtocolError, Target};
use wire::v1::ToolState;

use super::{Call, Exchange, Grounds, Permit};
use crate::{refuse::Refusal, snapshot::index::ToolIndex};

/// Evidence: what is called is what was approved. Everything that is no tool passes.
#[derive(Debug)]
pub(crate) struct PinnedCall {
    tool: Option<Arc<ToolIndex>>,
}

impl PinnedCall {
    pub(crate) fn tool(&self) -> Option<&Arc<ToolIndex>> {
        self.tool.as_ref()
    }
}

/// Checks the pin. `quarantined` asks whether a worker of this proxy has seen another definition.
pub(crate) fn check(
    exchange: &Exchange,
    call: &Call<'_>,
    permit: &Permit,
    quarantined: impl FnOnce(&ToolIndex) -> bool,
) -> Result<PinnedCall, Refusal> {
    let Grounds::Tool(tool) = permit.grounds() else { return Ok(PinnedCall { tool: None }) };
    pinned(tool, quarantined)?;
    if call.revision().is_modern()
        && let Target::Tool { arguments, .. } = call.target()
    {
        let unusable = || ProtocolError::header_mismatch("the tool's x-mcp-header annotations are not valid");
        let mirrored = tool.mirrored().ok_or_else(unusable);
        mirrored
            .and_then(|mirrored| mirrored.verify(exchange.headers(), *arguments))
            .map_err(Refusal::Protocol)?;
    }
    Ok(PinnedCall { tool: Some(Arc::clone(tool)) })
}

fn pinned(tool: &ToolIndex, quarantined: impl FnOnce(&ToolIndex) -> bool) -> Result<(), Refusal> {
    match tool.state {
        ToolState::Approved if tool.digest.is_none() => Err(Refusal::ToolNotApproved),
        ToolState::Approved if quarantined(tool) => Err(Refusal::ToolQuarantined),
        ToolState::Approved => Ok(()),
        ToolState::Quarantined => Err(Refusal::ToolQuarantined),
        ToolState::Pending | ToolState::Rejected | ToolState::Unspecified => Err(Refusal::ToolNotApproved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, World};

    fn pin(state: ToolState, approved: bool, seen_changed: bool) -> Result<(), Refusal> {
        let world = World::with(|body| {
            if let Some(tool) = testing::tool(body) {
                tool.state = state.into();
                if !approved {
                    tool.digest.clear();
                    tool.definition.clear();
                }
            }
        });
        let tenant = world.tenant();
        let tool = tenant.upstreams.values().next().unwrap().tools.values().next().unwrap();
        pinned(tool, |_| seen_changed)
    }

    #[test]
    fn only_an_approved_tool_that_shows_what_was_approved_is_called() {
        assert!(pin(ToolState::Approved, true, false).is_ok());
        assert!(matches!(pin(ToolState::Approved, true, true), Err(Refusal::ToolQuarantined)));
        assert!(matches!(pin(ToolState::Quarantined, true, false), Err(Refusal::ToolQuarantined)));
        for state in [ToolState::Pending, ToolState::Rejected] {
            assert!(matches!(pin(state, false, false), Err(Refusal::ToolNotApproved)));
        }
    }
}
