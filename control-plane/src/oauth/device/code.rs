//! What a person types: eight consonants, so that nothing is read as something else and no word comes about (RFC 8628 section 6.1).

use seams::Entropy;

const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// A new one: 34 bits.
pub(super) fn new(entropy: &dyn Entropy) -> String {
    let mut code = String::with_capacity(LENGTH);
    while code.len() < LENGTH {
        for byte in entropy.bytes::<16>() {
            // 240 is the last multiple of twenty: every letter is as likely.
            if byte < 240 && code.len() < LENGTH {
                code.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
            }
        }
    }
    code
}

/// As it is shown.
pub(super) fn shown(code: &str) -> String {
    let (one, two) = code.split_at(code.len() / 2);
    format!("{one}-{two}")
}

/// What somebody has typed, if it can be one.
pub(super) fn typed(text: &str) -> Option<String> {
    if text.len() > 4 * LENGTH {
        return None;
    }
    let code: String =
        text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    (code.len() == LENGTH && code.bytes().all(|byte| LETTERS.contains(&byte))).then_some(code)
}

#[cfg(test)]
mod tests {
    use seams::SeededEntropy;

    use super::*;

    #[test]
    fn what_is_shown_is_what_can_be_typed_however_it_is() {
        let entropy = SeededEntropy::new(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let code = new(&entropy);
            assert_eq!(typed(&shown(&code)), Some(code.clone()));
            assert_eq!(typed(&format!(" {} ", shown(&code).to_lowercase())), Some(code.clone()));
            assert!(seen.insert(code));
        }
        let letters: std::collections::HashSet<_> = seen.iter().flat_map(|code| code.chars()).collect();
        assert_eq!(letters.len(), 20);
        for wrong in ["", "BCDF", "BCDF-GHJA", "BCDF-GHJ1", "BCDFGHJKL", "ＢCDFGHJK", &"-".repeat(100)] {
            assert_eq!(typed(wrong), None, "{wrong}");
        }
    }
}
