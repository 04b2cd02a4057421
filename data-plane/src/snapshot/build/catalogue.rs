//! Tools, and the policies that bear on them.

use std::{sync::Arc, time::Duration};

use ids::{UpstreamId, Uuid};
use redis_link::counters::Subject;
use wire::v1;

use super::{
    super::{
        decode::DecodeError,
        definitions::Definitions,
        index::{Map, ToolIndex, Tools},
    },
    At, Limits, boxed,
    former::Former,
};
use crate::upstream::ToolTimeouts;

/// Tools by upstream and name.
pub(super) type Catalogue = Map<UpstreamId, Tools>;

pub(super) fn tools(
    tools: Vec<(String, v1::Tool)>,
    policies: &policy::PolicyIndex,
    limits: &Limits<'_>,
    definitions: &mut Definitions,
    former: &Former<'_>,
) -> Result<Catalogue, DecodeError> {
    let mut out = Catalogue::default();
    // Most tools of a tenant are for the same subjects.
    let mut known: Map<Vec<(Uuid, Vec<policy::PolicyRef>)>, policy::Slices> = Map::default();
    for (resource, tool) in tools {
        let at = At(&resource);
        let id = at.id(&tool.id, "id")?;
        let upstream = at.id(&tool.upstream_id, "upstream_id")?;
        let digest = if tool.digest.is_empty() { None } else { Some(at.digest(&tool.digest, "digest")?) };
        let (state, class) = (tool.state(), tool.class());
        let slices = slices(&at, tool.slices, policies)?;
        let slices = known.entry(slices).or_insert_with_key(|new| policy::Slices::new(new.clone())).clone();
        let index = ToolIndex {
            id,
            upstream,
            state,
            class,
            digest,
            definition: definitions.share(&tool.definition),
            slices,
            cost: tool.cost.max(1),
            labels: boxed(&tool.labels),
            limit: limits.of(Subject::Tool(id)),
            timeouts: tool.timeouts.map(timeouts),
            of_use: former.of_use(upstream, &tool.name),
            name: tool.name.as_str().into(),
        };
        out.entry(upstream).or_default().insert(Arc::new(index));
    }
    Ok(out)
}

fn timeouts(timeouts: v1::Timeouts) -> Box<ToolTimeouts> {
    let own = |millis: u32| (millis != 0).then(|| Duration::from_millis(u64::from(millis)));
    Box::new(ToolTimeouts {
        connect: own(timeouts.connect_ms),
        first_byte: own(timeouts.first_byte_ms),
        idle: own(timeouts.idle_ms),
        total: own(timeouts.total_ms),
    })
}

/// Subjects with the policies for each.
pub(super) fn slices(
    at: &At<'_>,
    slices: Vec<v1::Slice>,
    policies: &policy::PolicyIndex,
) -> Result<Vec<(Uuid, Vec<policy::PolicyRef>)>, DecodeError> {
    let slices = slices.into_iter().map(|slice| {
        let subject = Uuid::from_slice(&slice.subject_id).map_err(|_| at.fault("slices.subject_id"))?;
        let refs =
            slice.policies.iter().map(|id| policies.find(id).ok_or_else(|| at.fault("slices.policies")));
        Ok((subject, refs.collect::<Result<Vec<_>, DecodeError>>()?))
    });
    slices.collect()
}
