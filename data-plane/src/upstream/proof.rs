//! What a request to an upstream proves beside static headers: a signed statement of who calls what, made anew each time it is sent.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    assertion::{Caller, Claims, LIFE_SECS},
    claims::Subject,
    digest::sha256,
};
use http::HeaderName;
use ids::{CallId, ClientId, EndpointId, MemberId};
use seams::{Clock, Entropy};
use wire::snapshot::ASSERTION_HEADER;

use super::{
    error::UpstreamError,
    oauth::{Token, TokenError},
};
use crate::snapshot::index::{TenantIndex, UpstreamAssertion, UpstreamIndex};

const AUTHORIZATION: &str = "authorization";

/// What is known of the call that a request is sent for.
#[derive(Debug, Clone)]
pub(crate) struct Stated {
    pub(crate) client: Option<ClientId>,
    pub(crate) member: Option<MemberId>,
    pub(crate) endpoint: EndpointId,
    pub(crate) call: CallId,
    pub(crate) request_id: Box<str>,
    /// The method and its target; `None` for what is said beside the call.
    pub(crate) asked: Option<(Box<str>, Box<str>)>,
}

/// Everything of which a request's proof is made.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub(crate) tenant: &'a TenantIndex,
    pub(crate) upstream: &'a UpstreamIndex,
    pub(crate) stated: Option<&'a Stated>,
    /// The access token, where the upstream is shown one.
    pub(crate) token: Option<&'a Token>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
}

impl Proof<'_> {
    /// Gives `put` what proves it, for this body.
    pub(super) fn each<F: FnMut(&str, &[u8])>(&self, body: &[u8], put: &mut F) -> Result<(), UpstreamError> {
        if let Some(how) = &self.upstream.auth.assertion {
            let token = self.assertion(how, body)?;
            if how.bearer {
                put(AUTHORIZATION, format!("Bearer {token}").as_bytes());
            } else {
                put(ASSERTION_HEADER, token.as_bytes());
            }
        }
        if self.upstream.auth.oauth.is_some() {
            // Nothing goes out without it.
            let token = self.token.ok_or(UpstreamError::Token(TokenError::Answer))?;
            put(AUTHORIZATION, token.value.as_bytes());
        }
        Ok(())
    }

    /// Whether the field is the proof's own: nobody else's value stands in it.
    pub(super) fn owns(&self, name: &str) -> bool {
        let auth = &self.upstream.auth;
        if auth.oauth.is_some() && name == AUTHORIZATION {
            return true;
        }
        auth.assertion
            .as_ref()
            .is_some_and(|how| name == if how.bearer { AUTHORIZATION } else { ASSERTION_HEADER })
    }

    /// The same as headers of a request of the gateway's own.
    pub(super) fn headers(&self, body: &[u8]) -> Result<Vec<(HeaderName, Vec<u8>)>, UpstreamError> {
        let mut headers = Vec::new();
        self.each(body, &mut |name: &str, value: &[u8]| {
            if let Ok(name) = HeaderName::try_from(name) {
                headers.push((name, value.to_vec()));
            }
        })?;
        Ok(headers)
    }

    fn assertion(&self, how: &UpstreamAssertion, body: &[u8]) -> Result<String, UpstreamError> {
        let now = self.clock.now();
        let keys = self.tenant.assertions.as_ref().ok_or(UpstreamError::Unsigned)?;
        let signer = keys.signer(now).ok_or(UpstreamError::Unsigned)?;
        let (iat, stated) = (now.micros() / 1_000_000, self.stated);
        let jti = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<16>());
        let caller = stated.and_then(|stated| match (stated.member, stated.client) {
            (Some(member), _) => Some(Subject::Member(member)),
            (None, client) => client.map(Subject::Client),
        });
        let asked = stated.and_then(|stated| stated.asked.as_ref());
        let claims = Claims {
            iss: &keys.issuer,
            aud: &how.audience,
            sub: caller.map_or(Caller::Gateway(self.tenant.id), Caller::Subject),
            client_id: stated.filter(|stated| stated.member.is_some()).and_then(|stated| stated.client),
            iat,
            exp: iat + LIFE_SECS,
            jti: &jti,
            tenant: self.tenant.id,
            upstream: self.upstream.id,
            endpoint: stated.map(|stated| stated.endpoint),
            method: asked.map(|(method, _)| &**method),
            target: asked.map(|(_, target)| &**target).filter(|target| !target.is_empty()),
            call: stated.map(|stated| stated.call),
            request_id: stated.map(|stated| &*stated.request_id),
            body_sha256: how.body_digest.then(|| URL_SAFE_NO_PAD.encode(sha256(body))),
        };
        signer.sign(&claims).map_err(|_| UpstreamError::Unsigned)
    }
}

impl Stated {
    /// What is said beside the call: that it was cancelled.
    pub(super) fn beside(&self) -> Self {
        Self { asked: None, ..self.clone() }
    }
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof").field("upstream", &self.upstream.id).finish_non_exhaustive()
    }
}
