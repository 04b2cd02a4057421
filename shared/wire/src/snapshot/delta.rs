//! What leads from one revision of a tenant to another, by resource.
//!
//! All of it works on canonical bytes: a resource is cut out and put in whole, and never decoded and encoded again, so that
//! what comes out is what the control plane stored, byte for byte, or is noticed by its digest. What comes out is as
//! hostile as what goes in: [`decode_exact`](super::decode_exact) is for the reader of it.

use std::{cmp::Ordering, collections::BTreeMap};

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, decode_key, decode_varint, encode_varint, encoded_len_varint},
};

use crate::v1::{Changes, Delta, Replace, TenantSnapshot};

/// Bytes of the changes that are stored for one revision, and of those that are put together into one `Delta`: beyond it a
/// whole snapshot is not much more.
pub const MAX_DELTA_BYTES: usize = 256 * 1024;

/// `TenantSnapshot.resources`, length-delimited.
const RESOURCE: u8 = 4 << 3 | 2;
/// `Resource.id`, length-delimited.
const ID: u8 = 1 << 3 | 2;

/// Why changes cannot be put onto what a proxy holds. The whole snapshot helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The proxy does not have the bytes to be changed.
    #[error("base is missing")]
    Missing,
    /// They are of another revision or content than the changes lead from.
    #[error("base is of another revision")]
    Revision,
    /// The bytes to be changed are not those of a canonical snapshot.
    #[error("base is not a canonical snapshot")]
    Base,
    /// A changed resource has no id, or they are out of order or repeat.
    #[error("changes are not canonical")]
    Changes,
    /// A definition that was left out is not held here.
    #[error("a definition is not held")]
    Definition,
    /// Definitions cannot be put where the message says.
    #[error("cuts are not canonical")]
    Cuts,
    /// What comes out is not what the control plane stored.
    #[error("digest after the changes is another")]
    Digest,
}

/// A canonical snapshot, taken apart as far as its resources.
pub(super) struct Parts<'a> {
    /// Schema, tenant and revision.
    head: TenantSnapshot,
    /// Id and bytes of each, sorted by id.
    pub(super) resources: Vec<(&'a str, &'a [u8])>,
}

/// What leads from `before` to `after`, two canonical snapshots of one tenant. `None` where one of them is not.
#[must_use]
pub fn diff(before: &[u8], after: &[u8]) -> Option<Changes> {
    let (before, after) = (parts(before)?, parts(after)?);
    if before.head.schema != after.head.schema || before.head.tenant_id != after.head.tenant_id {
        return None;
    }
    let mut changes = Changes::default();
    let (mut old, mut new) =
        (before.resources.into_iter().peekable(), after.resources.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Some(changes),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let gone = if order.is_le() { old.next() } else { None };
        let here = if order.is_ge() { new.next() } else { None };
        match (gone, here) {
            (Some((id, _)), None) => changes.tombstones.push(id.to_owned()),
            (None, Some((_, bytes))) => changes.upserts.push(Bytes::copy_from_slice(bytes)),
            (Some((_, old)), Some((_, new))) if old != new => {
                changes.upserts.push(Bytes::copy_from_slice(new));
            }
            _ => {}
        }
    }
}

/// Several revisions' changes, in their order, as one.
///
/// # Errors
/// [`Misfit::Changes`].
pub fn join(steps: impl IntoIterator<Item = Changes>) -> Result<Changes, Misfit> {
    let mut last: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
    for step in steps {
        let gone = step.tombstones.into_iter().map(|id| (id, None));
        last.extend(gone.collect::<Vec<_>>());
        for bytes in step.upserts {
            let id = id(&bytes).ok_or(Misfit::Changes)?.to_owned();
            last.insert(id, Some(bytes));
        }
    }
    let mut changes = Changes::default();
    for (id, bytes) in last {
        match bytes {
            Some(bytes) => changes.upserts.push(bytes),
            None => changes.tombstones.push(id),
        }
    }
    Ok(changes)
}

