#![no_main]
//! What leads from one snapshot to another leads there exactly, whatever the two are; and changes that are put onto a
//! snapshot they are not of give a canonical snapshot or nothing. The input is a length (two bytes), so many bytes of a
//! snapshot, and the rest: another snapshot, or changes.

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use wire::{
    snapshot::delta::{apply, diff, digest, join},
    v1::{Changes, TenantSnapshot},
};

fuzz_target!(|input: &[u8]| {
    let Some((before, rest)) = parts(input) else { return };
    if let Some(changes) = diff(before, rest) {
        let rev = TenantSnapshot::decode(rest).map(|after| after.rev);
        if let Ok(rev) = rev {
            assert_eq!(apply(before, &changes, rev).as_deref(), Ok(rest));
            let back = diff(rest, before).unwrap_or_default();
            assert!(join([changes, back]).is_ok());
        }
    }
    let Ok(changes) = Changes::decode(rest) else { return };
    if let Ok(after) = apply(before, &changes, 7) {
        assert!(digest(&after).is_some(), "canonical as far as its resources");
        assert!(after.len() <= before.len() + rest.len() + 16);
        assert_eq!(apply(&after, &changes, 7).as_deref(), Ok(after.as_slice()), "once is as good as twice");
    }
});

fn parts(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
