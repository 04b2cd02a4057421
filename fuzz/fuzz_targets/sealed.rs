#![no_main]
//! Nothing that was not sealed opens: no text from outside, no sealed text with a byte changed, no handle of another kind,
//! endpoint or principal. What was sealed opens to itself.

use crypto::{
    SealError, SessionKey, SessionSeal, StateKind, UpstreamSession,
    session::{self, open, open_for},
    state::{self, open_state, seal_state},
};
use ids::{ClientId, DataKeyId, EndpointId, UpstreamId};
use libfuzzer_sys::fuzz_target;
use seams::SeededEntropy;

const KINDS: [StateKind; 5] =
    [StateKind::Cursor, StateKind::TaskId, StateKind::RequestState, StateKind::EventId, StateKind::RequestId];

fuzz_target!(|input: &[u8]| {
    let keys = [SessionKey::new(DataKeyId::from_parts(1, [1; 10]), [7; 32])];
    let (endpoint, principal) = (EndpointId::from_parts(1, [2; 10]), ClientId::from_parts(1, [3; 10]));
    let upstream_id = UpstreamId::from_parts(1, [4; 10]);
    let other = ClientId::from_parts(1, [5; 10]);
    let entropy = SeededEntropy::new(input.len() as u64);

    if let Ok(text) = std::str::from_utf8(input) {
        assert!(open(&keys, text).is_err());
        assert!(KINDS.iter().all(|&kind| open_state(&keys, kind, endpoint, principal, text).is_err()));
    }
    let [kind, at, flip, value @ ..] = input else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let (at, flip) = (usize::from(*at), (*flip & 0x7f).max(1));

    match seal_state(&keys, kind, endpoint, principal, upstream_id, value, &entropy) {
        Ok(text) => {
            assert!(text.len() <= state::MAX_TEXT);
            let opened = open_state(&keys, kind, endpoint, principal, &text).expect("sealed here");
            assert!(opened.upstream == upstream_id && opened.bytes == value);
            for wrong in KINDS.into_iter().filter(|wrong| *wrong != kind) {
                assert!(open_state(&keys, wrong, endpoint, principal, &text).is_err());
            }
            assert!(open_state(&keys, kind, endpoint, other, &text).is_err());
            assert!(open(&keys, &text).is_err());
            let forged = changed(&text, at, flip);
            assert!(open_state(&keys, kind, endpoint, principal, &forged).is_err());
        }
        Err(error) => assert_eq!(error, SealError::TooLarge),
    }

    let half = value.len() / 2;
    let sealed = SessionSeal {
        endpoint,
        principal: principal.into(),
        created_micros: value.len() as u64,
        upstreams: vec![UpstreamSession {
            upstream_id,
            session_id: String::from_utf8_lossy(&value[..half]).into_owned(),
            address: String::from_utf8_lossy(&value[half..]).into_owned(),
        }],
    };
    match session::seal(&keys, &sealed, &entropy) {
        Ok(text) => {
            assert!(text.len() <= session::MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(open_for(&keys, &text, endpoint, principal), Ok(sealed));
            assert_eq!(open_for(&keys, &text, endpoint, other), Err(SealError::Foreign));
            assert!(open(&keys, &changed(&text, at, flip)).is_err());
        }
        Err(error) => assert_eq!(error, SealError::TooLarge),
    }
});

/// The text with another ASCII character at one place.
fn changed(text: &str, at: usize, flip: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] ^= flip;
    String::from_utf8(bytes).expect("ASCII stays ASCII")
}
