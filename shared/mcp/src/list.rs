//! Rewriting what servers list: only what may be seen, under the names the endpoint shows, marked private.

use std::{borrow::Cow, collections::BTreeSet};

use crate::method::Method;
use crate::raw::{Edits, Kind, Raw, json_string};
use crate::revision::Revision;

/// Which list a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    ResourceTemplates,
}

impl ListKind {
    /// The list a method asks for.
    #[must_use]
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::ToolsList => Some(Self::Tools),
            Method::PromptsList => Some(Self::Prompts),
            Method::ResourcesList => Some(Self::Resources),
            Method::ResourceTemplatesList => Some(Self::ResourceTemplates),
            _ => None,
        }
    }

    /// The member of the result that holds the list.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// The member of an element by which it is addressed.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}

/// One element of a list.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// Its name, URI or URI template.
    pub key: Cow<'a, str>,
    /// The whole element as the server sent it.
    pub raw: Raw<'a>,
}

/// What becomes of an element.
#[derive(Debug, Clone)]
pub enum Verdict<'v> {
    /// Passed on as it came.
    Keep,
    /// Left out.
    Drop,
    /// These bytes instead: the pinned definition, or a renamed one.
    Replace(Cow<'v, [u8]>),
}

/// What [`filter`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filtered {
    /// Elements the server sent.
    pub listed: usize,
    /// Elements passed on.
    pub kept: usize,
    /// Elements left out because an earlier one has the same key, or because they have none.
    pub malformed: usize,
}

/// Why a result is not the list it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The result is not an object, or its list is missing or not an array.
    #[error("the result is not the list that was asked for")]
    Shape,
}

/// Records in `edits` how a list result must be changed; every byte outside the list, `nextCursor` and `cacheScope` stays.
///
/// `decide` sees each element once, in order; of several with one key only the first. `cursor` gives what replaces
/// `nextCursor`, or `None` to leave it. From 2026-07-28 on the result is marked private: it was filtered for one
/// principal and must not be shared.
pub fn filter<'e>(
    edits: &mut Edits<'e>,
    result: Raw<'_>,
    kind: ListKind,
    revision: Revision,
    mut decide: impl FnMut(&Item<'_>) -> Verdict<'e>,
    cursor: impl FnOnce(&str) -> Option<String>,
) -> Result<Filtered, ListError> {
    let (mut list, mut next_cursor, mut cache_scope) = (None, None, None);
    for (name, value) in result.members() {
        match &*name {
            "nextCursor" => next_cursor = Some(value),
            "cacheScope" => cache_scope = Some(value),
            name if name == kind.member() => list = Some(value),
            _ => {}
        }
    }
    let list = list.filter(|list| list.kind() == Kind::Array).ok_or(ListError::Shape)?;
    let mut done = Filtered::default();
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(list.as_bytes().len());
    out.push(b'[');
    for raw in list.elements() {
        done.listed += 1;
        let Some(key) = raw.get(kind.key()).and_then(Raw::string).filter(|key| !seen.contains(key)) else {
            done.malformed += 1;
            continue;
        };
        let item = Item { key, raw };
        let bytes = match decide(&item) {
            Verdict::Keep => Some(Cow::Borrowed(raw.as_bytes())),
            Verdict::Drop => None,
            Verdict::Replace(bytes) => Some(bytes),
        };
        if let Some(bytes) = bytes {
            if done.kept > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&bytes);
            done.kept += 1;
        }
        seen.insert(item.key);
    }
    out.push(b']');
    edits.replace(list.range(), out);
    if let Some(next) = next_cursor
        && let Some(replacement) = next.string().and_then(|next| cursor(&next))
    {
        edits.replace_string(next.range(), &replacement);
    }
    if revision.is_modern() {
        private(edits, result, cache_scope);
    }
    Ok(done)
}

/// Records that a cacheable result is for one principal only: `"cacheScope":"private"`, from 2026-07-28 on.
pub fn make_private(edits: &mut Edits<'_>, result: Raw<'_>, revision: Revision) {
    if revision.is_modern() && result.is_object() {
        private(edits, result, result.get("cacheScope"));
    }
}

fn private(edits: &mut Edits<'_>, result: Raw<'_>, cache_scope: Option<Raw<'_>>) {
    match cache_scope {
        Some(scope) if scope.is_str("private") => {}
        Some(scope) => {
            edits.replace(scope.range(), b"\"private\"".as_slice());
        }
        None => {
            let empty = result.as_bytes()[1..].trim_ascii_start().starts_with(b"}");
            let member: &[u8] =
                if empty { b"\"cacheScope\":\"private\"" } else { b"\"cacheScope\":\"private\"," };
            let inside = result.range().start + 1;
            edits.replace(inside..inside, member);
        }
    }
}

/// Records in `edits` that a `server/discover` result names only revisions the gateway speaks as well.
pub fn discover(edits: &mut Edits<'_>, result: Raw<'_>) -> Result<(), ListError> {
    let versions = result.get("supportedVersions").filter(|versions| versions.kind() == Kind::Array);
    let versions = versions.ok_or(ListError::Shape)?;
    let spoken: Vec<&[u8]> = versions
        .elements()
        .filter(|version| version.string().is_some_and(|version| Revision::parse(&version).is_some()))
        .map(Raw::as_bytes)
        .collect();
    edits.replace(versions.range(), [b"[", spoken.join(b",".as_slice()).as_slice(), b"]"].concat());
    make_private(edits, result, Revision::NEWEST);
    Ok(())
}

/// A definition under another name: everything but the value of `name` byte for byte. `None` when it has no name.
#[must_use]
pub fn renamed(definition: Raw<'_>, name: &str) -> Option<Vec<u8>> {
    let definition = definition.detached();
    let old = definition.get("name").filter(|old| old.kind() == Kind::String)?;
    let mut edits = Edits::new();
    edits.replace(old.range(), json_string(name));
    Some(edits.apply(definition.as_bytes()))
}

#[cfg(test)]
mod tests;
