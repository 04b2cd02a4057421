use proptest::prelude::*;
use seams::{Entropy, SeededEntropy};

use super::entropy;
use crate::{
    ExposeSecret, KeyFormatError, KeyHasher, KeyKind, join,
    key::{self, KEY_LENGTH},
};

const KINDS: [KeyKind; 5] =
    [KeyKind::ApiKey, KeyKind::ClientSecret, KeyKind::AdminToken, KeyKind::OperatorToken, KeyKind::JoinToken];

fn minted(kind: KeyKind, seed: u64) -> String {
    key::mint(kind, &SeededEntropy::new(seed)).text.expose_secret().to_owned()
}

#[test]
fn key_golden() {
    assert_eq!(minted(KeyKind::ApiKey, 7), "pck_NDoPaXBZScyq_QXUgcxJpHgB6QsG2pX4Bt2zHMyJXdGPw2G0oL6");
    let text = minted(KeyKind::ApiKey, 7);
    let presented = key::parse(KeyKind::ApiKey, &text).unwrap();
    assert_eq!(
        crate::digest::hex(&KeyHasher::new([9; 32]).hash(&presented)),
        "e783e8a16f8d837f33d7e9889bbc63fa0d52f53fccac16349579cb3873282000"
    );
}

#[test]
fn checksum_is_crc_32_of_what_precedes_it() {
    // The check value of CRC-32/ISO-HDLC is that of "123456789".
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    let text = minted(KeyKind::AdminToken, 1);
    let (body, checksum) = text.split_at(KEY_LENGTH - 6);
    let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let value = checksum.chars().fold(0, |value, digit| value * 62 + digits.find(digit).unwrap() as u64);
    assert_eq!(value, u64::from(crc32fast::hash(body.as_bytes())));
}

#[test]
fn a_key_is_of_one_kind() {
    for made in KINDS {
        for read in KINDS {
            let text = minted(made, 3);
            let parsed = key::parse(read, &text);
            if made == read {
                assert_eq!(parsed.unwrap().kind, read);
            } else {
                assert_eq!(parsed.unwrap_err(), KeyFormatError::WrongKind);
            }
        }
    }
}

#[test]
fn hashes_hold_for_one_key_under_one_hasher() {
    let (hasher, other) = (KeyHasher::new([1; 32]), KeyHasher::new([2; 32]));
    let (mine, yours) = (minted(KeyKind::ApiKey, 1), minted(KeyKind::ApiKey, 2));
    let (mine, yours) =
        (key::parse(KeyKind::ApiKey, &mine).unwrap(), key::parse(KeyKind::ApiKey, &yours).unwrap());
    let stored = hasher.hash(&mine);
    assert!(hasher.verify(&mine, &stored));
    assert!(!hasher.verify(&yours, &stored));
    assert!(!other.verify(&mine, &stored));
    hasher.dummy(&yours);
}

#[test]
fn nothing_shows_a_secret() {
    let minted = key::mint(KeyKind::ApiKey, &entropy());
    let text = minted.text.expose_secret();
    let secret = &text[17..49];
    let presented = key::parse(KeyKind::ApiKey, text).unwrap();
    let shown = format!("{minted:?} {presented:?} {:?}", KeyHasher::new([7; 32]));
    assert!(!shown.contains(secret) && !shown.contains("7, 7"), "{shown}");
    assert!(shown.contains(&minted.lookup));
}

#[test]
fn join_token_names_its_authority() {
    let hash: [u8; 32] = (&entropy() as &dyn Entropy).bytes();
    let minted = join::mint(&hash, &entropy());
    let text = minted.text.expose_secret();
    assert_eq!(text.len(), join::JOIN_LENGTH);
    let presented = join::parse(text).unwrap();
    assert_eq!(presented.ca_key_hash, hash);
    assert_eq!(presented.token.lookup, minted.lookup);
    assert!(key::parse(KeyKind::JoinToken, presented.token_text()).is_ok());
    assert!(!format!("{presented:?}").contains(&text[17..49]), "Debug shows the secret");
    for cut in 0..text.len() {
        assert!(join::parse(&text[..cut]).is_err(), "{cut} characters were enough");
    }
    assert_eq!(
        text,
        "pjt_NDoPaXBZScyq_QXUgcxJpHgB6QsG2pX4Bt2zHMyJXdGPw1vHbhs.1w0yWeThy2McZjz01zxMBAIqsbqAQJjmyyk-Z3DrOpU"
    );
}

proptest! {
    #[test]
    fn every_minted_key_parses_and_matches_the_published_form(seed: u64, kind in 0usize..4) {
        let minted = key::mint(KINDS[kind], &SeededEntropy::new(seed));
        let text = minted.text.expose_secret();
        let presented = key::parse(KINDS[kind], text).unwrap();
        prop_assert_eq!(presented.lookup, &minted.lookup);
        prop_assert_eq!(text.len(), KEY_LENGTH);
        // `KEY_REGEX` in words.
        let (prefix, rest) = text.split_once('_').unwrap();
        let (lookup, secret) = rest.split_once('_').unwrap();
        prop_assert_eq!((prefix, lookup.len(), secret.len()), (KINDS[kind].prefix(), 12, 38));
        prop_assert!(lookup.chars().chain(secret.chars()).all(|digit| digit.is_ascii_alphanumeric()));
    }

    #[test]
    fn any_changed_character_is_noticed(seed: u64, place in 0..KEY_LENGTH, to in 0x20u8..0x7f) {
        let text = minted(KeyKind::ApiKey, seed);
        prop_assume!(text.as_bytes()[place] != to);
        let mut changed = text.into_bytes();
        changed[place] = to;
        prop_assert!(key::parse(KeyKind::ApiKey, std::str::from_utf8(&changed).unwrap()).is_err());
    }

    #[test]
    fn two_swapped_characters_are_noticed(seed: u64, place in 0..KEY_LENGTH - 1) {
        let mut changed = minted(KeyKind::ApiKey, seed).into_bytes();
        prop_assume!(changed[place] != changed[place + 1]);
        changed.swap(place, place + 1);
        prop_assert!(key::parse(KeyKind::ApiKey, std::str::from_utf8(&changed).unwrap()).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused_without_panic(text in "(pck_)?\\PC{0,70}") {
        prop_assert!(key::parse(KeyKind::ApiKey, &text).is_err());
        prop_assert!(join::parse(&text).is_err());
    }
}
