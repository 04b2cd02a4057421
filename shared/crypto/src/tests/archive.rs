use ids::ProxyId;
use proptest::prelude::*;

use super::{entropy, tenant, uuid};
use crate::{
    SealError,
    archive::{
        ArchiveKey, ArchiveKeyError, Kind, OVERHEAD, Place,
        frame::{FRAME, Frame, HEADER, Header, find, walk},
    },
};

fn key() -> ArchiveKey {
    ArchiveKey::from_file(&ArchiveKey::generate_file(&entropy())).unwrap()
}

fn place() -> Place {
    Place { proxy: ProxyId::from_uuid(uuid(1)), kind: Kind::Tenant, tenant: tenant(2), rev: 3, seq: 4 }
}

#[test]
fn opens_in_its_own_place_only() {
    let mut sealed = b"before".to_vec();
    key().seal(&place(), b"configuration", &mut sealed, &entropy()).unwrap();
    let sealed = &sealed[6..];
    assert_eq!(sealed.len(), 13 + OVERHEAD);
    assert_eq!(&**key().open(&place(), sealed).unwrap(), b"configuration");
    let others = [
        Place { proxy: ProxyId::from_uuid(uuid(9)), ..place() },
        Place { kind: Kind::Removed, ..place() },
        Place { tenant: tenant(9), ..place() },
        Place { rev: 9, ..place() },
        Place { seq: 9, ..place() },
        Place::floor(place().proxy),
    ];
    for other in others {
        assert_eq!(key().open(&other, sealed).unwrap_err(), SealError::Unauthentic, "{other:?}");
    }
    let file = ArchiveKey::generate_file(&seams::SeededEntropy::new(99));
    let other = ArchiveKey::from_file(&file).unwrap();
    assert_eq!(other.open(&place(), sealed).unwrap_err(), SealError::Unauthentic);
    assert_ne!(other.id(), key().id());
}

#[test]
fn a_key_file_is_exact_and_its_key_is_never_shown() {
    let file = ArchiveKey::generate_file(&entropy());
    let text = std::str::from_utf8(&file).unwrap();
    assert!(ArchiveKey::from_file(format!("{text}\n").as_bytes()).is_ok());
    let line = text.lines().nth(1).unwrap();
    for wrong in [
        String::new(),
        line.to_owned(),
        format!("portcullis-archive-key v2\n{line}\n"),
        format!("portcullis-archive-key v1\n{}\n", &line[4..]),
        format!("{text}{line}\n"),
        "portcullis-archive-key v1\n".to_owned(),
    ] {
        assert_eq!(ArchiveKey::from_file(wrong.as_bytes()).unwrap_err(), ArchiveKeyError);
    }
    assert!(!format!("{:?}", key()).contains(line));
}

#[test]
fn headers_survive_and_damage_shows() {
    let header = Header { number: 7, proxy: [1; 16], key: [2; 8] };
    assert_eq!(Header::decode(&header.encode()), Some(header));
    let frame = Frame { kind: Kind::Removed, len: 28, seq: 5, rev: 6, tenant: tenant(3) };
    assert_eq!(Frame::decode(&frame.encode()), Some(frame));
    assert_eq!(Header::decode(&frame.encode()), None);
    for at in 0..HEADER * 8 {
        let mut damaged = (header.encode(), frame.encode());
        damaged.0[at / 8] ^= 1 << (at % 8);
        damaged.1[at / 8] ^= 1 << (at % 8);
        assert_eq!((Header::decode(&damaged.0), Frame::decode(&damaged.1)), (None, None), "bit {at}");
    }
    assert_eq!(Frame::decode(&frame.encode()[..FRAME - 1]), None);
    for len in [0, 27, u32::MAX] {
        assert_eq!(Frame::decode(&Frame { len, ..frame }.encode()), None);
    }
    // The floor is a file of its own.
    assert_eq!(Frame::decode(&Frame { kind: Kind::Floor, ..frame }.encode()), None);
}

fn walked(bytes: &[u8]) -> crate::archive::frame::Walk {
    let read = |at: u64, out: &mut [u8]| {
        let at = at as usize;
        out.copy_from_slice(&bytes[at..at + out.len()]);
        Ok::<_, std::convert::Infallible>(())
    };
    walk(bytes.len() as u64, read).unwrap()
}

/// Three frames behind a header.
fn generation() -> (Vec<u8>, [usize; 3]) {
    let mut bytes = Header { number: 1, proxy: [0; 16], key: [0; 8] }.encode().to_vec();
    let ends = [1_u64, 2, 3].map(|seq| {
        let frame = Frame { kind: Kind::Tenant, len: 30 + seq as u32, seq, rev: 1, tenant: tenant(1) };
        bytes.extend_from_slice(&frame.encode());
        bytes.resize(bytes.len() + frame.len as usize, 0xee);
        bytes.len()
    });
    (bytes, ends)
}

#[test]
fn a_generation_that_is_cut_anywhere_keeps_what_is_whole() {
    let (bytes, ends) = generation();
    for cut in HEADER..=bytes.len() {
        let found = walked(&bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!((found.frames.len(), found.damaged), (whole, false), "cut at {cut}");
        let end = ends[..whole].last().copied().unwrap_or(HEADER);
        assert_eq!(found.end, end as u64);
    }
}

#[test]
fn frames_behind_damage_are_found() {
    let (bytes, ends) = generation();
    for at in HEADER..ends[1] - 31 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let found = walked(&damaged);
        assert!(found.frames.iter().any(|(_, frame)| frame.seq == 3), "byte {at}");
        let header = at < HEADER + FRAME || (ends[0]..ends[0] + FRAME).contains(&at);
        assert_eq!(
            (found.frames.len(), found.damaged),
            if header { (2, true) } else { (3, false) },
            "byte {at}"
        );
    }
}

proptest! {
    #[test]
    fn the_next_frame_is_found_behind_any_damage(damage in prop::collection::vec(any::<u8>(), 0..200), seq: u64) {
        let frame = Frame { kind: Kind::Tenant, len: 40, seq, rev: 1, tenant: tenant(1) };
        let bytes = [&damage[..], &frame.encode()].concat();
        prop_assert_eq!(find(&bytes), Some(damage.len()));
        prop_assert_eq!(find(&damage), None);
    }
}
