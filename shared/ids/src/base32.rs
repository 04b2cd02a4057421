//! Crockford base 32 of 128 bits in 26 digits, most significant first (TypeID 0.3, section "UUID suffix").

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

pub(crate) fn encode(bits: u128) -> [u8; 26] {
    let mut out = [b'0'; 26];
    for (place, digit) in out.iter_mut().rev().enumerate() {
        *digit = DIGITS[(bits >> (place * 5)) as usize & 31];
    }
    out
}

/// `None` unless exactly 26 digits whose value fits 128 bits. Upper case is refused: one id has one spelling.
pub(crate) fn decode(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0u128, |bits, byte| {
        let value = DIGITS.iter().position(|digit| digit == byte)?;
        Some(bits << 5 | value as u128)
    })
}
