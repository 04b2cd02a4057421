//! Duplicate keys: remembered per open object, compared after unescaping.
//!
//! Small objects compare each new key with the earlier ones; larger ones are sorted once when they close. Sorting
//! needs no random hash seed and costs at most n log n, so a body full of keys cannot be made expensive.

use smallvec::SmallVec;

use super::{StringSpan, text};

/// Keys up to which each new key is compared with all earlier ones.
const LINEAR: usize = 16;

/// What is done with the keys of open objects.
pub(crate) trait KeyPolicy {
    /// Whether the text is known to be strict JSON, so that what is stepped over need not be looked at.
    const TRUSTED: bool;
    /// Keys remembered now.
    fn len(&self) -> usize;
    /// Remembers a key of the object whose keys start at `base`; true when it is known to be a duplicate.
    fn push(&mut self, document: &str, base: usize, key: StringSpan) -> bool;
    /// Forgets the object whose keys start at `base`; true when it has a duplicate that `push` did not look for.
    fn close(&mut self, document: &str, base: usize) -> bool;
}

/// Keys are not looked at.
pub(crate) struct Unchecked;

impl KeyPolicy for Unchecked {
    const TRUSTED: bool = true;

    fn len(&self) -> usize {
        0
    }

    fn push(&mut self, _: &str, _: usize, _: StringSpan) -> bool {
        false
    }

    fn close(&mut self, _: &str, _: usize) -> bool {
        false
    }
}

/// One key of an open object.
#[derive(Clone, Copy)]
struct Key {
    /// The first eight bytes of what it spells: tells most keys apart without looking at the text.
    head: u64,
    /// Offset and length of what it spells, in the scanned text or in the scratch text.
    start: u32,
    len: u32,
    unescaped: bool,
}

/// Keys of all open objects, innermost last.
#[derive(Default)]
pub(crate) struct Keys {
    seen: SmallVec<[Key; 24]>,
    /// What escaped keys spell.
    scratch: String,
}

impl KeyPolicy for Keys {
    const TRUSTED: bool = false;

    #[inline]
    fn len(&self) -> usize {
        self.seen.len()
    }

    #[inline]
    fn push(&mut self, document: &str, base: usize, key: StringSpan) -> bool {
        let key = if key.escaped {
            let spelled = text::unescape(text::inside(document, key));
            let start = self.scratch.len();
            self.scratch.push_str(&spelled);
            Key {
                head: head(spelled.as_bytes()),
                start: super::offset(start),
                len: super::offset(spelled.len()),
                unescaped: true,
            }
        } else {
            let spelled = text::inside(document, key).as_bytes();
            Key {
                head: head(spelled),
                start: key.span.start + 1,
                len: super::offset(spelled.len()),
                unescaped: false,
            }
        };
        let earlier = &self.seen[base..];
        let duplicate = earlier.len() < LINEAR
            && earlier.iter().any(|other| {
                other.head == key.head
                    && other.len == key.len
                    && self.spelled(document, *other) == self.spelled(document, key)
            });
        self.seen.push(key);
        duplicate
    }

    #[inline]
    fn close(&mut self, document: &str, base: usize) -> bool {
        let duplicate = self.seen.len() - base > LINEAR && self.sorted_duplicate(document, base);
        self.seen.truncate(base);
        if base == 0 {
            self.scratch.clear();
        }
        duplicate
    }
}

impl Keys {
    #[cold]
    fn sorted_duplicate(&self, document: &str, base: usize) -> bool {
        let mut keys: Vec<Key> = self.seen[base..].to_vec();
        let order = |a: &Key, b: &Key| {
            (a.head, a.len)
                .cmp(&(b.head, b.len))
                .then_with(|| self.spelled(document, *a).cmp(self.spelled(document, *b)))
        };
        keys.sort_unstable_by(order);
        keys.windows(2).any(|pair| order(&pair[0], &pair[1]).is_eq())
    }

    fn spelled<'t>(&'t self, document: &'t str, key: Key) -> &'t [u8] {
        let source = if key.unescaped { &self.scratch } else { document };
        let start = key.start as usize;
        source.as_bytes().get(start..start + key.len as usize).unwrap_or_default()
    }
}

/// The first eight bytes, zero-filled.
#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}
