//! What came back, as a digest and a beginning: enough to prove a response without keeping it.

use std::borrow::Cow;

use crypto::digest::{Digest, Sha256};

/// Bytes of a response that the record keeps, sealed.
pub(crate) const EXCERPT: usize = 2 * 1024;

/// Follows a response while it is sent.
#[derive(Debug, Default)]
pub(crate) struct ResponseDigest {
    sha256: Sha256,
    excerpt: Vec<u8>,
    bytes: u64,
}

/// What is recorded of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent<'a> {
    pub(crate) digest: Digest,
    pub(crate) excerpt: Cow<'a, [u8]>,
    pub(crate) bytes: u64,
}

impl ResponseDigest {
    /// The next bytes, as the caller gets them.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        let room = EXCERPT.saturating_sub(self.excerpt.len());
        self.excerpt.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// At the response's end.
    pub(crate) fn finish(self) -> Sent<'static> {
        Sent { digest: self.sha256.finish(), excerpt: self.excerpt.into(), bytes: self.bytes }
    }
}

impl<'a> Sent<'a> {
    /// Of a body that is held whole.
    pub(crate) fn whole(body: &'a [u8]) -> Self {
        Self {
            digest: crypto::digest::sha256(body),
            excerpt: Cow::Borrowed(&body[..body.len().min(EXCERPT)]),
            bytes: body.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_whole_agree_and_the_excerpt_is_bounded() {
        let body: Vec<u8> = (0..5_000_u32).map(|i| i as u8).collect();
        for size in [1, 7, 2047, 2048, 2049, 5000] {
            let mut digest = ResponseDigest::default();
            body.chunks(size).for_each(|chunk| digest.update(chunk));
            let sent = digest.finish();
            assert_eq!(sent, Sent::whole(&body));
            assert_eq!(*sent.excerpt, body[..EXCERPT]);
        }
        assert_eq!(ResponseDigest::default().finish(), Sent::whole(b""));
    }
}
