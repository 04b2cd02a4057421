//! Keys and tokens that callers present.
//!
//! `<prefix>_<lookup: 12 base 62>_<secret: 32 base 62><CRC-32: 6 base 62>`, the checksum over everything before it. The
//! secret holds 190 bits, so a fast keyed hash is enough at rest. The checksum lets a scanner, or this parser, tell a
//! mistyped key from a wrong one without a look-up. `lookup` is public: it finds the row.

use std::fmt;

use seams::Entropy;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::{digest::HmacKey, secret::ct_eq};

/// Matches every key and token of the product, for secret scanners. The checksum removes what matches by chance.
pub const KEY_REGEX: &str = r"\b(?:pck|pcs|pat|pop|pjt|pit|prt|pdc)_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b";

/// Characters of a key's text, whatever its kind.
pub const KEY_LENGTH: usize = 3 + 1 + LOOKUP + 1 + SECRET + CHECKSUM;

const LOOKUP: usize = 12;
const SECRET: usize = 32;
const CHECKSUM: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A caller's key for endpoints.
    ApiKey,
    /// A secret with which a client authenticates to its tenant's issuer.
    ClientSecret,
    /// A token for a tenant's part of the admin API.
    AdminToken,
    /// A token for the whole installation.
    OperatorToken,
    /// A single-use token with which a proxy enrols.
    JoinToken,
    /// A token with which clients may be registered at a tenant's issuer (RFC 7591).
    InitialAccessToken,
    /// A token with which a client manages its registration (RFC 7592).
    RegistrationToken,
    /// What a device shows for the token that a person lets it have (RFC 8628).
    DeviceCode,
}

impl KeyKind {
    /// Text before the first underscore.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "pck",
            Self::ClientSecret => "pcs",
            Self::AdminToken => "pat",
            Self::OperatorToken => "pop",
            Self::JoinToken => "pjt",
            Self::InitialAccessToken => "pit",
            Self::RegistrationToken => "prt",
            Self::DeviceCode => "pdc",
        }
    }
}

/// Why a text is not a key of the wanted kind. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// Another kind of key, or no key at all.
    #[error("not a key of this kind")]
    WrongKind,
    /// The right prefix, but not the right length or characters.
    #[error("key is cut short or has characters it cannot have")]
    Malformed,
    /// The checksum does not fit: a typing or copying mistake.
    #[error("key's checksum does not fit: a character is wrong")]
    Checksum,
}

/// A key somebody presented: well formed, nothing else is known of it yet.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its kind.
    pub kind: KeyKind,
    /// Public part, by which its row is found.
    pub lookup: &'a str,
    /// Everything before the checksum. Hashing the kind and `lookup` with the secret makes a stored hash worthless in
    /// another row.
    hashed: &'a [u8],
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("kind", &self.kind)
            .field("lookup", &self.lookup)
            .finish_non_exhaustive()
    }
}

/// A new key. Its text is shown once and kept nowhere.
#[derive(Debug)]
pub struct Minted {
    /// The whole key.
    pub text: SecretString,
    /// Public part, to be stored.
    pub lookup: String,
}

/// Reads a key without allocating.
///
/// # Errors
/// If `text` is not a key of `kind`, whole and unchanged.
pub fn parse(kind: KeyKind, text: &str) -> Result<Presented<'_>, KeyFormatError> {
    let rest = text
        .strip_prefix(kind.prefix())
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or(KeyFormatError::WrongKind)?;
    if text.len() != KEY_LENGTH || !text.is_ascii() {
        return Err(KeyFormatError::Malformed);
    }
    let (lookup, secret) = rest.split_at(LOOKUP);
    let secret = secret.strip_prefix('_').ok_or(KeyFormatError::Malformed)?;
    if !lookup.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(KeyFormatError::Malformed);
    }
    let (hashed, checksum) = text.as_bytes().split_at(KEY_LENGTH - CHECKSUM);
    // Not a secret: the checksum follows from the rest, so its comparison needs no constant time.
    if checksum != encode_checksum(crc32fast::hash(hashed)) {
        return Err(KeyFormatError::Checksum);
    }
    Ok(Presented { kind, lookup, hashed })
}

/// A new random key.
#[must_use]
pub fn mint(kind: KeyKind, entropy: &dyn Entropy) -> Minted {
    // Never grows beyond its capacity, so that no copy of the secret stays behind.
    let mut text = String::with_capacity(KEY_LENGTH);
    text.push_str(kind.prefix());
    text.push('_');
    push_random(&mut text, LOOKUP, entropy);
    let lookup = text[4..].to_owned();
    text.push('_');
    push_random(&mut text, SECRET, entropy);
    let checksum = encode_checksum(crc32fast::hash(text.as_bytes()));
    text.extend(checksum.iter().map(|&digit| char::from(digit)));
    Minted { text: SecretString::from(text), lookup }
}

/// Makes and checks the stored hashes of keys: HMAC-SHA-256 over kind, lookup and secret.
#[derive(Clone)]
pub struct KeyHasher(HmacKey);

impl KeyHasher {
    /// With a key that serves nothing else: `data_key.derive(Purpose::ApiKeyHash)`, or the master key's for tokens.
    #[must_use]
    pub fn new(key: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self(HmacKey::new(key.into().as_slice()))
    }

    /// What is stored of a key.
    #[must_use]
    pub fn hash(&self, presented: &Presented<'_>) -> [u8; 32] {
        self.0.mac(&[presented.hashed])
    }

    /// Whether `stored` is this key's hash. Constant time.
    #[must_use]
    pub fn verify(&self, presented: &Presented<'_>, stored: &[u8; 32]) -> bool {
        ct_eq(&self.hash(presented), stored)
    }

    /// Does the work of [`Self::verify`] for a key whose `lookup` is unknown, so that its refusal takes as long.
    pub fn dummy(&self, presented: &Presented<'_>) {
        std::hint::black_box(self.verify(presented, &[0; 32]));
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(…)")
    }
}

/// Six base-62 digits, most significant first, hold every CRC-32 (62⁶ > 2³²).
fn encode_checksum(crc: u32) -> [u8; CHECKSUM] {
    let mut rest = crc as usize;
    let mut out = [b'0'; CHECKSUM];
    for digit in out.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    out
}

/// Uniform digits: of each byte's low six bits the values 62 and 63 are thrown away.
fn push_random(out: &mut String, count: usize, entropy: &dyn Entropy) {
    let mut wanted = count;
    while wanted > 0 {
        let drawn: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
        for byte in drawn.iter() {
            if let Some(&digit) = BASE62.get(usize::from(byte & 63))
                && wanted > 0
            {
                out.push(char::from(digit));
                wanted -= 1;
            }
        }
    }
}
