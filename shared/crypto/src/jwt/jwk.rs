//! JSON Web Keys (RFC 7517), public ones only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Algorithm, Kid, PublicKey};

/// Keys in a set; more are not looked at.
const MAX_KEYS: usize = 16;
/// Shortest and longest RSA modulus, bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Why a key is not accepted. Never carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// It has a private part, which nobody else should have.
    #[error("is a private key; give its public half")]
    Private,
    /// Another kind of key, or another algorithm.
    #[error(
        "must be an RSA key of 2048 to 4096 bits for RS256, a P-256 key for ES256 or an Ed25519 key for EdDSA"
    )]
    Unsupported,
    /// Members that are missing or that are no base 64.
    #[error("lacks a member, or one of them is not base64url")]
    Malformed,
    /// A `kid` of other characters, or too long.
    #[error("needs a `kid` of 1 to 64 letters, digits, `-`, `_` and `.`, unlike the others'")]
    Kid,
    /// Too many, or none.
    #[error("must hold 1 to 16 keys")]
    Count,
}

/// A public key as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Jwk {
    /// Family.
    pub kty: String,
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kid: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// Algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Coordinate, or the whole key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Only to see that somebody sent a private key.
    #[serde(default, skip_serializing)]
    d: Option<serde::de::IgnoredAny>,
    /// Only to see that somebody sent a shared secret.
    #[serde(default, skip_serializing)]
    k: Option<serde::de::IgnoredAny>,
}

/// Several.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// Every key by its name.
    ///
    /// # Errors
    /// The place of the first that is not accepted, and why.
    pub fn read(&self) -> Result<Vec<(Kid, PublicKey)>, (usize, JwkError)> {
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            return Err((0, JwkError::Count));
        }
        let mut read: Vec<(Kid, PublicKey)> = Vec::with_capacity(self.keys.len());
        for (place, key) in self.keys.iter().enumerate() {
            let kid = Kid::new(&key.kid).filter(|kid| !kid.as_str().is_empty());
            let kid = kid.filter(|kid| read.iter().all(|(other, _)| other != kid));
            read.push((kid.ok_or((place, JwkError::Kid))?, key.read().map_err(|error| (place, error))?));
        }
        Ok(read)
    }
}

/// The keys of somebody else's set, as it was fetched: those of other kinds, for other uses, or without a name that is read are left out,
/// since such a set is for others too. Of two with one name the first counts; after so many no more are looked at.
#[must_use]
pub fn usable(document: &[u8]) -> Vec<(Kid, PublicKey)> {
    #[derive(Deserialize)]
    struct Any {
        keys: Vec<serde_json::Value>,
    }
    let Ok(Any { keys }) = serde_json::from_slice(document) else { return Vec::new() };
    let mut read: Vec<(Kid, PublicKey)> = Vec::new();
    for key in keys.into_iter().take(MAX_KEYS * 4) {
        let Ok(key) = serde_json::from_value::<Jwk>(key) else { continue };
        let Some(kid) = Kid::new(&key.kid) else { continue };
        let named = read.iter().any(|(other, _)| *other == kid && !kid.as_str().is_empty());
        if let Ok(public) = key.read()
            && !named
        {
            read.push((kid, public));
        }
    }
    read
}

impl Jwk {
    /// Of a public key.
    #[must_use]
    pub fn new(kid: &str, key: &PublicKey) -> Self {
        let text = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let algorithm = key.algorithm();
        let mut jwk = Self {
            kty: String::new(),
            kid: kid.to_owned(),
            usage: Some("sig".to_owned()),
            alg: Some(algorithm.name().to_owned()),
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
            d: None,
            k: None,
        };
        match algorithm {
            Algorithm::Rs256 => {
                let (n, e) = rsa_components(key.bytes()).unwrap_or_default();
                (jwk.kty, jwk.n, jwk.e) = ("RSA".to_owned(), text(n), text(e));
            }
            Algorithm::Es256 => {
                let (x, y) = key.bytes()[1..].split_at(32);
                (jwk.kty, jwk.crv) = ("EC".to_owned(), Some("P-256".to_owned()));
                (jwk.x, jwk.y) = (text(x), text(y));
            }
            Algorithm::EdDsa => {
                (jwk.kty, jwk.crv) = ("OKP".to_owned(), Some("Ed25519".to_owned()));
                jwk.x = text(key.bytes());
            }
        }
        jwk
    }

    pub(super) fn read(&self) -> Result<PublicKey, JwkError> {
        if self.d.is_some() || self.k.is_some() {
            return Err(JwkError::Private);
        }
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Err(JwkError::Unsupported),
        };
        let other_use = self.usage.as_ref().is_some_and(|usage| usage != "sig");
        if other_use || self.alg.as_ref().is_some_and(|alg| alg != algorithm.name()) {
            return Err(JwkError::Unsupported);
        }
        let bytes = |text: &Option<String>| {
            let text = text.as_ref().ok_or(JwkError::Malformed)?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Malformed)
        };
        let key = match algorithm {
            Algorithm::Rs256 => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                if !RSA_BYTES.contains(&n.len()) || !(1..=4).contains(&e.len()) {
                    return Err(JwkError::Unsupported);
                }
                rsa_public_key(&n, &e)
            }
            Algorithm::Es256 => [&[4], bytes(&self.x)?.as_slice(), bytes(&self.y)?.as_slice()].concat(),
            Algorithm::EdDsa => bytes(&self.x)?,
        };
        PublicKey::new(algorithm, &key).map_err(|_| JwkError::Malformed)
    }
}

/// Modulus and exponent of a DER `RSAPublicKey`, as big-endian numbers without leading zeros.
pub(super) fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = element(der, 0x30)?;
    let (n, after) = element(sequence, 2)?;
    let (e, nothing) = element(after, 2)?;
    let bare = |number: &'_ [u8]| number.iter().position(|byte| *byte != 0);
    (rest.is_empty() && nothing.is_empty()).then_some(())?;
    Some((n.get(bare(n)?..)?, e.get(bare(e)?..)?))
}

/// A DER element's contents, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first().filter(|(found, _)| **found == tag)?.1.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    Some((rest.get(..length)?, rest.get(length..)?))
}

fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let number = |value: &[u8]| {
        let value = &value[value.iter().take_while(|byte| **byte == 0).count()..];
        let padded = if value.first().is_none_or(|byte| *byte >= 0x80) {
            [&[0], value].concat()
        } else {
            value.to_vec()
        };
        put(2, &padded)
    };
    put(0x30, &[number(n), number(e)].concat())
}

fn put(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, length @ 0..=0x7f] => out.push(length),
        [0, length] => out.extend([0x81, length]),
        length => {
            out.push(0x82);
            out.extend(length);
        }
    }
    out.extend_from_slice(contents);
    out
}
