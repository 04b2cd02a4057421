#![no_main]
//! Whatever lies in a proxy's archive, walking through it ends, stays inside the file and finds frames that do not overlap;
//! and nothing in it opens that was not sealed for that very place.

use std::convert::Infallible;

use crypto::archive::{
    ArchiveKey, Place,
    frame::{FRAME, HEADER, Header, walk},
};
use ids::ProxyId;
use libfuzzer_sys::fuzz_target;
use seams::SeededEntropy;

fuzz_target!(|input: &[u8]| {
    let entropy = SeededEntropy::new(7);
    let key = ArchiveKey::from_file(&ArchiveKey::generate_file(&entropy)).expect("generated");
    if let Some(header) = Header::decode(input) {
        assert_eq!(header.encode(), input[..HEADER]);
    }
    // No key is a stranger's to name.
    assert!(ArchiveKey::from_file(input).is_err() || input.starts_with(b"portcullis-archive-key v1\n"));

    let proxy = ProxyId::from_parts(1, [1; 10]);
    let read = |at: u64, out: &mut [u8]| {
        let at = usize::try_from(at).expect("inside");
        out.copy_from_slice(&input[at..at + out.len()]);
        Ok::<_, Infallible>(())
    };
    let Ok(found) = walk(input.len() as u64, read);
    let mut end = HEADER as u64;
    for (at, frame) in &found.frames {
        assert!(*at >= end && at + frame.whole() <= input.len() as u64);
        end = at + frame.whole();
        let at = usize::try_from(*at).expect("inside");
        assert_eq!(frame.encode(), input[at..at + FRAME]);
        let sealed = &input[at + FRAME..at + FRAME + frame.len as usize];
        let place =
            Place { proxy, kind: frame.kind, tenant: frame.tenant, rev: frame.rev, seq: frame.seq };
        assert!(key.open(&place, sealed).is_err());
    }
    assert_eq!(found.end, end);

    let place = Place::floor(proxy);
    assert!(key.open(&place, input).is_err());
    let mut sealed = Vec::new();
    key.seal(&place, input, &mut sealed, &entropy).expect("seals");
    assert_eq!(&**key.open(&place, &sealed).expect("sealed here"), input);
});
