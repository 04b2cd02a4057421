//! The rules of what upstreams are shown beside static headers.

use super::{
    body::{Check, is_http, need, sorted},
    bounds::{MAX_ASSERTION_KEYS, MAX_CERTIFICATE, MAX_CERTIFICATES, MAX_SEALED, MAX_URL},
    check::is_id,
};
use crate::v1;

/// The header in which an assertion travels where it does not in `Authorization`.
pub const ASSERTION_HEADER: &str = "portcullis-assertion";

const AUTHORIZATION: &str = "authorization";

pub(super) fn check(upstream: &v1::Upstream) -> Check {
    let Some(auth) = &upstream.auth else { return Ok(()) };
    let v1::UpstreamAuth { assertion, oauth } = auth;
    need(assertion.is_some() || oauth.is_some(), "is shown nothing, and says so")?;
    if let Some(assertion) = assertion {
        need(is_text(&assertion.audience), "an assertion's audience is malformed")?;
        let header = if assertion.bearer { AUTHORIZATION } else { ASSERTION_HEADER };
        need(!has_header(upstream, header), "has a credential where its assertion goes")?;
    }
    if let Some(oauth) = oauth {
        need(!has_header(upstream, AUTHORIZATION), "has a credential where its token goes")?;
        let taken = assertion.as_ref().is_some_and(|assertion| assertion.bearer);
        need(!taken, "has an assertion where its token goes")?;
        check_oauth(oauth)?;
    }
    Ok(())
}

fn check_oauth(oauth: &v1::UpstreamOauth) -> Check {
    need(oauth.token_endpoint.is_empty() != oauth.issuer.is_empty(), "has no token endpoint, or two")?;
    let url = if oauth.issuer.is_empty() { &oauth.token_endpoint } else { &oauth.issuer };
    need(is_http(url), "a URL is malformed")?;
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    need((1..=255).contains(&oauth.client_id.len()) && visible(&oauth.client_id), "client id is malformed")?;
    need(oauth.scope.len() <= MAX_URL && visible(&oauth.scope), "scope is malformed")?;
    need(oauth.resource.is_empty() || is_text(&oauth.resource), "resource is malformed")?;
    need(is_id(&oauth.data_key_id), "data key id is not 16 bytes")?;
    need((1..=MAX_SEALED).contains(&oauth.sealed.len()), "a sealed secret's size is out of bounds")?;
    need(oauth.ca_der.len() <= MAX_CERTIFICATES, "has too many certificates")?;
    need(
        oauth.ca_der.iter().all(|der| (1..=MAX_CERTIFICATE).contains(&der.len())),
        "a certificate is malformed",
    )?;
    let algorithm = v1::SignatureAlgorithm::try_from(oauth.algorithm).ok();
    let (named, signs) = match v1::ClientAuthentication::try_from(oauth.authentication).ok() {
        Some(v1::ClientAuthentication::PrivateKeyJwt) => {
            let known = [v1::SignatureAlgorithm::Es256, v1::SignatureAlgorithm::Eddsa];
            (is_text(&oauth.key_id), algorithm.is_some_and(|it| known.contains(&it)))
        }
        Some(v1::ClientAuthentication::SecretBasic | v1::ClientAuthentication::SecretPost) => {
            (oauth.key_id.is_empty(), algorithm == Some(v1::SignatureAlgorithm::Unspecified))
        }
        _ => return Err("has an unknown enum number"),
    };
    need(named && signs, "a key is not described")
}

fn has_header(upstream: &v1::Upstream, name: &str) -> bool {
    upstream.headers.iter().any(|header| header.name == name)
}

fn is_text(text: &str) -> bool {
    (1..=MAX_URL).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn check_assertions(assertions: &v1::Assertions) -> Check {
    need(is_http(&assertions.issuer), "a URL is malformed")?;
    need((1..=MAX_ASSERTION_KEYS).contains(&assertions.keys.len()), "has no key, or too many")?;
    need(sorted(assertions.keys.iter().map(|key| &key.id)), "keys are out of order or repeat")?;
    for key in &assertions.keys {
        need(is_id(&key.id) && is_id(&key.data_key_id), "a key's id is not 16 bytes")?;
        need((1..=MAX_SEALED).contains(&key.sealed.len()), "a sealed key's size is out of bounds")?;
    }
    Ok(())
}
