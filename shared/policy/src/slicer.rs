//! Which policies can bear on what, so that deciding looks at few of them (Cedar's cost grows with their number).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ids::{GrantId, UpstreamId, Uuid};

use crate::grant::{Action, Class, GrantSpec, GrantedAction, ToolSelector};

/// Grants by the subject (role or client) they are for.
pub type SubjectGrants = BTreeMap<Uuid, BTreeSet<GrantId>>;

/// What is decided by name or URI inside Cedar and therefore sliced by upstream only.
pub type MethodKey = (Action, UpstreamId);

/// Cuts a tenant's grants. A slice is never too narrow: deciding over it gives what deciding over all policies gives.
#[derive(Debug, Default)]
pub struct Slicer<'a> {
    named: HashMap<UpstreamId, HashMap<&'a str, SubjectGrants>>,
    classes: HashMap<(UpstreamId, Class), SubjectGrants>,
    methods: BTreeMap<MethodKey, SubjectGrants>,
}

impl<'a> Slicer<'a> {
    /// Reads the grants once.
    #[must_use]
    pub fn new(grants: impl IntoIterator<Item = &'a GrantSpec>) -> Self {
        let mut slicer = Self::default();
        for grant in grants {
            for granted in &grant.actions {
                slicer.add(grant, granted);
            }
        }
        slicer
    }

    fn add(&mut self, grant: &GrantSpec, granted: &'a GrantedAction) {
        let upstream = granted.upstream();
        let to = |subjects: &mut SubjectGrants| {
            subjects.entry(grant.subject.uuid()).or_default().insert(grant.id);
        };
        match granted {
            GrantedAction::CallTool { tools: ToolSelector::Names(names), .. } => {
                let named = self.named.entry(upstream).or_default();
                names.iter().for_each(|name| to(named.entry(name.as_str()).or_default()));
            }
            GrantedAction::CallTool { tools: ToolSelector::Classes(classes), .. } => {
                classes.iter().for_each(|class| to(self.classes.entry((upstream, *class)).or_default()));
            }
            GrantedAction::GetPrompt { .. }
            | GrantedAction::ReadResource { .. }
            | GrantedAction::Subscribe { .. }
            | GrantedAction::Complete { .. }
            | GrantedAction::UseTasks { .. } => {
                to(self.methods.entry((granted.action(), upstream)).or_default())
            }
        }
    }

    /// The grants that can bear on a tool: those that name it, and those of its class.
    #[must_use]
    pub fn tool(&self, upstream: UpstreamId, name: &str, class: Class) -> SubjectGrants {
        let mut found = self.classes.get(&(upstream, class)).cloned().unwrap_or_default();
        let named = self.named.get(&upstream).and_then(|names| names.get(name));
        for (subject, grants) in named.into_iter().flatten() {
            found.entry(*subject).or_default().extend(grants);
        }
        found
    }

    /// The grants that can bear on everything else, by action and upstream.
    #[must_use]
    pub fn methods(&self) -> &BTreeMap<MethodKey, SubjectGrants> {
        &self.methods
    }
}
