//! What a client says of itself (RFC 7591 section 2), checked. What is not known here is left out, as the standard asks.

use crypto::jwt::{Algorithm, JwkSet};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use url::{Host, Url};

use crate::{
    oauth::redirect::{MOST, RedirectUri},
    resources::fields::Name,
};

/// Characters of a URL, and of `scope`.
const MAX_URL: usize = 2_048;
const MAX_SCOPE: usize = 1_024;
/// Characters of `software_id` and `software_version`.
const MAX_SOFTWARE: usize = 256;

/// What a client has said of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Said {
    /// Its name, for people. Its own words.
    pub client_name: String,
    /// Where its users may be sent back to.
    pub redirect_uris: Vec<RedirectUri>,
    /// Ways to a token that it takes.
    pub grant_types: Vec<String>,
    /// `code`, or nothing.
    pub response_types: Vec<String>,
    /// How it proves who it is.
    pub token_endpoint_auth_method: Method,
    /// `web` or `native`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,
    /// Scopes that it means to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its home. Never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Its logo. Never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    /// Where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// And version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// It cannot.
    None,
    /// A secret in `Authorization: Basic`.
    ClientSecretBasic,
    /// A secret in the form.
    ClientSecretPost,
    /// What it signs.
    PrivateKeyJwt,
}

