//! The cookies of the authorization servers' origin: who has signed in, and who looks at a page of ours without having done so; and of the
//! API's: who administers, and who sets out to.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{Zeroizing, digest, secret::ct_eq};
use http::{HeaderMap, HeaderValue, header};

use url::Url;

use super::session::LONGEST;
use crate::{app::Core, people::page::PageError};

/// Bytes of a cookie's value: nobody guesses them.
const BYTES: usize = 32;
/// Bytes of all cookies that are looked at.
const MOST: usize = 8 * 1024;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// A session of somebody who has signed in.
    Session,
    /// A browser in which nobody has: what it posts has to come from a page that was shown in it.
    Visit,
    /// A session of a member at the API's origin.
    Admin,
    /// A browser that is on its way from there to an issuer and back.
    Start,
    /// A browser that is on its way from an issuer to a company's provider and back.
    Company,
}

/// What a cookie holds. Shows nothing in `Debug`.
#[derive(Clone)]
pub(crate) struct Value(Zeroizing<[u8; BYTES]>);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value(…)")
    }
}

impl Value {
    /// A new one.
    pub(crate) fn new(core: &Core) -> Self {
        Self(Zeroizing::new(core.entropy.bytes()))
    }

    /// What is stored of it. It is too random to be guessed, so a fast hash is enough.
    pub(crate) fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_slice())
    }

    /// What a form of the page at `place` carries to show that it is that page's, in the browser that has the cookie.
    pub(crate) fn form_token(&self, place: &str) -> String {
        URL_SAFE_NO_PAD.encode(digest::hmac_sha256(&self.0, &[b"form\0", place.as_bytes()]))
    }

    /// Something else that only who has the cookie knows, of one kind and for one purpose.
    pub(crate) fn derive(&self, kind: &str, what: &str) -> String {
        let parts = [b"derive\0".as_slice(), kind.as_bytes(), b"\0", what.as_bytes()];
        URL_SAFE_NO_PAD.encode(digest::hmac_sha256(&self.0, &parts))
    }

    /// Whether `given` is that.
    ///
    /// # Errors
    /// [`PageError::Form`] if it is not.
    pub(crate) fn check_form(&self, place: &str, given: Option<&str>) -> Result<(), PageError> {
        let own = self.form_token(place);
        let fits = given.is_some_and(|given| ct_eq(given.as_bytes(), own.as_bytes()));
        if fits { Ok(()) } else { Err(PageError::Form) }
    }
}

impl Cookie {
    /// Behind HTTPS a name that a browser takes from this host alone, over HTTPS, for every path. Plain HTTP is for loopback, where
    /// browsers take no such name.
    const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-portcullis",
            (Self::Visit, true) => "__Host-portcullis-visit",
            (Self::Session, false) => "portcullis",
            (Self::Visit, false) => "portcullis-visit",
            (Self::Admin, true) => "__Host-portcullis-admin",
            (Self::Start, true) => "__Host-portcullis-start",
            (Self::Company, true) => "__Host-portcullis-company",
            (Self::Admin, false) => "portcullis-admin",
            (Self::Start, false) => "portcullis-start",
            (Self::Company, false) => "portcullis-company",
        }
    }

    fn is_secure(self, core: &Core) -> bool {
        let origin = match self {
            Self::Session | Self::Visit | Self::Company => &core.config.urls.auth,
            Self::Admin | Self::Start => &core.config.urls.control,
        };
        origin.scheme() == "https"
    }

    /// Strict is what no other site's link brings along. Who comes back from an issuer, or to it, comes by such a link.
    const fn same_site(self) -> &'static str {
        match self {
            Self::Admin => "Strict",
            Self::Session | Self::Visit | Self::Start | Self::Company => "Lax",
        }
    }

    const fn lives(self) -> u64 {
        match self {
            Self::Start | Self::Company => 10 * 60,
            Self::Session | Self::Visit | Self::Admin => LONGEST.as_secs(),
        }
    }

    /// What the browser has; nothing where it sends two of that name, one of which is somebody else's.
    pub(crate) fn read(self, core: &Core, headers: &HeaderMap) -> Option<Value> {
        let name = self.name(self.is_secure(core));
        let sent: usize = headers.get_all(header::COOKIE).iter().map(HeaderValue::len).sum();
        if sent > MOST {
            return None;
        }
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut own = pairs.filter(|(other, _)| *other == name).map(|(_, value)| value);
        let (Some(value), None) = (own.next(), own.next()) else { return None };
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(value).ok()?);
        Some(Value(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// `Set-Cookie` with a value.
    pub(crate) fn set(self, core: &Core, value: &Value) -> Result<HeaderValue, PageError> {
        let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(value.0.as_slice()));
        self.write(core, &value, self.lives())
    }

    /// `Set-Cookie` that takes it away.
    pub(crate) fn clear(self, core: &Core) -> Result<HeaderValue, PageError> {
        self.write(core, "", 0)
    }

    fn write(self, core: &Core, value: &str, seconds: u64) -> Result<HeaderValue, PageError> {
        let secure = self.is_secure(core);
        let (name, site) = (self.name(secure), self.same_site());
        let only = if secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={site}{only}");
        let mut header = HeaderValue::try_from(text).map_err(PageError::internal)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Whether it is no other site that sends the browser here, as far as it says.
///
/// # Errors
/// [`PageError::Form`] if it is one.
pub(crate) fn check_navigation(headers: &HeaderMap) -> Result<(), PageError> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        None | Some(b"none" | b"same-origin") => Ok(()),
        Some(_) => Err(PageError::Form),
    }
}

/// Whether the browser says that a page of this origin has sent it. That it carries its page's token is asked besides.
///
/// # Errors
/// [`PageError::Form`] if it says otherwise, or nothing.
pub(crate) fn check_origin(own: &Url, headers: &HeaderMap) -> Result<(), PageError> {
    let own = own.origin().ascii_serialization();
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(HeaderValue::as_bytes), values.next().is_some())
    };
    // Pages are shown without a referrer, for which some browsers name no origin in what these post.
    let origin = match one("origin") {
        (None | Some(b"null"), false) => None,
        (Some(origin), false) if origin == own.as_bytes() => Some(()),
        _ => return Err(PageError::Form),
    };
    let site = match one("sec-fetch-site") {
        (None, false) => None,
        (Some(b"same-origin"), false) => Some(()),
        _ => return Err(PageError::Form),
    };
    origin.or(site).ok_or(PageError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_browser_has_to_hold_them_to() {
        for cookie in [Cookie::Session, Cookie::Visit, Cookie::Admin, Cookie::Start, Cookie::Company] {
            assert!(cookie.name(true).starts_with("__Host-") && !cookie.name(false).starts_with("__Host-"));
        }
    }

    #[test]
    fn a_forms_token_is_of_one_browser_and_one_page() {
        let value = |n: u8| Value(Zeroizing::new([n; BYTES]));
        let token = value(1).form_token("/account");
        assert!(value(1).check_form("/account", Some(&token)).is_ok());
        assert!(value(2).check_form("/account", Some(&token)).is_err());
        assert!(value(1).check_form("/other", Some(&token)).is_err());
        assert!(value(1).check_form("/account", None).is_err());
        assert!(!format!("{:?}", value(1)).contains('1'));
    }
}
