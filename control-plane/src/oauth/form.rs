//! Forms as OAuth endpoints take them: in the body alone, bounded, and with nothing in them twice (RFC 6749 section 3.2).

use std::fmt;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use crypto::Zeroizing;

use super::error::OAuthError;
use crate::app::Core;

/// Bytes of a form.
const MAX_FORM: usize = 32 * 1024;
/// Parameters of a form; each that is known here comes once at most, and others are left alone.
const MAX_PARAMETERS: usize = 32;
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// Parameters of a request, and what else of it says who asks. Shows no value in `Debug`.
pub struct Form {
    parameters: Vec<(String, Zeroizing<String>)>,
    /// The request's headers.
    pub headers: HeaderMap,
}

impl Form {
    /// The value of a parameter; one that is empty was not sent (RFC 6749 section 3.1).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that has to be there.
    ///
    /// # Errors
    /// [`OAuthError::Request`] if it is not.
    pub fn need(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or(OAuthError::Request("a parameter is missing"))
    }

    /// Whether the request says in its head who asks.
    #[must_use]
    pub fn has_authorization(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
    }

    pub(super) fn parse(body: &[u8]) -> Result<Vec<(String, Zeroizing<String>)>, OAuthError> {
        let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(OAuthError::Request("a parameter is not form-encoded UTF-8"));
            };
            if parameters.iter().any(|(other, _)| *other == *name) {
                return Err(match name.as_str() {
                    // RFC 8707 lets a client name several; a token of ours is for one.
                    "resource" => OAuthError::Target("more than one resource was named"),
                    _ => OAuthError::Request("a parameter was sent twice"),
                });
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(OAuthError::Request("too many parameters"));
            }
            parameters.push((name.to_string(), value));
        }
        Ok(parameters)
    }
}

/// The text that was form-encoded; `None` for what is none, or no UTF-8, or has a NUL.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0'))?;
    Some(Zeroizing::new(text.to_owned()))
}

impl FromRequest<Core> for Form {
    type Rejection = OAuthError;

    async fn from_request(request: Request, core: &Core) -> Result<Self, OAuthError> {
        // A URL is kept by logs and histories: nothing that matters comes in one, so nothing does.
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(OAuthError::Request("parameters in the query are refused"));
        }
        Self::read(request, core).await
    }
}

impl Form {
    /// What a URL's query says.
    ///
    /// # Errors
    /// [`OAuthError`] if it cannot be read, or says something twice.
    pub fn of_query(query: &str) -> Result<Self, OAuthError> {
        Ok(Self { parameters: Self::parse(query.as_bytes())?, headers: HeaderMap::new() })
    }

    /// Reads the body, whatever the URL says beside it.
    ///
    /// # Errors
    /// [`OAuthError`] if it is no form, too large, or says something twice.
    pub async fn read(request: Request, core: &Core) -> Result<Self, OAuthError> {
        let (parts, body) = request.into_parts();
        let mut types = parts.headers.get_all(header::CONTENT_TYPE).iter();
        let media_type =
            types.next().filter(|_| types.next().is_none()).and_then(|value| value.to_str().ok());
        let bare = media_type.and_then(|text| text.split(';').next()).map(str::trim);
        if !bare.is_some_and(|bare| bare.eq_ignore_ascii_case(MEDIA_TYPE)) {
            return Err(OAuthError::Request("the body has to be a form"));
        }
        let reading = tokio::time::timeout(core.config.api_limits.body_time, to_bytes(body, MAX_FORM));
        // What is cut short has nobody who would read the answer.
        let body = reading.await.map_err(|_| OAuthError::Slow)?.map_err(|_| OAuthError::TooLarge)?;
        Ok(Self { parameters: Self::parse(&body)?, headers: parts.headers })
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.parameters.iter().map(|(name, _)| name);
        f.debug_tuple("Form").field(&names.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let text = |bytes: &[u8]| decode(bytes).map(|text| text.to_string());
        assert_eq!(text(b"a%2Bb+c%C3%A9"), Some("a+b c\u{e9}".to_owned()));
        for wrong in [&b"%2"[..], b"%", b"%zz", b"%+1", b"%ff", b"\xff", b"%00"] {
            assert_eq!(text(wrong), None, "{wrong:?}");
        }
        let form = Form { parameters: Form::parse(b"a=1&&b=&c&d=x%3Dy").unwrap(), headers: HeaderMap::new() };
        assert_eq!(
            (form.get("a"), form.get("b"), form.get("c"), form.get("d")),
            (Some("1"), None, None, Some("x=y"))
        );
        assert!(!format!("{form:?}").contains("x=y"), "no value is shown");
        // Twice is twice also where it is written otherwise, or empty.
        for twice in [&b"a=1&a=1"[..], b"a=1&%61=2", b"a=&a="] {
            assert!(matches!(Form::parse(twice), Err(OAuthError::Request(_))), "{twice:?}");
        }
        assert!(matches!(Form::parse(b"resource=a&resource=b"), Err(OAuthError::Target(_))));
        let many: String = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1&")).collect();
        assert!(Form::parse(many.as_bytes()).is_err());
    }
}
