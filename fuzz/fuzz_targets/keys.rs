#![no_main]
//! A text is a key of at most one kind, and then exactly of the documented shape; a minted key with one byte changed is
//! none. Join tokens likewise.

use crypto::{
    ExposeSecret, KeyKind, join,
    key::{self, KEY_LENGTH, mint, parse},
};
use libfuzzer_sys::fuzz_target;
use seams::SeededEntropy;

const KINDS: [KeyKind; 4] =
    [KeyKind::ApiKey, KeyKind::AdminToken, KeyKind::OperatorToken, KeyKind::JoinToken];

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let read: Vec<_> = KINDS.iter().filter_map(|&kind| parse(kind, text).ok()).collect();
        assert!(read.len() <= 1);
        for presented in read {
            assert_eq!(text.len(), KEY_LENGTH);
            assert_eq!(&text[..3], presented.kind.prefix());
            assert_eq!(&text[4..16], presented.lookup);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
        if let Ok(presented) = join::parse(text) {
            assert_eq!(text.len(), join::JOIN_LENGTH);
            assert!(text.starts_with(presented.token_text()));
        }
    }
    let [kind, seed, at, flip, ca @ ..] = input else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let entropy = SeededEntropy::new(u64::from(*seed));
    let minted = mint(kind, &entropy);
    let text = minted.text.expose_secret();
    let presented = parse(kind, text).expect("a minted key is a key");
    assert_eq!(presented.lookup, minted.lookup);
    let changed = changed(text, *at, *flip);
    assert!(KINDS.iter().all(|&kind| parse(kind, &changed).is_err()));

    let mut hash = [0; 32];
    hash.iter_mut().zip(ca).for_each(|(to, from)| *to = *from);
    let minted = join::mint(&hash, &entropy);
    let text = minted.text.expose_secret();
    let presented = join::parse(text).expect("a minted token is a token");
    assert_eq!(presented.ca_key_hash, hash);
    assert!(key::parse(KeyKind::JoinToken, text).is_err(), "the hash is not part of the key");
    let changed = self::changed(text, *at, *flip);
    // Only the part that is no secret has other valid spellings, and they name another CA.
    assert!(join::parse(&changed).map_or(true, |other| other.ca_key_hash != hash));
});

/// The text with another ASCII character at one place.
fn changed(text: &str, at: u8, flip: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = usize::from(at) % bytes.len();
    bytes[at] ^= (flip & 0x7f).max(1);
    String::from_utf8(bytes).expect("ASCII stays ASCII")
}
