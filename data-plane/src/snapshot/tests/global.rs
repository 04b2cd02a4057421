use wire::{global::SCOPE, v1::GlobalSnapshot};

use super::*;
use crate::snapshot::{
    base::{Bases, InMemory},
    global::Global,
    samples::global as replace,
};

fn content() -> GlobalSnapshot {
    GlobalSnapshot {
        max_request_bytes: 8_192,
        address_per_minute: 60,
        address_burst: 5,
        ..Default::default()
    }
}

#[test]
fn it_is_in_force_beside_the_tenants_and_is_kept_as_they_are() {
    let bases = Arc::new(InMemory::default());
    let snapshots = Snapshots::with_bases(Arc::new(ManualClock::at(Timestamp::from_secs(1))), bases.clone());
    let sample = Sample::new(1);
    snapshots.apply(&sample.replace()).unwrap();
    let applied = snapshots.apply(&replace(3, content())).unwrap();
    assert_eq!((applied.tenant, applied.version.rev), (SCOPE, 3));
    let fleet = snapshots.load();
    assert_eq!(fleet.len(), 1, "it is no tenant");
    assert_eq!(fleet.global().max_request_bytes, Some(8_192));
    assert_eq!(fleet.global().max_response_bytes, None);
    assert_eq!(fleet.global().address.map(|rate| (rate.per_minute, rate.burst)), Some((60, 5)));
    assert_eq!(snapshots.versions().get(&SCOPE), Some(&applied.version));
    assert_eq!(bases.get(SCOPE), Some(replace(3, content())));

    snapshots.apply(&Sample::new(2).replace()).unwrap();
    assert_eq!(snapshots.load().global().version, Some(applied.version), "a tenant's change leaves it");
    let restarted = self::snapshots();
    restarted.install(vec![restarted.prepare(&replace(3, content())).unwrap()]);
    assert_eq!(restarted.load().global(), fleet.global());

    snapshots.remove(SCOPE);
    assert_eq!(snapshots.load().global(), &Global::default());
    assert_eq!((snapshots.load().len(), bases.get(SCOPE)), (2, None));
    snapshots.apply(&replace(4, content())).unwrap();
    snapshots.clear();
    assert_eq!(snapshots.load().global(), &Global::default());
}

#[test]
fn what_is_wrong_with_it_is_named_and_the_former_goes_on() {
    let snapshots = snapshots();
    snapshots.apply(&replace(1, content())).unwrap();
    let refused = |change: fn(&mut v1::Replace)| {
        let mut next = replace(2, content());
        change(&mut next);
        let error = snapshots.apply(&next).unwrap_err();
        assert_eq!(snapshots.load().global().version.map(|version| version.rev), Some(1));
        error
    };
    assert_eq!(refused(|replace| replace.digest[0] ^= 1), DecodeError::Digest);
    assert_eq!(refused(|replace| replace.rev = 3), DecodeError::Envelope("rev"));
    let newer =
        refused(|replace| replace.snapshot = [&replace.snapshot[..], &[0xf8, 0x3e, 7][..]].concat().into());
    assert_eq!(newer.code(), ErrorCode::SnapshotUndecodable);
    assert!(newer.to_string().starts_with("global: "), "{newer}");
    let half = GlobalSnapshot { address_per_minute: 0, ..content() };
    assert_eq!(snapshots.apply(&replace(2, half)).unwrap_err().code(), ErrorCode::SnapshotInvalid);
}
