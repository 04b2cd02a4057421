#![no_main]
//! A mirrored header is read or refused, never longer than it was sent; what is encoded survives a header and reads back.

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use mcp::headers::{self, HeaderFault, MAX_VALUE_BYTES};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(headers::NAME, value)]);
        match headers::single(&headers, &headers::NAME) {
            Ok(text) => {
                let text = text.expect("the header is there");
                assert!(
                    bytes.len() <= MAX_VALUE_BYTES && text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'))
                );
                if let Ok(spelled) = headers::decode(text) {
                    assert!(spelled.len() <= text.len());
                }
            }
            Err(fault) => assert!(matches!(fault, HeaderFault::TooLong | HeaderFault::Characters)),
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let encoded = headers::encode(text);
    let value = HeaderValue::from_str(&encoded).expect("what is encoded fits a header");
    assert_eq!(value.to_str().ok().map(|text| text.trim_matches([' ', '\t'])), Some(&*encoded));
    assert_eq!(headers::decode(&encoded).as_deref(), Ok(text));
});
