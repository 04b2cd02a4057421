//! Definitions of tools, which go over a stream once however many tenants have them.
//!
//! All of it works on canonical bytes, as [`delta`](super::delta) does: definitions are cut out of them and put back, and
//! nothing else is looked at. What is put together is checked as if it had come whole, so that neither end has to be believed.
//!
//! They are told apart by the SHA-256 of their bytes, their *address*, and not by the digest a tool is approved under: that is one
//! of the canonical form, which two different texts may have in common.

use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest as sha};
use bytes::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{
    bounds::{MAX_BYTES, MAX_DEFINITION, MAX_TOOLS},
    delta::{Misfit, delimited, parts},
};
use crate::v1::{Changes, Cut};

/// A smaller one is left where it is: what names it would be as large.
pub const LEAST: usize = 64;

/// `Resource.tool` and `Tool.definition`.
const TOOL: u32 = 15;
const DEFINITION: u32 = 7;

/// SHA-256 of a definition's bytes.
pub type Address = [u8; 32];

/// Where a definition lies, and which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    at: Range<usize>,
    /// Which it is.
    pub address: Address,
}

impl Place {
    /// Its bytes, of those it was found in.
    #[must_use]
    pub fn of(&self, bytes: &Bytes) -> Bytes {
        bytes.slice(self.at.clone())
    }
}

/// The definition with these bytes.
#[must_use]
pub fn address(definition: &[u8]) -> Address {
    let mut out = [0; 32];
    out.copy_from_slice(sha(&SHA256, definition).as_ref());
    out
}

/// The definitions in a snapshot, in the order they lie in it. None of what is not a canonical snapshot.
#[must_use]
pub fn find(snapshot: &[u8]) -> Vec<Place> {
    let start = snapshot.as_ptr().addr();
    let resources = parts(snapshot).map(|parts| parts.resources).unwrap_or_default();
    resources.iter().filter_map(|(_, resource)| place(resource, resource.as_ptr().addr() - start)).collect()
}

/// The definition in each of the changes, where there is one.
#[must_use]
pub fn find_changed(changes: &Changes) -> Vec<Option<Place>> {
    changes.upserts.iter().map(|resource| place(resource, 0)).collect()
}

/// The definition in a resource that itself begins at `start`.
fn place(resource: &[u8], start: usize) -> Option<Place> {
    let definition = field(field(resource, TOOL)?, DEFINITION)?;
    let at = start + (definition.as_ptr().addr() - resource.as_ptr().addr());
    let fits = (LEAST..=MAX_DEFINITION).contains(&definition.len());
    fits.then(|| Place { at: at..at + definition.len(), address: address(definition) })
}

/// The first field of this number, with a length.
fn field(mut message: &[u8], number: u32) -> Option<&[u8]> {
    while !message.is_empty() {
        let (tag, wire) = decode_key(&mut message).ok()?;
        match wire {
            WireType::Varint => drop(decode_varint(&mut message).ok()?),
            WireType::LengthDelimited => {
                let value = delimited(&mut message)?;
                if tag == number {
                    return Some(value);
                }
            }
            _ => return None,
        }
    }
    None
}

/// `bytes` without the definitions that lie at `places`, which follow each other, and where they are to be put back.
#[must_use]
pub fn cut<'a>(bytes: &Bytes, upsert: u32, places: impl IntoIterator<Item = &'a Place>) -> (Bytes, Vec<Cut>) {
    let mut rest = Vec::new();
    let mut cuts = Vec::new();
    let mut copied = 0;
    for place in places {
        rest.extend_from_slice(bytes.get(copied..place.at.start).unwrap_or_default());
        cuts.push(Cut { upsert, at: rest.len() as u32, address: place.address.to_vec() });
        copied = place.at.end;
    }
    if cuts.is_empty() {
        return (bytes.clone(), cuts);
    }
    rest.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    (rest.into(), cuts)
}

/// What [`cut`] was given.
///
/// # Errors
/// [`Misfit::Definition`] where `held` has not got one; [`Misfit::Cuts`] where they cannot be put back as they say.
pub fn restore(
    bytes: &Bytes,
    cuts: &[Cut],
    held: impl Fn(&Address) -> Option<Bytes>,
) -> Result<Bytes, Misfit> {
    if cuts.is_empty() {
        return Ok(bytes.clone());
    }
    if cuts.len() > MAX_TOOLS {
        return Err(Misfit::Cuts);
    }
    let mut whole = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for cut in cuts {
        let at = cut.at as usize;
        whole.extend_from_slice(bytes.get(copied..at).ok_or(Misfit::Cuts)?);
        copied = at;
        let address = cut.address.as_slice().try_into().map_err(|_| Misfit::Cuts)?;
        let definition = held(&address).ok_or(Misfit::Definition)?;
        if whole.len() + definition.len() > MAX_BYTES {
            return Err(Misfit::Cuts);
        }
        whole.extend_from_slice(&definition);
    }
    whole.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Ok(whole.into())
}

/// As [`restore`], of the resources that changed.
///
/// # Errors
/// As [`restore`].
pub fn restore_changed(
    changes: &Changes,
    cuts: &[Cut],
    held: impl Fn(&Address) -> Option<Bytes>,
) -> Result<Changes, Misfit> {
    if !cuts.is_sorted_by_key(|cut| cut.upsert)
        || cuts.last().is_some_and(|last| last.upsert as usize >= changes.upserts.len())
    {
        return Err(Misfit::Cuts);
    }
    let mut upserts = Vec::with_capacity(changes.upserts.len());
    let mut room = MAX_BYTES;
    for (number, bytes) in (0..).zip(&changes.upserts) {
        let first = cuts.partition_point(|cut| cut.upsert < number);
        let end = cuts.partition_point(|cut| cut.upsert <= number);
        let whole = restore(bytes, cuts.get(first..end).unwrap_or_default(), &held)?;
        room = room.checked_sub(whole.len()).ok_or(Misfit::Cuts)?;
        upserts.push(whole);
    }
    Ok(Changes { upserts, tombstones: changes.tombstones.clone() })
}
