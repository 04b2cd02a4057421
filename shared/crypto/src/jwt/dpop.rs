//! Proofs of possession (RFC 9449): what a caller signs for one request with the key to which its token is bound, and nonces, by which
//! a server says when a proof was made at the earliest.
//!
//! The only tokens that bring their own key: it proves nothing but that whoever sends the request has it, and is believed for nothing
//! else than the thumbprint that a token names.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use seams::Timestamp;
use serde::Deserialize;

use super::{Algorithm, Jwk, Kid, PublicKey, Token, TokenError, Typ};
use crate::{
    claims::Thumbprint,
    digest::{HmacKey, sha256, sha256_parts},
    secret::ct_eq,
};

/// The longest proof that is looked at: one with an RSA key of 4096 bits has 2,000 bytes.
pub const MAX_PROOF: usize = 4 * 1024;
/// Characters of a proof's `jti`.
const MAX_ID: usize = 256;
const TYPE: &str = "dpop+jwt";

/// A proof that was signed by the key that it brings. Whether it is for this request, and new, has to be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    key: Thumbprint,
    id: [u8; 32],
    method: String,
    uri: String,
    made: Timestamp,
    token: Option<Thumbprint>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    jwk: Jwk,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    #[serde(default)]
    ath: Option<Thumbprint>,
    #[serde(default)]
    nonce: Option<String>,
}

impl Proof {
    /// Reads a proof and checks its signature.
    ///
    /// # Errors
    /// [`TokenError`]: also for a private key, for one of another algorithm than the header names, and for a signature that is another's.
    pub fn read(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_PROOF {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        let Header { alg, typ, jwk } = serde_json::from_slice(&header).map_err(|_| TokenError::Header)?;
        let algorithm = Algorithm::from_name(&alg).ok_or(TokenError::Algorithm)?;
        let key = jwk.read().map_err(|_| TokenError::Header)?;
        let kid = Kid::new("").ok_or(TokenError::Header)?;
        let token = Token { message, claims, signature, algorithm, kid, typ: Typ::Other };
        if typ != TYPE || !key.signed(&token) {
            return Err(TokenError::Header);
        }
        let Claims { jti, htm, htu, iat, ath, nonce } = token.claims()?;
        if !(1..=MAX_ID).contains(&jti.len()) {
            return Err(TokenError::Claims);
        }
        let key = key.thumbprint();
        let id = sha256_parts(&[&key.0, jti.as_bytes()]);
        Ok(Self { key, id, method: htm, uri: htu, made: Timestamp::from_secs(iat), token: ath, nonce })
    }

    /// Of the key that signed it.
    #[must_use]
    pub const fn key(&self) -> Thumbprint {
        self.key
    }

    /// What no other proof of the key has.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// When it was made, by the clock of whoever made it.
    #[must_use]
    pub const fn made(&self) -> Timestamp {
        self.made
    }

    /// The nonce of a server's that it brings back.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Whether it is for a request of this method to this URI; its query and fragment do not count.
    #[must_use]
    pub fn is_for(&self, method: &str, uri: &str) -> bool {
        self.method == method && bare(&self.uri).is_some_and(|own| bare(uri) == Some(own))
    }

    /// Whether it was made for a request with this token.
    #[must_use]
    pub fn is_with(&self, token: &str) -> bool {
        self.token.is_some_and(|own| ct_eq(&own.0, &sha256(token.as_bytes())))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("key", &self.key).field("made", &self.made).finish_non_exhaustive()
    }
}

/// Scheme, authority and path, in the one spelling of them that matters here (RFC 3986 section 6.2); `None`: none of HTTP.
fn bare(uri: &str) -> Option<String> {
    let uri = uri.split(['?', '#']).next()?;
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(port).unwrap_or(&authority);
    Some(format!("{scheme}://{authority}{}", if path.is_empty() { "/" } else { path }))
}

impl PublicKey {
    /// Its thumbprint (RFC 7638), of its one spelling.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        let Jwk { kty, crv, x, y, n, e, .. } = Jwk::new("", self);
        // The members that it has of these, which are those that count, in the order of their names.
        let members = [("crv", crv), ("e", e), ("kty", Some(kty)), ("n", n), ("x", x), ("y", y)];
        let members =
            members.into_iter().filter_map(|(name, value)| Some(format!(r#""{name}":"{}""#, value?)));
        let text = members.collect::<Vec<_>>().join(",");
        Thumbprint(sha256(format!("{{{text}}}").as_bytes()))
    }
}

/// Makes nonces and knows its own again, with a key for each secret that is in use; the first makes new ones. What they are for is part
/// of them, so that one is worth nothing elsewhere.
pub struct Nonces(Vec<HmacKey>);

/// Seconds, and the code that authenticates them.
const NONCE: (usize, usize) = (8, 16);

impl Nonces {
    /// From keys that serve nothing else.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        Self(keys.into_iter().map(|key| HmacKey::new(key)).collect())
    }

    /// A nonce of now. The same for a second: it says when, and nothing else.
    #[must_use]
    pub fn make(&self, purpose: &[u8], now: Timestamp) -> Option<String> {
        let seconds = now.secs().to_be_bytes();
        let code = code(self.0.first()?, purpose, seconds);
        Some(URL_SAFE_NO_PAD.encode([&seconds[..], &code[..NONCE.1]].concat()))
    }

    /// When it was made; `None`: not here, or not for this.
    #[must_use]
    pub fn made(&self, purpose: &[u8], nonce: &str) -> Option<Timestamp> {
        let mut bytes = [0; NONCE.0 + NONCE.1];
        let read = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes);
        let (seconds, shown) = bytes.split_first_chunk().filter(|_| read == Ok(NONCE.0 + NONCE.1))?;
        // No early exit: which key fits must not show in the duration.
        let good = self
            .0
            .iter()
            .fold(false, |good, key| good | ct_eq(&code(key, purpose, *seconds)[..NONCE.1], shown));
        good.then(|| Timestamp::from_secs(u64::from_be_bytes(*seconds)))
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces(…)")
    }
}

fn code(key: &HmacKey, purpose: &[u8], seconds: [u8; 8]) -> [u8; 32] {
    // The seconds have a fixed length, so the parts cannot be taken for others.
    key.mac(&[b"dpop nonce ", &seconds, purpose])
}

#[cfg(test)]
mod tests;
