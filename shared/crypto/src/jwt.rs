//! JSON Web Tokens (RFC 7519) under asymmetric signatures: RS256, ES256 and EdDSA, and no others.
//!
//! A token is taken apart here and, where it brings its own key, in [`dpop`], and what its header may say is a closed list: `alg`, `kid`, `typ`. One that
//! also names a key to be fetched (`jku`, `x5u`), brings one along (`jwk`, `x5c`) or asks for extensions (`crit`) is refused,
//! so nothing in a token ever decides how it is checked: the algorithm is the key's.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

pub mod dpop;
mod jwk;
mod make;
mod object;

pub use jwk::{Jwk, JwkError, JwkSet, usable};
pub use make::{SignError, generate};

/// The longest token that is looked at. Ours have about 600 bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// How a key signs. A key has one algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits and more.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// As in a token's `alg` (RFC 7518, RFC 8037).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// From its name, exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A public key. Its bytes: for RS256 the DER `RSAPublicKey` (RFC 8017 A.1.1), for ES256 the uncompressed point (65), for
/// EdDSA the 32 of RFC 8032.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
    decoding: DecodingKey,
}

/// Bytes that are no public key of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of this algorithm")]
pub struct NotAKey;

impl PublicKey {
    /// From its bytes.
    ///
    /// # Errors
    /// [`NotAKey`] if they cannot be one.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, NotAKey> {
        let decoding = match algorithm {
            Algorithm::Rs256 => {
                jwk::rsa_components(bytes).ok_or(NotAKey)?;
                DecodingKey::from_rsa_der(bytes)
            }
            Algorithm::Es256 if bytes.len() == 65 && bytes[0] == 4 => DecodingKey::from_ec_der(bytes),
            Algorithm::EdDsa if bytes.len() == 32 => DecodingKey::from_ed_der(bytes),
            Algorithm::Es256 | Algorithm::EdDsa => return Err(NotAKey),
        };
        Ok(Self { algorithm, bytes: bytes.to_vec(), decoding })
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As [`Self::new`] takes them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the token was signed by this key, by its own algorithm.
    #[must_use]
    pub fn signed(&self, token: &Token<'_>) -> bool {
        token.algorithm == self.algorithm
            && jsonwebtoken::crypto::verify(
                token.signature,
                token.message.as_bytes(),
                &self.decoding,
                self.algorithm.of_library(),
            )
            .unwrap_or(false)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A private key as it is kept, sealed: PKCS#8. Shows nothing of it in `Debug`.
pub struct PrivateKey {
    algorithm: Algorithm,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// From what [`Self::pkcs8`] gave.
    #[must_use]
    pub const fn new(algorithm: Algorithm, pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self { algorithm, pkcs8 }
    }

    /// To be sealed.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// A signed token.
    ///
    /// # Errors
    /// [`SignError`] if the key is none, or the claims are not JSON.
    pub fn sign(&self, kid: &str, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let mut header = Header::new(self.algorithm.of_library());
        header.typ = Some(typ.to_owned());
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.encoding()?).map_err(|_| SignError)
    }

    /// A signature of a message, as base64url: for tokens whose header is not ours to make.
    ///
    /// # Errors
    /// [`SignError`] if the key is none.
    pub fn signature(&self, message: &[u8]) -> Result<String, SignError> {
        let algorithm = self.algorithm.of_library();
        jsonwebtoken::crypto::sign(message, &self.encoding()?, algorithm).map_err(|_| SignError)
    }

    fn encoding(&self) -> Result<EncodingKey, SignError> {
        Ok(match self.algorithm {
            Algorithm::Rs256 => EncodingKey::from_rsa_der(make::rsa_inside(&self.pkcs8).ok_or(SignError)?),
            Algorithm::Es256 => EncodingKey::from_ec_der(&self.pkcs8),
            Algorithm::EdDsa => EncodingKey::from_ed_der(&self.pkcs8),
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a text is no token that could be checked. Never carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base 64, or over [`MAX_TOKEN`].
    #[error("not a signed token")]
    Malformed,
    /// A header with something else than `alg`, `kid` and `typ`, or without one of them where it is needed.
    #[error("the token's header is not accepted")]
    Header,
    /// Another algorithm, `none` among them.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Claims that are not what was expected.
    #[error("the token's claims cannot be read")]
    Claims,
}

/// A token taken apart; nothing of it is believed yet.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Kid,
    typ: Typ,
}

/// What a token says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typ {
    /// `at+jwt`: an access token (RFC 9068).
    AccessToken,
    /// `JWT`, or nothing: what clients sign to say who they are.
    Jwt,
    /// `client-authentication+jwt`: the same, said (draft-ietf-oauth-rfc7523bis).
    ClientAuthentication,
    /// `oauth-id-jag+jwt`: an identity assertion for an authorization server (draft-ietf-oauth-identity-assertion-authz-grant).
    IdJag,
    /// Anything else.
    Other,
}

/// The name of a key, up to 64 of the characters of which ours are made; longer and other ones name no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid {
    bytes: [u8; Self::MAX],
    length: u8,
}

impl Kid {
    const MAX: usize = 64;

    /// From its text.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.len() > Self::MAX || !text.bytes().all(fits) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }

    /// Its text; empty where a token named no key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderText {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    /// Thumbprints of the signing certificate, which some issuers add: a name of the key beside `kid`, and not looked at.
    #[serde(default, rename = "x5t")]
    _sha1: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    _sha256: Option<String>,
}

impl<'a> Token<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        let header: HeaderText = serde_json::from_slice(&header).map_err(|_| TokenError::Header)?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(TokenError::Algorithm)?;
        let kid = Kid::new(header.kid.as_deref().unwrap_or_default()).ok_or(TokenError::Header)?;
        let typ = match header.typ.as_deref() {
            Some(typ) if typ.eq_ignore_ascii_case("at+jwt") => Typ::AccessToken,
            Some(typ) if typ.eq_ignore_ascii_case("application/at+jwt") => Typ::AccessToken,
            None => Typ::Jwt,
            Some(typ) if typ.eq_ignore_ascii_case("jwt") => Typ::Jwt,
            Some(typ) if typ.eq_ignore_ascii_case("client-authentication+jwt") => Typ::ClientAuthentication,
            Some(typ) if typ.eq_ignore_ascii_case("oauth-id-jag+jwt") => Typ::IdJag,
            Some(_) => Typ::Other,
        };
        Ok(Self { message, claims, signature, algorithm, kid, typ })
    }

    /// Which key is said to have signed it.
    #[must_use]
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What it says it is.
    #[must_use]
    pub const fn typ(&self) -> Typ {
        self.typ
    }

    /// How it was signed, as it says.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What it claims: to be read when [`PublicKey::signed`] has said yes, or to find out whose key to ask.
    ///
    /// # Errors
    /// [`TokenError::Claims`].
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TokenError> {
        let claims = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&claims).map_err(|_| TokenError::Claims)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("kid", &self.kid.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