impl Method {
    /// Whether it is given a secret for it.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// Why what a client says is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaidError {
    /// `invalid_redirect_uri`.
    #[error("{0}")]
    Redirect(&'static str),
    /// `invalid_client_metadata`.
    #[error("{0}")]
    Metadata(&'static str),
}

use SaidError::Metadata;

/// Who says it.
#[derive(Debug, Clone, Copy)]
pub enum Speaker<'a> {
    /// The document at this URL.
    Document(&'a Url),
    /// Somebody who registers a client; with an initial access token, or without.
    Somebody {
        /// Whether with one.
        vouched: bool,
    },
}

#[derive(Deserialize)]
struct Raw {
    client_id: Option<String>,
    client_name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    token_endpoint_auth_signing_alg: Option<String>,
    application_type: Option<String>,
    scope: Option<String>,
    client_uri: Option<String>,
    logo_uri: Option<String>,
    jwks: Option<JwkSet>,
    jwks_uri: Option<String>,
    software_id: Option<String>,
    software_version: Option<String>,
    client_secret: Option<IgnoredAny>,
    client_secret_expires_at: Option<IgnoredAny>,
}

/// The ways to a token that act for users, and those for the client itself.
const FOR_USERS: [&str; 3] =
    ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"];
const FOR_ITSELF: [&str; 3] = [
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

/// Whether it is a way to a token for a user.
pub(super) fn is_for_users(grant: &str) -> bool {
    FOR_USERS.contains(&grant)
}

impl Said {
    /// Reads and checks it.
    ///
    /// # Errors
    /// [`SaidError`].
    pub fn read(body: &[u8], by: Speaker<'_>) -> Result<Self, SaidError> {
        let raw: Raw = serde_json::from_slice(body).map_err(|_| {
            Metadata("it has to be a JSON object whose members have the types of RFC 7591, each once")
        })?;
        if body.windows(6).any(|six| six.eq_ignore_ascii_case(br"\u0000")) {
            return Err(Metadata("a text contains NUL"));
        }
        let method = method(&raw, by)?;
        let grant_types = grant_types(&raw, by, method)?;
        let code = grant_types.iter().any(|grant| grant == "authorization_code");
        let response_types = match raw.response_types {
            None if code => vec!["code".to_owned()],
            None => Vec::new(),
            Some(types) if types.len() <= 1 && types.iter().all(|kind| kind == "code") => types,
            Some(_) => return Err(Metadata("`response_types` may hold `code` alone")),
        };
        if code == response_types.is_empty() {
            return Err(Metadata("the grant `authorization_code` and the response type `code` go together"));
        }
        let application_type = match raw.application_type.as_deref() {
            None | Some("web" | "native") => raw.application_type,
            Some(_) => return Err(Metadata("`application_type` is `web` or `native`")),
        };
        let web = application_type.as_deref() == Some("web");
        let redirect_uris = redirect_uris(raw.redirect_uris.unwrap_or_default(), web)?;
        if redirect_uris.is_empty() && (code || matches!(by, Speaker::Document(_))) {
            return Err(SaidError::Redirect("`redirect_uris` is missing"));
        }
        let (jwks, jwks_uri) = key_set(raw.jwks, raw.jwks_uri, by, method)?;
        Ok(Self {
            client_name: client_name(raw.client_name, by)?,
            redirect_uris,
            grant_types,
            response_types,
            token_endpoint_auth_method: method,
            application_type,
            scope: scope(raw.scope)?,
            client_uri: link(raw.client_uri)?,
            logo_uri: link(raw.logo_uri)?,
            jwks,
            jwks_uri,
            software_id: software(raw.software_id)?,
            software_version: software(raw.software_version)?,
        })
    }
}

fn method(raw: &Raw, by: Speaker<'_>) -> Result<Method, SaidError> {
    let said = raw.token_endpoint_auth_method.as_deref();
    let algorithm = raw.token_endpoint_auth_signing_alg.as_deref();
    if algorithm.is_some_and(|name| Algorithm::from_name(name).is_none()) {
        return Err(Metadata("`token_endpoint_auth_signing_alg` is not one that is supported"));
    }
    match by {
        Speaker::Document(url) => {
            if raw.client_id.as_deref() != Some(url.as_str()) {
                return Err(Metadata("`client_id` is not the document's own URL, letter by letter"));
            }
            // Anybody can read it.
            if raw.client_secret.is_some() || raw.client_secret_expires_at.is_some() {
                return Err(Metadata("a document must not hold a secret"));
            }
            match said {
                None | Some("none") => Ok(Method::None),
                Some("private_key_jwt") => Ok(Method::PrivateKeyJwt),
                Some(_) => Err(Metadata("a document's client authenticates by `none` or `private_key_jwt`")),
            }
        }
        Speaker::Somebody { .. } => match said {
            None | Some("client_secret_basic") => Ok(Method::ClientSecretBasic),
            Some("client_secret_post") => Ok(Method::ClientSecretPost),
            Some("private_key_jwt") => Ok(Method::PrivateKeyJwt),
            Some("none") => Ok(Method::None),
            Some(_) => Err(Metadata("`token_endpoint_auth_method` is not one that is supported")),
        },
    }
}

fn grant_types(raw: &Raw, by: Speaker<'_>, method: Method) -> Result<Vec<String>, SaidError> {
    let Some(said) = &raw.grant_types else { return Ok(vec!["authorization_code".to_owned()]) };
    let mut grant_types: Vec<String> = Vec::new();
    for grant in said {
        let vouched = matches!(by, Speaker::Somebody { vouched: true });
        let own = FOR_ITSELF.contains(&grant.as_str());
        if !own && !FOR_USERS.contains(&grant.as_str()) {
            return Err(Metadata("`grant_types` names one that is not supported"));
        }
        // Nobody stands behind it but its users.
        if own && !vouched {
            return Err(Metadata("a client that nobody vouches for acts for its users alone"));
        }
        if own && method == Method::None {
            return Err(Metadata("a client that acts for itself has to prove who it is"));
        }
        if !grant_types.contains(grant) {
            grant_types.push(grant.clone());
        }
    }
    // There is nothing to refresh where nothing gives the first.
    if grant_types == ["refresh_token"] {
        return Err(Metadata("`refresh_token` goes with a grant by which one is got"));
    }
    Ok(grant_types)
}

fn redirect_uris(said: Vec<String>, web: bool) -> Result<Vec<RedirectUri>, SaidError> {
    if said.len() > MOST {
        return Err(SaidError::Redirect("more than 20 redirect URIs"));
    }
    let mut uris = Vec::with_capacity(said.len());
    for text in said {
        let uri = RedirectUri::parse(&text).map_err(|_| {
            SaidError::Redirect("a redirect URI has to be `https`, `http` on this machine, or of a scheme with a period, plainly spelt")
        })?;
        let url = Url::parse(&text).ok();
        let remote = url.is_some_and(|url| {
            url.scheme() == "https" && !matches!(url.host(), Some(Host::Domain("localhost")) | None)
        });
        if web && !remote {
            return Err(SaidError::Redirect(
                "a web application's redirect URIs are `https`, and not on the user's machine",
            ));
        }
        if !uris.contains(&uri) {
            uris.push(uri);
        }
    }
    Ok(uris)
}

fn client_name(said: Option<String>, by: Speaker<'_>) -> Result<String, SaidError> {
    match said {
        None if matches!(by, Speaker::Document(_)) => Err(Metadata("`client_name` is missing")),
        None => Ok("Unnamed client".to_owned()),
        // The rules for names that administrators write.
        Some(name) => match serde_json::from_value::<Name>(name.into()) {
            Ok(name) => Ok(name.as_str().to_owned()),
            Err(_) => Err(Metadata("`client_name` has to be 1 to 100 visible characters")),
        },
    }
}

fn key_set(
    inline: Option<JwkSet>,
    uri: Option<String>,
    by: Speaker<'_>,
    method: Method,
) -> Result<(Option<JwkSet>, Option<String>), SaidError> {
    if let Some(keys) = &inline {
        keys.read().map_err(|_| {
            Metadata("`jwks` holds something else than up to 16 public keys for RS256, ES256 or EdDSA, each with its `kid`")
        })?;
    }
    let uri = match (uri, by) {
        (None, _) => None,
        (Some(_), Speaker::Somebody { .. }) => {
            return Err(Metadata("give the keys as `jwks`; nothing is fetched"));
        }
        (Some(text), Speaker::Document(own)) => {
            let url = Url::parse(&text).ok().filter(|url| {
                text.len() <= MAX_URL && crate::fetch::is_plain(url) && url.origin() == own.origin()
            });
            let wrong = Metadata("`jwks_uri` has to be of the document's own origin");
            Some(String::from(url.ok_or(wrong)?))
        }
    };
    match (method, inline.is_some(), uri.is_some()) {
        (_, true, true) => Err(Metadata("either `jwks` or `jwks_uri`, not both")),
        (Method::PrivateKeyJwt, false, false) => {
            Err(Metadata("`private_key_jwt` needs the client's public keys"))
        }
        (Method::PrivateKeyJwt, ..) => Ok((inline, uri)),
        // Keys for something else are none of ours.
        _ => Ok((None, None)),
    }
}

fn scope(said: Option<String>) -> Result<Option<String>, SaidError> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    match said {
        Some(text) if text.len() > MAX_SCOPE || !text.bytes().all(|byte| byte == b' ' || fits(byte)) => {
            Err(Metadata("`scope` is not a list of scopes"))
        }
        said => Ok(said.filter(|text| !text.is_empty())),
    }
}

/// Shown as a link, if at all.
fn link(said: Option<String>) -> Result<Option<String>, SaidError> {
    let Some(text) = said.filter(|text| !text.is_empty()) else { return Ok(None) };
    let url = Url::parse(&text)
        .ok()
        .filter(|url| text.len() <= MAX_URL && matches!(url.scheme(), "https" | "http"));
    let url = url.filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
    url.map(|url| Some(url.into()))
        .ok_or(Metadata("`client_uri` and `logo_uri` have to be http or https URLs"))
}

fn software(said: Option<String>) -> Result<Option<String>, SaidError> {
    match said {
        Some(text) if text.len() > MAX_SOFTWARE || text.chars().any(char::is_control) => {
            Err(Metadata("`software_id` and `software_version` are up to 256 characters"))
        }
        said => Ok(said),
    }
}

#[cfg(test)]
mod tests;
