use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use seams::SeededEntropy;

use super::{client, data_key, endpoint, entropy, session_keys, upstream};
use crate::{
    Holder, SealError, SessionSeal, StateKind, UpstreamSession,
    session::{self, MAX_TEXT},
    state::{self, open_state, seal_state},
};

const KINDS: [StateKind; 5] =
    [StateKind::Cursor, StateKind::TaskId, StateKind::RequestState, StateKind::EventId, StateKind::RequestId];

fn session_of(session_id: &str) -> SessionSeal {
    SessionSeal {
        endpoint: endpoint(1),
        principal: client(2).into(),
        created_micros: 1_790_000_000_000_000,
        upstreams: vec![UpstreamSession {
            upstream_id: upstream(3),
            session_id: session_id.to_owned(),
            address: "192.0.2.1:443".to_owned(),
        }],
    }
}

#[test]
fn session_golden() {
    let text = session::seal(&session_keys(), &session_of("abc"), &entropy()).unwrap();
    assert_eq!(
        text,
        "AQGTAAAAAHAAgAAAAAAAAAHXDTJZ5OHLYxxmPPTakJ85-4mmWOv05-YDSy3ePo1HlVBtgHy2TTrdG9tCGZcOCrK7WluhCNhjHts6TgE8Xhl8k-3id04zyKjosUeedSmtB_jlaOTR6N0GqVPvER-ObDm3_JQTjtA0UCnXPN2JNURKrA"
    );
    assert_eq!(session::open(&session_keys(), &text).unwrap(), session_of("abc"));
}

#[test]
fn state_golden() {
    let text = seal_state(
        &session_keys(),
        StateKind::Cursor,
        endpoint(1),
        client(2),
        upstream(3),
        b"page-2",
        &entropy(),
    )
    .unwrap();
    assert_eq!(
        text,
        "AQGTAAAAAHAAgAAAAAAAAAHXDTJZ5OHLYxxmPPQ006rzdjPJc11Zjydilv81jVpOe3yEVcmDq73Jm_2rCHyy8_djug"
    );
}

#[test]
fn a_session_belongs_to_its_endpoint_and_principal() {
    let keys = session_keys();
    let text = session::seal(&keys, &session_of("abc"), &entropy()).unwrap();
    assert!(session::open_for(&keys, &text, endpoint(1), client(2)).is_ok());
    assert_eq!(session::open_for(&keys, &text, endpoint(9), client(2)), Err(SealError::Foreign));
    assert_eq!(session::open_for(&keys, &text, endpoint(1), client(9)), Err(SealError::Foreign));
}

#[test]
fn a_session_outlives_the_key_that_sealed_it_while_that_is_held() {
    let [old, new] = session_keys();
    let text = session::seal(std::slice::from_ref(&old), &session_of("abc"), &entropy()).unwrap();
    let both = [new, old];
    assert!(session::open(&both, &text).is_ok());
    assert_eq!(session::open(&both[..1], &text).unwrap_err(), SealError::UnknownKey);
    // Another tenant's key that goes by the same id.
    let impostor = crate::SessionKey::new(data_key(1).id, [9; 32]);
    assert_eq!(session::open(&[impostor], &text).unwrap_err(), SealError::Unauthentic);
    assert_eq!(session::seal(&[], &session_of("abc"), &entropy()).unwrap_err(), SealError::NoKey);
}

#[test]
fn a_session_is_bounded() {
    let keys = session_keys();
    let fits = session::seal(&keys, &session_of(&"x".repeat(600)), &entropy()).unwrap();
    assert!(fits.len() <= MAX_TEXT);
    let too_large = session::seal(&keys, &session_of(&"x".repeat(700)), &entropy());
    assert_eq!(too_large.unwrap_err(), SealError::TooLarge);
    assert_eq!(session::open(&keys, &"A".repeat(MAX_TEXT + 1)).unwrap_err(), SealError::Malformed);
    let large = seal_state(
        &keys,
        StateKind::RequestState,
        endpoint(1),
        client(2),
        upstream(3),
        &[0; state::MAX_TEXT],
        &entropy(),
    );
    assert_eq!(large.unwrap_err(), SealError::TooLarge);
}

#[test]
fn a_session_that_says_more_is_refused() {
    // A field 9, as a later version might add: protobuf decoders drop it silently.
    let keys = session_keys();
    let sealed = |plaintext: &[u8]| {
        state::seal_text(&keys, b"portcullis session seal", plaintext, MAX_TEXT, &entropy()).unwrap()
    };
    assert_eq!(session::open(&keys, &sealed(&[0x48, 0x01])).unwrap_err(), SealError::Malformed);
    assert_eq!(session::open(&keys, &sealed(&[])).unwrap_err(), SealError::Malformed, "no ids");
}

