//! A key of a client's, and the proofs of possession that it makes with it (RFC 9449).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    claims::Thumbprint,
    digest::sha256,
    jwt::{Algorithm, Jwk, PrivateKey, PublicKey, generate},
};
use seams::{Clock as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};

use crate::{caller::Caller, values::text};

/// The key.
#[derive(Debug)]
pub struct Prover {
    key: PrivateKey,
    /// Its public half.
    pub public: PublicKey,
}

impl Prover {
    /// A new key.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let (key, public) = generate(algorithm, &SystemEntropy).unwrap();
        Self { key, public }
    }

    /// Header of a good proof.
    #[must_use]
    pub fn header(&self) -> Value {
        let Jwk { kty, crv, x, y, n, e, .. } = Jwk::new("", &self.public);
        let members = [("kty", Some(kty)), ("crv", crv), ("x", x), ("y", y), ("n", n), ("e", e)];
        let jwk: serde_json::Map<String, Value> =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
        json!({"typ": "dpop+jwt", "alg": self.public.algorithm().name(), "jwk": jwk})
    }

    /// Claims of a good proof for a POST there, made now.
    #[must_use]
    pub fn claims(&self, uri: &str) -> Value {
        let id: [u8; 16] = {
            let random: &dyn seams::Entropy = &SystemEntropy;
            random.bytes()
        };
        json!({"jti": URL_SAFE_NO_PAD.encode(id), "htm": "POST", "htu": uri, "iat": SystemClock.now().secs()})
    }

    /// Signs whatever is said.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", self.key.signature(message.as_bytes()).unwrap())
    }

    /// A good proof for a POST there, but for what `change` says otherwise.
    #[must_use]
    pub fn proof(&self, uri: &str, change: Value) -> String {
        let mut claims = self.claims(uri);
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.sign(&self.header(), &claims)
    }

    /// A caller that shows the token with a proof for its next request, but for what `change` says otherwise.
    #[must_use]
    pub fn caller(&self, url: &str, token: &str, change: Value) -> Caller {
        let mut claims = json!({"ath": Thumbprint(sha256(token.as_bytes()))});
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Caller::anonymous(url)
            .with_header("authorization", &format!("DPoP {token}"))
            .with_header("dpop", &self.proof(url, claims))
    }

    /// A token bound to the key, which there must be.
    pub async fn token(&self, machine: &crate::machine::Machine, more: &[(&str, &str)]) -> String {
        let answered = machine.prove(&self.proof(&machine.token_endpoint(), json!({})), more).await;
        assert_eq!(
            (answered.status, text(&answered.body, "token_type").as_str()),
            (200, "DPoP"),
            "{answered:?}"
        );
        text(&answered.body, "access_token")
    }
}
