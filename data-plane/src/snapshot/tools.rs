//! An upstream's tools by name.

use std::{fmt, sync::Arc};

use ahash::RandomState;
use hashbrown::HashTable;

use super::index::ToolIndex;

/// By the upstream's own name, which each tool has in itself: a map would hold it twice, for every tool of every tenant.
#[derive(Default)]
pub struct Tools {
    table: HashTable<Arc<ToolIndex>>,
    /// Keyed: names come from callers.
    hasher: RandomState,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values().map(|tool| &tool.name)).finish()
    }
}

impl Tools {
    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<ToolIndex>> {
        self.table.find(self.hasher.hash_one(name), |tool| *tool.name == *name)
    }

    /// Every tool, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Arc<ToolIndex>> {
        self.table.iter()
    }

    /// Adds a tool, in place of one of the same name.
    pub(super) fn insert(&mut self, tool: Arc<ToolIndex>) {
        let hash = self.hasher.hash_one(&*tool.name);
        if let Some(former) = self.table.find_mut(hash, |former| former.name == tool.name) {
            *former = tool;
        } else {
            self.table.insert_unique(hash, tool, |tool| self.hasher.hash_one(&*tool.name));
        }
    }
}