#[test]
fn handles_do_not_stand_for_each_other() {
    let keys = session_keys();
    for made in KINDS {
        let text =
            seal_state(&keys, made, endpoint(1), client(2), upstream(3), b"value", &entropy()).unwrap();
        for read in KINDS {
            let opened = open_state(&keys, read, endpoint(1), client(2), &text);
            assert_eq!(opened.is_ok(), made == read, "{made:?} read as {read:?}");
        }
        let opened = open_state(&keys, made, endpoint(1), client(2), &text).unwrap();
        assert_eq!((opened.upstream, opened.bytes.as_slice()), (upstream(3), b"value".as_slice()));
        assert!(session::open(&keys, &text).is_err(), "{made:?} read as a session");
    }
    let session = session::seal(&keys, &session_of("abc"), &entropy()).unwrap();
    for kind in KINDS {
        assert!(open_state(&keys, kind, endpoint(1), client(2), &session).is_err());
    }
}

#[test]
fn debug_does_not_show_upstream_session_ids() {
    assert!(!format!("{:?}", session_of("whoever-knows-this")).contains("whoever"));
}

proptest! {
    #[test]
    fn sessions_round_trip_as_visible_ascii(seed: u64, id in "[!-~]{0,200}", count in 0usize..3, micros: u64) {
        let keys = session_keys();
        let mut session = session_of(&id);
        session.created_micros = micros;
        session.upstreams = (0..count).map(|_| session.upstreams[0].clone()).collect();
        let text = session::seal(&keys, &session, &SeededEntropy::new(seed));
        prop_assume!(text.is_ok());
        let text = text.unwrap();
        prop_assert!(text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(session::open(&keys, &text).unwrap(), session);
    }

    #[test]
    fn any_changed_character_of_a_session_is_noticed(seed: u64, place: usize, to in "[ -~]") {
        let keys = session_keys();
        let text = session::seal(&keys, &session_of("abc"), &SeededEntropy::new(seed)).unwrap();
        let place = place % text.len();
        prop_assume!(text[place..=place] != to);
        let changed = format!("{}{to}{}", &text[..place], &text[place + 1..]);
        prop_assert!(session::open(&keys, &changed).is_err());
    }

    #[test]
    fn handles_open_only_here_and_for_their_owner(
        value in prop::collection::vec(any::<u8>(), 0..300), e in 0u128..3, c in 0u128..3, bit: usize,
    ) {
        let keys = session_keys();
        let kind = StateKind::RequestState;
        let text = seal_state(&keys, kind, endpoint(1), client(1), upstream(3), &value, &entropy()).unwrap();
        let opened = open_state(&keys, kind, endpoint(e), client(c), &text);
        prop_assert_eq!(opened.is_ok(), e == 1 && c == 1);
        let mut sealed = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        let flipped = URL_SAFE_NO_PAD.encode(&sealed);
        prop_assert!(open_state(&keys, kind, endpoint(1), client(1), &flipped).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused_without_panic(text in "\\PC{0,200}") {
        prop_assert!(session::open(&session_keys(), &text).is_err());
        prop_assert!(open_state(&session_keys(), StateKind::Cursor, endpoint(1), client(1), &text).is_err());
    }
}

#[test]
fn what_a_client_has_for_one_member_is_nobody_elses() {
    let member = |n: u8| ids::MemberId::from_parts(1, [n; 10]);
    let of = |n: u8| Holder { client: client(2), member: Some(member(n)) };
    let keys = session_keys();
    let others = [Holder::from(client(2)), of(2), Holder { client: client(3), member: Some(member(1)) }];
    let session = SessionSeal { principal: of(1), ..session_of("abc") };
    let text = session::seal(&keys, &session, &entropy()).unwrap();
    assert_eq!(session::open_for(&keys, &text, endpoint(1), of(1)), Ok(session));
    for other in others {
        assert_eq!(session::open_for(&keys, &text, endpoint(1), other), Err(SealError::Foreign), "{other:?}");
    }
    let own = session::seal(&keys, &session_of("abc"), &entropy()).unwrap();
    assert_eq!(session::open_for(&keys, &own, endpoint(1), of(1)), Err(SealError::Foreign));
    for kind in KINDS {
        let text = seal_state(&keys, kind, endpoint(1), of(1), upstream(3), b"value", &entropy()).unwrap();
        assert!(open_state(&keys, kind, endpoint(1), of(1), &text).is_ok());
        for other in others {
            assert!(open_state(&keys, kind, endpoint(1), other, &text).is_err(), "{other:?}");
        }
        let own = seal_state(&keys, kind, endpoint(1), client(2), upstream(3), b"value", &entropy()).unwrap();
        assert!(open_state(&keys, kind, endpoint(1), of(1), &own).is_err());
    }
}
