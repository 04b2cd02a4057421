//! The snapshot's canonical form: bytes, digest, bounds.
//!
//! The same rules hold at admission, when the control plane stores a snapshot, and at the proxy, which treats what it
//! is sent as hostile: [`decode_exact`] accepts only bytes that [`encode`] would give, so that a field this build does not
//! know is refused instead of dropped, and only content that [`validate`] accepts.

mod auth;
mod body;
mod bounds;
mod check;
pub mod definitions;
pub mod delta;

use aws_lc_rs::digest::{Context, SHA256, digest as sha};
use bytes::Bytes;
use errors::ErrorCode;
use prost::Message as _;

pub use auth::ASSERTION_HEADER;
pub use bounds::*;
pub use check::{is_credential_header, is_domain_name, is_lookup, is_slug_shape, validate};

use crate::v1::TenantSnapshot;

/// The version this build reads and writes.
pub const SCHEMA: u32 = 1;

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {detail}")]
pub struct Invalid {
    /// `snapshot_undecodable` or `snapshot_invalid`.
    pub code: ErrorCode,
    /// Id of the resource at fault; `snapshot` where it is none of them.
    pub resource: String,
    /// What is wrong, without any of the content.
    pub detail: &'static str,
}

impl Invalid {
    /// The catalogue's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    pub(crate) fn new(resource: &str, detail: &'static str) -> Self {
        // An id is hostile text until it has been checked; 64 bytes name any real one.
        let shown = resource.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        Self { code: ErrorCode::SnapshotInvalid, resource: shown, detail }
    }

    pub(crate) fn undecodable(resource: &'static str, detail: &'static str) -> Self {
        Self { code: ErrorCode::SnapshotUndecodable, resource: resource.to_owned(), detail }
    }
}

/// The snapshot's bytes. Of a snapshot that [`validate`] accepts there is one encoding.
#[must_use]
pub fn encode(snapshot: &TenantSnapshot) -> Vec<u8> {
    snapshot.encode_to_vec()
}

/// Reads bytes that [`encode`] gave for a snapshot that [`validate`] accepts, and nothing else. Definitions of tools share
/// the memory of `bytes`.
///
/// # Errors
/// `snapshot_undecodable`: too large, not the protocol's encoding, or with a field that this build does not know.
/// `snapshot_invalid`: what [`validate`] says.
pub fn decode_exact(bytes: &Bytes) -> Result<TenantSnapshot, Invalid> {
    if bytes.len() > MAX_BYTES {
        return Err(Invalid::undecodable("snapshot", "is larger than 16 MiB"));
    }
    let snapshot = TenantSnapshot::decode(bytes.clone())
        .map_err(|_| Invalid::undecodable("snapshot", "is not a snapshot"))?;
    if snapshot.encoded_len() != bytes.len() || encode(&snapshot) != bytes.as_ref() {
        return Err(Invalid::undecodable("snapshot", "has unknown fields or is not in canonical form"));
    }
    validate(&snapshot)?;
    Ok(snapshot)
}

/// SHA-256 over the tenant and, in order of their ids, each resource's id and SHA-256 of its bytes. The revision is not
/// part of it: two revisions with the same content have the same digest.
#[must_use]
pub fn digest(snapshot: &TenantSnapshot) -> [u8; 32] {
    let mut resources: Vec<_> = snapshot.resources.iter().collect();
    resources.sort_by(|a, b| a.id.cmp(&b.id));
    let resources = resources.into_iter().map(|resource| (resource.id.as_str(), resource.encode_to_vec()));
    digest_of(snapshot.schema, &snapshot.tenant_id, resources)
}

/// Of resources in the order of their ids.
fn digest_of<'a, B: AsRef<[u8]>>(
    schema: u32,
    tenant: &[u8],
    resources: impl IntoIterator<Item = (&'a str, B)>,
) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(b"portcullis snapshot digest v1\0");
    hash.update(&schema.to_be_bytes());
    update_with_length(&mut hash, tenant);
    for (id, bytes) in resources {
        update_with_length(&mut hash, id.as_bytes());
        hash.update(sha(&SHA256, bytes.as_ref()).as_ref());
    }
    let mut out = [0; 32];
    out.copy_from_slice(hash.finish().as_ref());
    out
}

fn update_with_length(hash: &mut Context, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests;
