//! What a request says of who sent it, before anything of it is believed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::{Zeroizing, jwt::Token};
use http::{HeaderMap, header};
use ids::ClientId;
use serde::Deserialize;

use crate::oauth::{
    error::OAuthError,
    form::{Form, decode},
};

/// Characters of `Authorization`.
const MAX_HEADER: usize = 2_048;
/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client says.
pub(super) struct Presented {
    /// Which it is; `None`: what it gives is no client's id.
    pub(super) client: Option<ClientId>,
    /// What it gives.
    pub(super) text: String,
    pub(super) proof: Proof,
    /// Whether a refusal names Basic as the way: where it was the way, or none was taken.
    pub(super) challenge: bool,
}

/// By what it proves it.
pub(super) enum Proof {
    Secret(Zeroizing<String>),
    Assertion(Zeroizing<String>),
    /// It has nothing to prove it by: a public client (RFC 6749 section 2.1), or one that would pass for it.
    Nothing,
}

impl Proof {
    /// What it has signed, if that is how.
    pub(super) fn assertion(&self) -> Option<&str> {
        match self {
            Self::Assertion(assertion) => Some(assertion),
            Self::Secret(_) | Self::Nothing => None,
        }
    }
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

impl Presented {
    /// Takes the one way of authentication that was chosen.
    pub(super) fn read(form: &Form) -> Result<Self, OAuthError> {
        let basic = basic(&form.headers)?;
        let owned = |value: &str| Zeroizing::new(value.to_owned());
        let (named, secret) = (form.get("client_id"), form.get("client_secret"));
        let (assertion, kind) = (form.get("client_assertion"), form.get("client_assertion_type"));
        match (basic, secret, assertion, kind) {
            (Some((id, secret)), None, None, None) => {
                if named.is_some_and(|named| named != id.as_str()) {
                    return Err(OAuthError::Request("two clients are named"));
                }
                let text = id.as_str().to_owned();
                Ok(Self { client: id.parse().ok(), text, proof: Proof::Secret(secret), challenge: true })
            }
            (None, Some(secret), None, None) => {
                let named = named.ok_or(OAuthError::Request("the client is not named"))?;
                let proof = Proof::Secret(owned(secret));
                Ok(Self { client: named.parse().ok(), text: named.to_owned(), proof, challenge: false })
            }
            (None, None, Some(assertion), Some(ASSERTION_TYPE)) => {
                let token = Token::parse(assertion).ok();
                let issued = token.and_then(|token| token.claims::<Issued>().ok());
                let claimed = issued.map(|issued| issued.iss);
                if named.is_some_and(|named| claimed.as_deref() != Some(named)) {
                    return Err(OAuthError::Client { challenge: false });
                }
                let text = claimed.unwrap_or_default();
                let proof = Proof::Assertion(owned(assertion));
                Ok(Self { client: text.parse().ok(), text, proof, challenge: false })
            }
            (None, None, None, None) => {
                let named = named.ok_or(OAuthError::Client { challenge: true })?;
                let (client, text) = (named.parse().ok(), named.to_owned());
                Ok(Self { client, text, proof: Proof::Nothing, challenge: true })
            }
            (None, None, _, _) => {
                Err(OAuthError::Request("the client assertion is not of a type known here"))
            }
            _ => Err(OAuthError::Request("the client authenticates in two ways at once")),
        }
    }
}

type Pair = (Zeroizing<String>, Zeroizing<String>);

/// Id and secret of `Authorization: Basic`, each of them form-encoded inside (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<Pair>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(OAuthError::Request("Authorization was sent twice"));
    }
    let refused = OAuthError::Client { challenge: true };
    let pair = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER).and_then(|text| {
        let (scheme, encoded) = text.split_once(' ')?;
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let pair = (decode(&decoded[..colon])?, decode(&decoded[colon + 1..])?);
        scheme.eq_ignore_ascii_case("basic").then_some(pair)
    });
    pair.map(Some).ok_or(refused)
}
