//! What a proxy asserts to an upstream of each request: who calls what, through which gateway. Signed by proxies, checked by servers,
//! which fetch the keys from the control plane.
//!
//! Nothing that is signed here can be taken for an access token: it has a type, an issuer, an audience and keys of its own. Members of
//! the JSON are part of the contract with servers and pinned by tests.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ids::{AssertionKeyId, CallId, ClientId, EndpointId, TenantId, UpstreamId};
use serde::Serialize;

use crate::{claims::Subject, jwt::SignError};

/// The `typ` of the token's header (RFC 8725 section 3.11).
pub const TYP: &str = "portcullis-assertion+jwt";
/// Seconds for which an assertion is good.
pub const LIFE_SECS: u64 = 30;

/// What is asserted of one request.
#[derive(Debug, Clone, Serialize)]
pub struct Claims<'a> {
    /// Who asserts: the tenant's gateway, not its issuer of access tokens.
    pub iss: &'a str,
    /// To which server alone.
    pub aud: &'a str,
    /// Who calls: a client, the member for whom one acts, or, where nobody does, the tenant itself.
    #[serde(serialize_with = "text")]
    pub sub: Caller,
    /// Through which client, where a member calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Seconds since the epoch.
    pub iat: u64,
    /// From which on it is over.
    pub exp: u64,
    /// Different for each request that is sent.
    pub jti: &'a str,
    /// The tenant.
    pub tenant: TenantId,
    /// The server, as the gateway names it.
    pub upstream: UpstreamId,
    /// Where the caller called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// The JSON-RPC method, or the HTTP method of a request that carries none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// The server's own name of the tool or prompt, or the resource's URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// The call, as it stands in the gateway's audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// The id of the caller's HTTP request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// SHA-256 of the body as it is sent, in base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Whoever an access token could be of.
    Subject(Subject),
    /// Nobody: the gateway itself asks, to find out what tools there are.
    Gateway(TenantId),
}

fn text<S: serde::Serializer>(caller: &Caller, serializer: S) -> Result<S::Ok, S::Error> {
    match caller {
        Caller::Subject(subject) => serializer.collect_str(subject),
        Caller::Gateway(tenant) => serializer.collect_str(tenant),
    }
}

/// Signs, with a key that is taken apart once.
pub struct AssertionSigner {
    /// The token's header, encoded, with the dot behind it.
    header: String,
    pair: EcdsaKeyPair,
}

impl AssertionSigner {
    /// From the private half of a key of ES256, as PKCS#8.
    ///
    /// # Errors
    /// [`SignError`] if it is none.
    pub fn new(id: AssertionKeyId, pkcs8: &[u8]) -> Result<Self, SignError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| SignError)?;
        let mut header = URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"{TYP}","alg":"ES256","kid":"{id}"}}"#));
        header.push('.');
        Ok(Self { header, pair })
    }

    /// The signed assertion.
    ///
    /// # Errors
    /// [`SignError`] if the library signs nothing.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<String, SignError> {
        let claims = serde_json::to_vec(claims).map_err(|_| SignError)?;
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| SignError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for AssertionSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssertionSigner(…)")
    }
}

#[cfg(test)]
mod tests {
    use ids::{Id, MemberId};
    use seams::SeededEntropy;
    use serde_json::{Value, json};

    use super::*;
    use crate::jwt::{self, Algorithm, Token, Typ};

    fn claims() -> Claims<'static> {
        Claims {
            iss: "https://auth.example.com/t/acme/assertions",
            aud: "https://mcp.example.com/mcp",
            sub: Caller::Subject(Subject::Member(MemberId::from_parts(1, [2; 10]))),
            client_id: Some(Id::from_parts(1, [3; 10])),
            iat: 100,
            exp: 130,
            jti: "once",
            tenant: Id::from_parts(1, [4; 10]),
            upstream: Id::from_parts(1, [5; 10]),
            endpoint: Some(Id::from_parts(1, [6; 10])),
            method: Some("tools/call"),
            target: Some("echo"),
            call: Some(Id::from_parts(1, [7; 10])),
            request_id: Some("req"),
            body_sha256: Some("digest".to_owned()),
        }
    }

    #[test]
    fn what_servers_read_has_these_names() {
        let (private, public) = jwt::generate(Algorithm::Es256, &SeededEntropy::new(1)).unwrap();
        let id = AssertionKeyId::from_parts(1, [1; 10]);
        let signer = AssertionSigner::new(id, private.pkcs8()).unwrap();
        let signed = signer.sign(&claims()).unwrap();
        let token = Token::parse(&signed).unwrap();
        assert!(public.signed(&token));
        assert_eq!((token.kid().as_str(), token.typ()), (&*id.to_string(), Typ::Other));
        let expected = json!({
            "iss": "https://auth.example.com/t/acme/assertions", "aud": "https://mcp.example.com/mcp",
            "sub": MemberId::from_parts(1, [2; 10]), "client_id": ClientId::from_parts(1, [3; 10]),
            "iat": 100, "exp": 130, "jti": "once", "tenant": TenantId::from_parts(1, [4; 10]),
            "upstream": UpstreamId::from_parts(1, [5; 10]), "endpoint": EndpointId::from_parts(1, [6; 10]),
            "method": "tools/call", "target": "echo", "call": CallId::from_parts(1, [7; 10]), "request_id": "req",
            "body_sha256": "digest",
        });
        assert_eq!(token.claims::<Value>().unwrap(), expected);
        let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({"typ": "portcullis-assertion+jwt", "alg": "ES256", "kid": id}));
        assert!(AssertionSigner::new(id, b"no key").is_err());
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let tenant = TenantId::from_parts(1, [4; 10]);
        let bare = Claims {
            sub: Caller::Gateway(tenant),
            client_id: None,
            endpoint: None,
            method: None,
            target: None,
            call: None,
            request_id: None,
            body_sha256: None,
            ..claims()
        };
        let bare = serde_json::to_value(&bare).unwrap();
        let mut names: Vec<_> = bare.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "sub", "tenant", "upstream"]);
        assert_eq!(bare["sub"], json!(tenant));
    }
}