/// `base` with `changes`, as revision `rev`. A tombstone for what is not there does nothing: of several steps, one may have
/// made what a later one took away.
///
/// # Errors
/// [`Misfit`].
pub fn apply(base: &[u8], changes: &Changes, rev: u64) -> Result<Vec<u8>, Misfit> {
    let Parts { mut head, resources } = parts(base).ok_or(Misfit::Base)?;
    head.rev = rev;
    let upserts = changes.upserts.iter().map(|bytes| Some((id(bytes)?, bytes.as_ref())));
    let upserts = upserts.collect::<Option<Vec<_>>>().ok_or(Misfit::Changes)?;
    let sorted = upserts.is_sorted_by(|a, b| a.0 < b.0) && changes.tombstones.is_sorted_by(|a, b| a < b);
    if !sorted || upserts.iter().any(|(id, _)| is_tombstone(changes, id)) {
        return Err(Misfit::Changes);
    }
    let mut out = head.encode_to_vec();
    out.reserve(base.len() + changes.upserts.iter().map(Bytes::len).sum::<usize>());
    let mut upserts = upserts.into_iter().peekable();
    for (id, bytes) in resources {
        while let Some((_, new)) = upserts.next_if(|(new, _)| *new < id) {
            put(&mut out, new);
        }
        match upserts.next_if(|(new, _)| *new == id) {
            Some((_, new)) => put(&mut out, new),
            None if is_tombstone(changes, id) => {}
            None => put(&mut out, bytes),
        }
    }
    for (_, new) in upserts {
        put(&mut out, new);
    }
    Ok(out)
}

/// The digest of a canonical snapshot, over its resources' bytes as they stand: of bytes that are the control plane's, it is
/// what the control plane says, whether or not this build can read them. `None` where they are not canonical as far as this
/// looks.
#[must_use]
pub fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
    let Parts { head, resources } = parts(bytes)?;
    Some(super::digest_of(head.schema, &head.tenant_id, resources))
}

/// The whole tenant that `delta` leads to from `base`, what a proxy keeps of what it enforces. Its bytes have the digest that
/// the control plane gave, so that what is wrong with them now was wrong with what was published.
///
/// # Errors
/// [`Misfit`].
pub fn amend(base: &Replace, delta: &Delta) -> Result<Replace, Misfit> {
    if base.tenant_id != delta.tenant_id || base.rev != delta.from_rev || base.digest != delta.from_digest {
        return Err(Misfit::Revision);
    }
    let changes = delta.changes.as_ref().ok_or(Misfit::Changes)?;
    let snapshot = apply(&base.snapshot, changes, delta.rev)?;
    if digest(&snapshot).is_none_or(|digest| digest[..] != delta.digest[..]) {
        return Err(Misfit::Digest);
    }
    Ok(Replace {
        nonce: delta.nonce,
        tenant_id: delta.tenant_id.clone(),
        rev: delta.rev,
        digest: delta.digest.clone(),
        snapshot: snapshot.into(),
        keys: delta.keys.clone(),
        ..Replace::default()
    })
}

/// Bytes that `changes` hold.
#[must_use]
pub fn size(changes: &Changes) -> usize {
    changes.encoded_len()
}

fn is_tombstone(changes: &Changes, id: &str) -> bool {
    changes.tombstones.binary_search_by(|gone| gone.as_str().cmp(id)).is_ok()
}

fn put(out: &mut Vec<u8>, resource: &[u8]) {
    out.push(RESOURCE);
    encode_varint(resource.len() as u64, out);
    out.extend_from_slice(resource);
}

/// `None` for bytes that are not a canonical snapshot down to its resources' ids.
pub(super) fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let mut rest = bytes;
    // Fields before the resources; what they hold is prost's to read.
    while rest.first().is_some_and(|tag| *tag != RESOURCE) {
        let (_, wire) = decode_key(&mut rest).ok()?;
        match wire {
            WireType::Varint => drop(decode_varint(&mut rest).ok()?),
            WireType::LengthDelimited => drop(delimited(&mut rest)?),
            _ => return None,
        }
    }
    let head = bytes.get(..bytes.len() - rest.len())?;
    let decoded = TenantSnapshot::decode(head).ok()?;
    if decoded.encode_to_vec() != head {
        return None;
    }
    let mut resources = Vec::new();
    while let Some((tag, after)) = rest.split_first() {
        rest = after;
        let resource = (*tag == RESOURCE).then(|| delimited(&mut rest)).flatten()?;
        resources.push((id(resource)?, resource));
    }
    resources.is_sorted_by(|a, b| a.0 < b.0).then_some(Parts { head: decoded, resources })
}

fn id(resource: &[u8]) -> Option<&str> {
    let (tag, mut rest) = resource.split_first()?;
    let id = (*tag == ID).then(|| delimited(&mut rest)).flatten()?;
    std::str::from_utf8(id).ok()
}

/// Takes a length and so many bytes off the front. The length is written in its shortest form.
pub(super) fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let before = rest.len();
    let length = decode_varint(rest).ok()?;
    if before - rest.len() != encoded_len_varint(length) {
        return None;
    }
    let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(value)
}
