use bytes::Bytes;
use errors::ErrorCode;
use proptest::prelude::*;

use super::{
    super::{decode_exact, digest, encode, validate},
    sample::{GOLDEN, Shape, snapshot},
};
use crate::v1::resource::Body;

fn shapes() -> impl Strategy<Value = Shape> {
    (1u64.., 0u8..5, 0u8..4, 0u8..5, 0u8..9, 0u8..4).prop_map(
        |(rev, upstreams, endpoints, clients, tools, grants)| Shape {
            rev,
            upstreams,
            endpoints,
            clients,
            tools,
            grants,
        },
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn decode_undoes_encode(shape in shapes()) {
        let snapshot = snapshot(shape);
        let bytes = Bytes::from(encode(&snapshot));
        let back = decode_exact(&bytes);
        prop_assert_eq!(back.as_ref(), Ok(&snapshot));
        prop_assert_eq!(back.map(|back| digest(&back)), Ok(digest(&snapshot)));
    }

    /// Arbitrary bytes never panic, and what is accepted is exactly what was sent.
    #[test]
    fn damage_is_refused_or_exact(shape in shapes(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = encode(&snapshot(shape));
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let bytes = Bytes::from(bytes);
        if let Ok(read) = decode_exact(&bytes) {
            prop_assert_eq!(encode(&read), bytes.to_vec());
            prop_assert_eq!(validate(&read), Ok(()));
        }
    }

    #[test]
    fn noise_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(decode_exact(&Bytes::from(bytes)).is_err());
    }

    /// A field this build does not know is refused wherever it stands: at the end of the snapshot, or of a resource.
    #[test]
    fn unknown_fields_are_refused(shape in shapes(), field in 1_000u32..100_000, value in any::<u64>()) {
        let mut unknown = Vec::new();
        prost::encoding::uint64::encode(field, &value, &mut unknown);
        let mut bytes = encode(&snapshot(shape));
        bytes.extend_from_slice(&unknown);
        let refused = decode_exact(&Bytes::from(bytes)).map_err(|invalid| invalid.code);
        prop_assert_eq!(refused, Err(ErrorCode::SnapshotUndecodable));

        let mut nested = snapshot(shape);
        let last = prost::Message::encode_to_vec(&nested.resources.pop().unwrap());
        let mut bytes = encode(&nested);
        prost::encoding::bytes::encode(4, &[last, unknown].concat(), &mut bytes);
        let refused = decode_exact(&Bytes::from(bytes)).map_err(|invalid| invalid.code);
        prop_assert_eq!(refused, Err(ErrorCode::SnapshotUndecodable));
    }
}

#[test]
fn definitions_share_the_snapshots_memory() {
    let bytes = Bytes::from(encode(&snapshot(GOLDEN)));
    let range = bytes.as_ptr_range();
    let read = decode_exact(&bytes).unwrap();
    let definitions: Vec<_> = read
        .resources
        .iter()
        .filter_map(|resource| match &resource.body {
            Some(Body::Tool(tool)) if !tool.definition.is_empty() => Some(tool.definition.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(definitions.len(), 2);
    assert!(definitions.iter().all(|definition| range.contains(&definition.as_ptr())));
}

/// A stored snapshot must stay readable, byte for byte, and keep its digest. This file changes only with a new schema version.
#[test]
fn version_1_is_as_recorded() {
    let recorded = include_str!("../../../testdata/snapshot_v1.hex");
    let mut lines = recorded.split_whitespace();
    let (bytes, recorded_digest) = (unhex(lines.next().unwrap()), lines.next().unwrap());
    let read = decode_exact(&Bytes::from(bytes.clone())).unwrap();
    assert_eq!(hex(&digest(&read)), recorded_digest);
    assert_eq!(read, snapshot(GOLDEN));
    assert_eq!(encode(&read), bytes);
}

#[test]
fn the_digest_covers_content_but_neither_revision_nor_order() {
    let mut other = snapshot(GOLDEN);
    let before = digest(&other);
    other.rev += 1;
    other.resources.reverse();
    assert_eq!(digest(&other), before);
    other.resources.pop();
    assert_ne!(digest(&other), before);
    let mut moved = snapshot(GOLDEN);
    moved.tenant_id[0] ^= 1;
    assert_ne!(digest(&moved), before);
}
