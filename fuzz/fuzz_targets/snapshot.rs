#![no_main]
//! A snapshot that is accepted encodes to the very bytes it came in and is valid; of anything that is a snapshot at all,
//! the encoding is canonical, so that only its content can be refused.

use bytes::Bytes;
use errors::ErrorCode;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use wire::{
    snapshot::{decode_exact, digest, encode, validate},
    v1::TenantSnapshot,
};

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    let exact = decode_exact(&bytes);
    if let Ok(snapshot) = &exact {
        assert_eq!(encode(snapshot), input);
        assert_eq!(validate(snapshot), Ok(()));
    }
    let Ok(loose) = TenantSnapshot::decode(bytes) else {
        assert!(exact.is_err());
        return;
    };
    match decode_exact(&Bytes::from(encode(&loose))) {
        Ok(again) => {
            assert_eq!(again, loose);
            assert_eq!(digest(&again), digest(&loose));
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::SnapshotInvalid);
            assert!(invalid.resource.len() <= 64);
        }
    }
});
