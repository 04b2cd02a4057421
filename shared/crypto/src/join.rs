//! Join tokens: `pjt_<lookup>_<secret><crc>.<base64url of SHA-256 of the CA's SubjectPublicKeyInfo>`.
//!
//! The second part is what a proxy compares with the CA it meets before it sends the first, so that a token cannot be
//! collected by an impostor. It is not secret.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use seams::Entropy;
use secrecy::{ExposeSecret, SecretString};

use crate::key::{self, KEY_LENGTH, KeyFormatError, KeyKind, Minted, Presented};

/// Characters of a join token.
pub const JOIN_LENGTH: usize = KEY_LENGTH + 1 + 43;

/// A join token in its two parts.
#[derive(Clone, Copy)]
pub struct PresentedJoin<'a> {
    /// What the control plane checks.
    pub token: Presented<'a>,
    /// The text of that part alone: the only part a proxy sends.
    text: &'a str,
    /// SHA-256 of the DER SubjectPublicKeyInfo of the CA a proxy must find.
    pub ca_key_hash: [u8; 32],
}

impl<'a> PresentedJoin<'a> {
    /// The part to send to the control plane. Secret.
    #[must_use]
    pub fn token_text(&self) -> &'a str {
        self.text
    }
}

impl fmt::Debug for PresentedJoin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedJoin").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A new join token for the CA with this key hash.
#[must_use]
pub fn mint(ca_key_hash: &[u8; 32], entropy: &dyn Entropy) -> Minted {
    let Minted { text: token, lookup } = key::mint(KeyKind::JoinToken, entropy);
    let mut text = String::with_capacity(JOIN_LENGTH);
    text.push_str(token.expose_secret());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(ca_key_hash, &mut text);
    Minted { text: SecretString::from(text), lookup }
}

/// Reads a join token.
///
/// # Errors
/// If either part is not well formed.
pub fn parse(text: &str) -> Result<PresentedJoin<'_>, KeyFormatError> {
    let (token_text, hash) = text.split_once('.').ok_or(KeyFormatError::Malformed)?;
    let token = key::parse(KeyKind::JoinToken, token_text)?;
    let mut ca_key_hash = [0; 32];
    match URL_SAFE_NO_PAD.decode_slice(hash, &mut ca_key_hash) {
        Ok(32) => Ok(PresentedJoin { token, text: token_text, ca_key_hash }),
        _ => Err(KeyFormatError::Malformed),
    }
}
