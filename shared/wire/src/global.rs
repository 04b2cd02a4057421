//! Configuration that is not a tenant's and reaches every proxy, in stages: canonical form, digest, bounds.
//!
//! On the wire, in the stream's machines and in a proxy's archive it is one more tenant, whose id no tenant can have: what
//! they promise of each tenant they promise of it. It has a revision of its own; a proxy refuses one that it cannot use and
//! goes on with the one before, and no tenant waits for it.
//!
//! Revisions never go back: what was in force before comes again as a new revision with the old content.

use aws_lc_rs::digest::{SHA256, digest as sha};
use bytes::Bytes;
use ids::{TenantId, Uuid};
use prost::Message as _;

use crate::{
    snapshot::{Invalid, MAX_MESSAGE_BYTES, MAX_UNITS},
    v1::GlobalSnapshot,
};

/// As which tenant it travels.
pub const SCOPE: TenantId = TenantId::from_uuid(Uuid::nil());

/// The version this build reads and writes.
pub const SCHEMA: u32 = 1;

/// Bytes of it. Far more than it has today.
pub const MAX_BYTES: usize = 64 * 1024;

/// The least that every endpoint must be able to take and to give: a message of any use fits.
pub const MIN_MESSAGE_BYTES: u32 = 4 * 1024;

/// Connections of one address at one worker, at most.
pub const MAX_CONNECTIONS: u32 = 1_000_000;

/// Whether these bytes of a message name the global scope.
#[must_use]
pub fn is_scope(tenant_id: &[u8]) -> bool {
    tenant_id == SCOPE.uuid().as_bytes()
}

/// Its bytes.
#[must_use]
pub fn encode(snapshot: &GlobalSnapshot) -> Vec<u8> {
    snapshot.encode_to_vec()
}

/// SHA-256 of its content. The revision is not part of it: two revisions with the same content have the same digest.
#[must_use]
pub fn digest(snapshot: &GlobalSnapshot) -> [u8; 32] {
    let content = GlobalSnapshot { rev: 0, ..*snapshot }.encode_to_vec();
    let bytes = [b"portcullis global digest v1\0".as_slice(), &content].concat();
    let mut out = [0; 32];
    out.copy_from_slice(sha(&SHA256, &bytes).as_ref());
    out
}

/// Reads bytes that [`encode`] gave for what [`validate`] accepts, and nothing else.
///
/// # Errors
/// `snapshot_undecodable`: too large, not the protocol's encoding, or with a field that this build does not know.
/// `snapshot_invalid`: what [`validate`] says.
pub fn decode_exact(bytes: &Bytes) -> Result<GlobalSnapshot, Invalid> {
    if bytes.len() > MAX_BYTES {
        return Err(Invalid::undecodable("global", "is larger than 64 KiB"));
    }
    let snapshot = GlobalSnapshot::decode(bytes.clone())
        .map_err(|_| Invalid::undecodable("global", "is not a global snapshot"))?;
    if encode(&snapshot) != bytes.as_ref() {
        return Err(Invalid::undecodable("global", "has unknown fields or is not in canonical form"));
    }
    validate(&snapshot)?;
    Ok(snapshot)
}

/// Checks its bounds.
///
/// # Errors
/// The first field at fault.
pub fn validate(snapshot: &GlobalSnapshot) -> Result<(), Invalid> {
    let need = |holds: bool, detail| if holds { Ok(()) } else { Err(Invalid::new("global", detail)) };
    let unset_or = |value: u32, least: u32, most: u32| value == 0 || (least..=most).contains(&value);
    need(snapshot.schema == SCHEMA, "schema version is not known")?;
    need(snapshot.rev > 0, "revision is zero")?;
    need(
        unset_or(snapshot.max_request_bytes, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES),
        "max_request_bytes is out of bounds",
    )?;
    need(
        unset_or(snapshot.max_response_bytes, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES),
        "max_response_bytes is out of bounds",
    )?;
    need(
        unset_or(snapshot.connections_per_address, 1, MAX_CONNECTIONS),
        "connections_per_address is out of bounds",
    )?;
    need(
        (snapshot.address_per_minute == 0) == (snapshot.address_burst == 0),
        "address_limit is there by half",
    )?;
    need(
        unset_or(snapshot.address_per_minute, 1, MAX_UNITS) && unset_or(snapshot.address_burst, 1, MAX_UNITS),
        "address_limit is out of bounds",
    )
}

#[cfg(test)]
mod tests {
    use errors::ErrorCode;

    use super::*;

    fn sample() -> GlobalSnapshot {
        GlobalSnapshot {
            schema: SCHEMA,
            rev: 3,
            max_request_bytes: MIN_MESSAGE_BYTES,
            max_response_bytes: MAX_MESSAGE_BYTES,
            connections_per_address: 16,
            address_per_minute: 60,
            address_burst: 10,
        }
    }

    #[test]
    fn what_was_encoded_is_read_and_nothing_else() {
        let bytes = Bytes::from(encode(&sample()));
        assert_eq!(decode_exact(&bytes), Ok(sample()));
        assert_eq!(
            decode_exact(&Bytes::from(encode(&GlobalSnapshot { schema: 1, rev: 1, ..Default::default() })))
                .unwrap()
                .rev,
            1
        );
        let mut newer = bytes.to_vec();
        prost::encoding::uint64::encode(999, &7, &mut newer);
        for bad in [newer, vec![0xff; 8], vec![0; MAX_BYTES + 1], Vec::new()] {
            let refused = decode_exact(&Bytes::from(bad)).unwrap_err();
            assert!(matches!(refused.code, ErrorCode::SnapshotUndecodable | ErrorCode::SnapshotInvalid));
            assert_eq!(refused.resource, "global");
        }
    }

    #[test]
    fn the_digest_is_of_the_content() {
        assert_eq!(digest(&sample()), digest(&GlobalSnapshot { rev: 9, ..sample() }));
        assert_ne!(digest(&sample()), digest(&GlobalSnapshot { address_burst: 11, ..sample() }));
    }

    #[test]
    fn each_breach_is_named() {
        type Breach = (fn(&mut GlobalSnapshot), &'static str);
        let breaches: [Breach; 10] = [
            (|it| it.schema = 2, "schema version is not known"),
            (|it| it.rev = 0, "revision is zero"),
            (|it| it.max_request_bytes = MIN_MESSAGE_BYTES - 1, "max_request_bytes is out of bounds"),
            (|it| it.max_request_bytes = MAX_MESSAGE_BYTES + 1, "max_request_bytes is out of bounds"),
            (|it| it.max_response_bytes = 1, "max_response_bytes is out of bounds"),
            (
                |it| it.connections_per_address = MAX_CONNECTIONS + 1,
                "connections_per_address is out of bounds",
            ),
            (|it| it.address_burst = 0, "address_limit is there by half"),
            (|it| it.address_per_minute = 0, "address_limit is there by half"),
            (|it| it.address_per_minute = MAX_UNITS + 1, "address_limit is out of bounds"),
            (|it| it.address_burst = u32::MAX, "address_limit is out of bounds"),
        ];
        for (breach, detail) in breaches {
            let mut broken = sample();
            breach(&mut broken);
            assert_eq!(validate(&broken).unwrap_err().detail, detail);
        }
    }
}
