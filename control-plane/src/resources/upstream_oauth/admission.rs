//! How tokens may be got: refused here, before anything is stored.

use crypto::{
    ExposeSecret as _, Zeroizing,
    jwt::{Algorithm, Kid, PrivateKey},
};
use egress::Rules;
use rustls::pki_types::PrivateKeyDer;
use url::Url;
use wire::snapshot::MAX_URL;

use super::types::{UpstreamAuthentication, UpstreamOauthNew, UpstreamOauthSettings};
use crate::{
    http::problem::{ApiError, FieldError},
    resources::upstreams::{certificates, destination},
};

const MAX_CLIENT_ID: usize = 255;
const MAX_SCOPE: usize = 1024;
const MAX_SECRET: usize = 8192;

/// What is sealed.
pub(super) struct Admitted {
    pub(super) settings: UpstreamOauthSettings,
    /// Of a key.
    pub(super) algorithm: Option<Algorithm>,
    /// The secret, or the key as PKCS#8.
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// Refuses what cannot be, naming every place.
pub(super) fn admit(new: UpstreamOauthNew, rules: &Rules) -> Result<Admitted, ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, message: String| {
        errors.push(FieldError { pointer: pointer.to_owned(), message });
    };
    if new.token_endpoint.is_some() == new.issuer.is_some() {
        wrong("/token_endpoint", "must be given, or `issuer`, and not both".to_owned());
    }
    for (pointer, url) in [("/token_endpoint", &new.token_endpoint), ("/issuer", &new.issuer)] {
        if let Some(url) = url
            && let Err(message) = destination(url, rules)
        {
            wrong(pointer, message);
        }
    }
    if new.issuer.as_ref().is_some_and(|issuer| Url::parse(issuer).is_ok_and(|url| url.query().is_some())) {
        wrong("/issuer", "must not have a query".to_owned());
    }
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !(1..=MAX_CLIENT_ID).contains(&new.client_id.len()) || !visible(&new.client_id) {
        wrong("/client_id", "must be 1 to 255 visible ASCII characters".to_owned());
    }
    // RFC 6749 section 3.3.
    let in_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let scopes = || new.scope.split(' ').all(|scope| !scope.is_empty() && scope.bytes().all(in_scope));
    if new.scope.len() > MAX_SCOPE || !(new.scope.is_empty() || scopes()) {
        wrong("/scope", "must be scopes, parted by single spaces, in 1024 bytes at most".to_owned());
    }
    if let Some(resource) = new.resource.as_ref().filter(|resource| !resource.is_empty()) {
        let fits = resource.len() <= MAX_URL && resource.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || Url::parse(resource).map_or(true, |url| url.fragment().is_some()) {
            wrong("/resource", "must be an absolute URI without a fragment".to_owned());
        }
    }
    if let Some(pem) = &new.ca_pem
        && let Err(message) = certificates(pem)
    {
        wrong("/ca_pem", message.to_owned());
    }
    let signs = new.authentication == UpstreamAuthentication::PrivateKeyJwt;
    let named = new.key_id.as_ref().is_some_and(|kid| !kid.is_empty() && Kid::new(kid).is_some());
    if signs != new.key_id.is_some() || signs != named {
        wrong("/key_id", "must name the key of `private_key_jwt`, and is for that alone".to_owned());
    }
    let secret = new.secret.expose_secret();
    let (algorithm, secret) = if signs {
        match key(secret) {
            Some((algorithm, pkcs8)) => (Some(algorithm), pkcs8),
            None => {
                wrong("/secret", "must be a private key in PEM (PKCS#8), P-256 or Ed25519".to_owned());
                (None, Zeroizing::default())
            }
        }
    } else {
        if !(1..=MAX_SECRET).contains(&secret.len()) || !visible(secret) {
            wrong("/secret", "must be 1 to 8192 visible ASCII characters".to_owned());
        }
        (None, Zeroizing::new(secret.as_bytes().to_vec()))
    };
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    let settings = UpstreamOauthSettings {
        token_endpoint: new.token_endpoint,
        issuer: new.issuer,
        client_id: new.client_id,
        authentication: new.authentication,
        key_id: new.key_id,
        scope: new.scope,
        resource: new.resource,
        ca_pem: new.ca_pem,
    };
    Ok(Admitted { settings, algorithm, secret })
}

/// A key that signs, and by which algorithm it does.
fn key(pem: &str) -> Option<(Algorithm, Zeroizing<Vec<u8>>)> {
    if pem.len() > MAX_SECRET {
        return None;
    }
    let PrivateKeyDer::Pkcs8(key) = listen::certificate::key_from_pem(pem.as_bytes()).ok()? else {
        return None;
    };
    let pkcs8 = || Zeroizing::new(key.secret_pkcs8_der().to_vec());
    let signs = |algorithm: &Algorithm| PrivateKey::new(*algorithm, pkcs8()).signature(b"test").is_ok();
    let algorithm = [Algorithm::Es256, Algorithm::EdDsa].into_iter().find(signs)?;
    Some((algorithm, pkcs8()))
}
