//! What a report of an upstream's tools changes. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use ids::ToolId;
use mcp::raw::{Raw, definition_digest};
use wire::{
    snapshot::{MAX_DEFINITION, MAX_NAME, MAX_TOOLS},
    v1,
};

/// State of a catalogue entry, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Approved,
    Quarantined,
    Rejected,
    Retired,
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Retired => "retired",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Quarantined, Self::Rejected, Self::Retired]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// A tool the catalogue has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: ToolId,
    pub(super) name: String,
    pub(super) state: State,
    pub(super) pinned: Option<[u8; 32]>,
    pub(super) seen: [u8; 32],
}

/// A tool the upstream showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) digest: [u8; 32],
    pub(super) definition: Bytes,
}

impl Seen {
    /// `None` when the definition cannot be pinned: not an object of JSON without duplicate keys, too large, or of
    /// another name than it is reported under.
    pub(super) fn read(tool: v1::ToolDefinition) -> Option<Self> {
        if !(1..=MAX_NAME).contains(&tool.name.len()) || tool.definition.len() > MAX_DEFINITION {
            return None;
        }
        let raw = Raw::parse(&tool.definition).ok()?;
        if !raw.get("name")?.is_str(&tool.name) {
            return None;
        }
        let digest = definition_digest(raw).ok()?;
        Some(Self { name: tool.name, digest, definition: tool.definition })
    }
}

/// A known tool's new state; what was pinned stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) id: ToolId,
    pub(super) state: State,
    pub(super) seen: [u8; 32],
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Not in the catalogue yet.
    pub(super) new: Vec<Seen>,
    /// State or definition differ from what is stored.
    pub(super) updates: Vec<Update>,
    /// Definitions to keep, of new and changed tools.
    pub(super) definitions: Vec<Seen>,
    /// Digests of what changed tools showed before.
    pub(super) replaced: Vec<[u8; 32]>,
    /// Not taken in, because the upstream has shown more names than the catalogue keeps.
    pub(super) left_out: usize,
    /// Shown again as they were.
    pub(super) same: Vec<ToolId>,
    pub(super) added: u32,
    pub(super) changed: u32,
    pub(super) retired: u32,
    /// Something proxies enforce changes.
    pub(super) publish: bool,
}

/// Compares. A complete list retires what it does not name.
pub(super) fn plan(known: &[Known], seen: Vec<Seen>, complete: bool) -> Plan {
    let mut plan = Plan::default();
    let by_name: HashMap<&str, &Known> = known.iter().map(|tool| (tool.name.as_str(), tool)).collect();
    let mut shown: HashMap<String, Seen> = HashMap::new();
    for tool in seen {
        // A name shown twice is the upstream's fault; the first one counts, as it does for callers.
        shown.entry(tool.name.clone()).or_insert(tool);
    }
    let mut names: Vec<_> = shown.keys().cloned().collect();
    names.sort_unstable();
    for name in names {
        let Some(tool) = shown.get(&name) else { continue };
        match by_name.get(name.as_str()) {
            // Retired tools count: an upstream that invents names all the time ends here.
            None if known.len() + plan.new.len() >= MAX_TOOLS => plan.left_out += 1,
            None => {
                plan.added += 1;
                plan.publish = true;
                plan.definitions.push(tool.clone());
                plan.new.push(tool.clone());
            }
            Some(known) => plan.compare(known, tool),
        }
    }
    if complete {
        for tool in
            known.iter().filter(|tool| tool.state != State::Retired && !shown.contains_key(&tool.name))
        {
            plan.retired += 1;
            plan.publish = true;
            plan.updates.push(Update { id: tool.id, state: State::Retired, seen: tool.seen });
        }
    }
    plan
}

impl Plan {
    fn compare(&mut self, known: &Known, tool: &Seen) {
        let state = next_state(known, tool.digest);
        let new_definition = known.seen != tool.digest;
        if new_definition {
            self.definitions.push(tool.clone());
            self.replaced.push(known.seen);
        }
        if state == known.state && !new_definition {
            self.same.push(known.id);
            return;
        }
        if new_definition || known.state == State::Retired {
            self.changed += 1;
        }
        self.publish |= state != known.state;
        self.updates.push(Update { id: known.id, state, seen: tool.digest });
    }
}

/// What was approved keeps being served while it is quarantined; the very definition that was approved needs no second
/// review.
fn next_state(known: &Known, seen: [u8; 32]) -> State {
    match (known.state, known.pinned) {
        (State::Rejected, _) if known.seen == seen => State::Rejected,
        (State::Rejected | State::Pending, None) | (State::Retired, None) => State::Pending,
        (State::Pending, Some(_)) => State::Pending,
        (_, Some(pinned)) if pinned == seen && known.state != State::Rejected => State::Approved,
        (_, Some(_)) => State::Quarantined,
        // Approved or quarantined without a pin cannot be stored.
        (_, None) => State::Pending,
    }
}

#[cfg(test)]
mod tests;
