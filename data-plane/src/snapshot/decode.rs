//! From the bytes of a `Replace` to a checked snapshot, and why one is refused.

use errors::ErrorCode;
use ids::{TenantId, Uuid};
use wire::{
    snapshot::{Invalid, decode_exact, delta::Misfit, digest},
    v1,
};

/// Why a snapshot was not applied. The former revision stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the canonical bytes of a snapshot this build knows, over a bound, or with a reference to nothing.
    #[error("{}: {}", .0.resource, .0.detail)]
    Snapshot(Invalid),
    /// The digest sent beside it is another's.
    #[error("digest differs from the one sent")]
    Digest,
    /// The snapshot is another tenant's or another revision's than the message says.
    #[error("{0} differs from the message's")]
    Envelope(&'static str),
    /// The data keys beside it are not usable.
    #[error("data keys: {0}")]
    Keys(&'static str),
    /// A value that passed the checks cannot be indexed.
    #[error("{resource}: {field}")]
    Index {
        /// Typed id as text.
        resource: String,
        /// Field of the resource.
        field: &'static str,
    },
    /// Another tenant has this name in URLs.
    #[error("tenant: slug is another tenant's")]
    SlugTaken,
    /// Changes cannot be put onto what is enforced; the whole tenant helps.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// Applying panicked.
    #[error("applying panicked")]
    Panicked,
}

impl DecodeError {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Snapshot(invalid) => invalid.code,
            Self::Digest | Self::Misfit(_) => ErrorCode::SnapshotDigestMismatch,
            Self::Envelope(_) | Self::Keys(_) | Self::Index { .. } | Self::SlugTaken => {
                ErrorCode::SnapshotInvalid
            }
            Self::Panicked => ErrorCode::ApplyPanicked,
        }
    }
}

/// The snapshot in `replace`, exactly as stored, and nobody else's.
pub(super) fn decode(replace: &v1::Replace) -> Result<(TenantId, v1::TenantSnapshot), DecodeError> {
    let snapshot = decode_exact(&replace.snapshot).map_err(DecodeError::Snapshot)?;
    if snapshot.tenant_id != replace.tenant_id {
        return Err(DecodeError::Envelope("tenant_id"));
    }
    if snapshot.rev != replace.rev {
        return Err(DecodeError::Envelope("rev"));
    }
    if digest(&snapshot)[..] != replace.digest[..] {
        return Err(DecodeError::Digest);
    }
    let tenant = Uuid::from_slice(&snapshot.tenant_id).map_err(|_| DecodeError::Envelope("tenant_id"))?;
    Ok((TenantId::from_uuid(tenant), snapshot))
}
