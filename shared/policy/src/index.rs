//! A tenant's policies, parsed when first needed, and the slices that say which of them to look at.

use std::sync::{Arc, OnceLock};

use cedar_policy::{Policy, PolicyId};
use ids::Uuid;

use crate::{
    decision::{Ruling, Slice},
    facts::{Principal, Resource},
    grant::Action,
};

/// The annotation by which a policy says which scope it asks for.
const SCOPE: &str = "scope";

/// All policies of a tenant by id. Building it parses nothing.
#[derive(Debug, Default)]
pub struct PolicyIndex {
    /// Sorted by id.
    entries: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    id: Box<str>,
    text: Box<str>,
    /// `Some(None)`: does not parse. Boxed, since a policy is large, there are many, and most are not looked at for long.
    parsed: OnceLock<Option<Box<Policy>>>,
}

/// A policy of the index that gave it; meaningless for another index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef(u32);

impl PolicyIndex {
    /// From ids and texts. Of two policies with one id neither is usable: a slice with it decides nothing but errors.
    #[must_use]
    pub fn new<I: Into<Box<str>>, T: Into<Box<str>>>(policies: impl IntoIterator<Item = (I, T)>) -> Self {
        let mut entries: Vec<Entry> = policies
            .into_iter()
            .map(|(id, text)| Entry { id: id.into(), text: text.into(), parsed: OnceLock::new() })
            .collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        for at in 1..entries.len() {
            if entries[at - 1].id == entries[at].id {
                entries[at - 1].parsed = OnceLock::from(None);
                entries[at].parsed = OnceLock::from(None);
            }
        }
        Self { entries: entries.into() }
    }

    /// The policy with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<PolicyRef> {
        let at = self.entries.binary_search_by(|entry| entry.id.as_ref().cmp(id)).ok()?;
        u32::try_from(at).ok().map(PolicyRef)
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every policy, for a decision that no slice narrows.
    pub fn all(&self) -> impl Iterator<Item = PolicyRef> + '_ {
        (0..self.entries.len()).filter_map(|at| u32::try_from(at).ok().map(PolicyRef))
    }

    /// The named policies, parsed if they were not yet. Naming one twice is naming it once.
    #[must_use]
    pub fn slice(&self, refs: impl IntoIterator<Item = PolicyRef>) -> Slice {
        let mut refs: Vec<PolicyRef> = refs.into_iter().collect();
        refs.sort_unstable();
        refs.dedup();
        let mut slice = Slice::default();
        for PolicyRef(at) in refs {
            let Some(entry) = self.entries.get(at as usize) else {
                slice.broken.push("unknown".into());
                continue;
            };
            let added = entry.policy().is_some_and(|policy| match policy.annotation(SCOPE).map(str::parse) {
                Some(Ok(scope)) => {
                    slice.scopes.push((entry.id.clone(), scope));
                    slice.set.add(policy.clone()).is_ok()
                }
                Some(Err(_)) => false,
                None => slice.set.add(policy.clone()).is_ok(),
            });
            if !added {
                slice.broken.push(entry.id.clone());
            }
        }
        slice.broken.dedup();
        slice
    }

    /// The slice for a principal.
    #[must_use]
    pub fn slice_for(&self, slices: &Slices, principal: &Principal) -> Slice {
        self.slice(slices.of(principal))
    }

    /// Slices and decides. Where the same slice is used again, keep it and call [`Slice::decide`].
    #[must_use]
    pub fn decide(
        &self,
        slices: &Slices,
        principal: &Principal,
        action: Action,
        resource: &Resource,
    ) -> Ruling {
        self.slice_for(slices, principal).decide(principal, action, resource)
    }
}

impl Entry {
    fn policy(&self) -> Option<&Policy> {
        self.parsed
            .get_or_init(|| Policy::parse(Some(PolicyId::new(&*self.id)), &*self.text).ok().map(Box::new))
            .as_deref()
    }
}

/// Which policies can bear on a tool, or on one action at one upstream, by the subject they are for.
#[derive(Debug, Clone, Default)]
pub struct Slices {
    /// Sorted by subject. Shared by the tools that are for the same subjects.
    by_subject: Arc<[(Uuid, Box<[PolicyRef]>)]>,
}

impl Slices {
    /// From subjects (role and client ids) and the policies for each. A repeated subject has the policies of both.
    #[must_use]
    pub fn new<P: Into<Box<[PolicyRef]>>>(slices: impl IntoIterator<Item = (Uuid, P)>) -> Self {
        let mut by_subject: Vec<(Uuid, Box<[PolicyRef]>)> =
            slices.into_iter().map(|(subject, policies)| (subject, policies.into())).collect();
        by_subject.sort_by_key(|(subject, _)| *subject);
        Self { by_subject: by_subject.into() }
    }

    /// Whether no policy bears on it: then nobody may use it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }

    /// The policies for a principal, through its own id and its roles.
    pub fn of<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = PolicyRef> + 'a {
        self.by_subject
            .iter()
            .filter(|(subject, _)| principal.subjects.binary_search(subject).is_ok())
            .flat_map(|(_, policies)| policies.iter().copied())
    }
}
