//! Tokens that are bound to a key (RFC 9449 sections 4.3, 7, 8 and 11).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    claims::Thumbprint,
    digest::sha256,
    jwt::{Algorithm, Jwk, PrivateKey, PublicKey, generate},
};
use seams::SeededEntropy;
use serde_json::{Value, json};

use super::{
    tokens::{Signer, claims, sign, world},
    *,
};
use crate::{checks::Proofs, refuse::Addressee, refuse::render, resource};

const URI: &str = "https://gw.example.com/tenant-1/tools/mcp";

struct Scene {
    world: World,
    key: PrivateKey,
    public: PublicKey,
    token: String,
    proofs: Proofs,
}

impl Scene {
    fn new() -> Self {
        let (world, signer) = world();
        let (key, public) = generate(Algorithm::Es256, &SeededEntropy::new(40)).unwrap();
        let token = bound(&world, &signer, json!({"jkt": public.thumbprint()}));
        Self { world, key, public, token, proofs: Proofs::default() }
    }

    fn claims(&self, id: &str) -> Value {
        let ath = Thumbprint(sha256(self.token.as_bytes()));
        json!({"jti": id, "htm": "POST", "htu": URI, "iat": NOW.secs(), "ath": ath})
    }

    fn proof(&self, claims: &Value) -> String {
        prove(&self.key, &self.public, claims)
    }

    /// With what the proof claims in the place of the good ones.
    fn with(&self, change: Value) -> Result<Principal, Refusal> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut claims = self.claims(&number.to_string());
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.knock("DPoP", &[&self.proof(&claims)], NOW)
    }

    fn knock(&self, scheme: &str, proofs: &[&str], now: Timestamp) -> Result<Principal, Refusal> {
        let mut request = with(&format!("{scheme} {}", self.token));
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        let addresses = testing::addresses();
        let (exchange, place) = (testing::exchange(request), self.world.place());
        check(
            &exchange,
            &place,
            &testing::counted(&addresses),
            Known { tokens: &Tokens::default(), proofs: &self.proofs, shown: None },
            now,
        )
    }
}

fn bound(world: &World, signer: &Signer, cnf: Value) -> String {
    let mut claims = claims(world);
    claims["cnf"] = cnf;
    sign(signer, &claims)
}

fn prove(key: &PrivateKey, public: &PublicKey, claims: &Value) -> String {
    let header = json!({"typ": "dpop+jwt", "alg": public.algorithm().name(), "jwk": Jwk::new("", public)});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    format!("{message}.{}", key.signature(message.as_bytes()).unwrap())
}

fn is_invalid(result: Result<Principal, Refusal>) -> bool {
    matches!(result, Err(Refusal::ProofInvalid))
}

#[test]
fn a_bound_token_with_a_proof_is_its_client() {
    let scene = Scene::new();
    let principal = scene.with(json!({})).unwrap();
    assert_eq!(principal.client_id(), scene.world.client());
    for uri in ["https://GW.example.com:443/tenant-1/tools/mcp", &format!("{URI}?x=1#y")] {
        assert!(scene.with(json!({"htu": uri})).is_ok(), "{uri}");
    }
}

#[test]
fn a_bound_token_is_no_bearer_token_and_an_unbound_one_has_no_proof() {
    let scene = Scene::new();
    let proof = scene.proof(&scene.claims("a"));
    for proofs in [&[][..], &[proof.as_str()]] {
        assert!(matches!(scene.knock("Bearer", proofs, NOW), Err(Refusal::CredentialInvalid)));
    }
    let (world, signer) = world();
    let token = sign(&signer, &claims(&world));
    for credential in [&token, &world.sample.key_text] {
        let request = with(&format!("DPoP {credential}")).header("dpop", &proof);
        assert!(matches!(knock(&world, request), Err(Refusal::CredentialInvalid)), "{credential}");
    }
}

/// A certificate that nobody here looks at.
#[test]
fn a_token_that_is_bound_to_a_certificate_is_good_for_nobody() {
    let (world, signer) = world();
    let print = Thumbprint([1; 32]);
    for cnf in
        [json!({"x5t#S256": print}), json!({"x5t#S256": print, "jkt": print}), json!({"jkt": "x"}), json!({})]
    {
        let token = bound(&world, &signer, cnf.clone());
        for scheme in ["Bearer", "DPoP"] {
            let refused = knock(&world, with(&format!("{scheme} {token}")));
            assert!(matches!(refused, Err(Refusal::CredentialInvalid)), "{scheme} {cnf}");
        }
    }
}

#[test]
fn a_proof_that_is_missing_or_doubled_or_none_is_refused() {
    let scene = Scene::new();
    let (one, two) = (scene.proof(&scene.claims("a")), scene.proof(&scene.claims("b")));
    let (one, two) = (one.as_str(), two.as_str());
    for proofs in [&[][..], &[one, two], &[""], &["a.b.c"], &[scene.token.as_str()]] {
        assert!(is_invalid(scene.knock("DPoP", proofs, NOW)), "{proofs:?}");
    }
    assert!(scene.knock("dpop", &[one], NOW).is_ok(), "schemes have no case");
}

#[test]
fn a_proof_of_another_key_method_uri_or_token_is_refused() {
    let scene = Scene::new();
    let (other, public) = generate(Algorithm::Es256, &SeededEntropy::new(41)).unwrap();
    let foreign = prove(&other, &public, &scene.claims("a"));
    assert!(is_invalid(scene.knock("DPoP", &[&foreign], NOW)));
    for change in [
        json!({"htm": "GET"}),
        json!({"htm": "post"}),
        json!({"htu": "https://gw.example.com/tenant-1/other/mcp"}),
        json!({"htu": "https://gw.example.com/tenant-2/tools/mcp"}),
        json!({"htu": "https://evil.example/tenant-1/tools/mcp"}),
        json!({"htu": "http://gw.example.com/tenant-1/tools/mcp"}),
        json!({"htu": "/tenant-1/tools/mcp"}),
        json!({"ath": Thumbprint(sha256(b"another token"))}),
        json!({"ath": null}),
    ] {
        assert!(is_invalid(scene.with(change.clone())), "{change}");
    }
}

#[test]
fn a_proof_is_taken_once_by_all_workers() {
    let scene = Scene::new();
    let proof = scene.proof(&scene.claims("once"));
    assert!(scene.knock("DPoP", &[&proof], NOW).is_ok());
    // Each knock has a worker's cache of its own.
    assert!(is_invalid(scene.knock("DPoP", &[&proof], NOW)));
    assert!(is_invalid(scene.knock("DPoP", &[&proof], NOW.plus(Duration::from_secs(59)))));
    assert!(matches!(
        scene.knock("DPoP", &[&proof], NOW.plus(Duration::from_secs(60))),
        Err(Refusal::ProofNonce { .. })
    ));
    // What did not count was not used up.
    let other = scene.proof(&scene.claims("twice"));
    assert!(scene.knock("Bearer", &[&other], NOW).is_err());
    assert!(scene.knock("DPoP", &[&other], NOW).is_ok());
}

#[test]
fn whoever_is_early_or_late_is_given_a_nonce_and_let_in_with_it() {
    let scene = Scene::new();
    let now = NOW.secs();
    assert!(scene.with(json!({"iat": now - 59})).is_ok() && scene.with(json!({"iat": now + 60})).is_ok());
    for iat in [0, now - 60, now - 3_600, now + 61, u64::MAX] {
        let Err(Refusal::ProofNonce { nonce: Some(nonce) }) = scene.with(json!({"iat": iat})) else {
            panic!("{iat}")
        };
        assert!(scene.with(json!({"iat": iat, "nonce": nonce})).is_ok(), "{iat}");
        assert!(matches!(scene.with(json!({"nonce": format!("{nonce}A")})), Err(Refusal::ProofNonce { .. })));
    }
    let Err(Refusal::ProofNonce { nonce: Some(nonce) }) = scene.with(json!({"iat": 0})) else { panic!() };
    let mut claims = scene.claims("late");
    claims["nonce"] = json!(nonce);
    let proof = scene.proof(&claims);
    let after = |seconds| scene.knock("DPoP", &[&proof], NOW.plus(Duration::from_secs(seconds)));
    assert!(matches!(after(300), Err(Refusal::ProofNonce { .. })), "over");
    assert!(after(299).is_ok());
    assert!(is_invalid(after(299)), "once");
}

#[test]
fn a_nonce_is_for_one_tenants_endpoint() {
    let scene = Scene::new();
    let tenant = scene.world.tenant();
    for purpose in [vec![0; 32], tenant.id.uuid().as_bytes().repeat(2)] {
        let nonce = tenant.crypto.nonces().make(&purpose, NOW).unwrap();
        assert!(matches!(scene.with(json!({"nonce": nonce})), Err(Refusal::ProofNonce { .. })));
    }
}

#[test]
fn challenges_name_the_scheme_by_which_the_token_was_shown() {
    let scene = Scene::new();
    let challenge = |scheme: &str, refusal: Refusal| {
        let exchange = testing::exchange(with(&format!("{scheme} {}", scene.token)));
        let pointer = resource::pointer(&exchange, &scene.world.place());
        let response = render(&refusal, Addressee::Http, "req", Some(&pointer)).into_response();
        let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), text("www-authenticate").unwrap(), text("dpop-nonce"))
    };
    let metadata = r#"resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/tenant-1/tools/mcp""#;
    let algs = r#"algs="RS256 ES256 EdDSA""#;
    let dpop = |error: &str| format!(r#"DPoP error="{error}", {metadata}, {algs}"#);
    assert_eq!(challenge("DPoP", Refusal::ProofInvalid), (401, dpop("invalid_dpop_proof"), None));
    let nonce = Refusal::ProofNonce { nonce: Some("abc".to_owned()) };
    assert_eq!(challenge("DPoP", nonce), (401, dpop("use_dpop_nonce"), Some("abc".to_owned())));
    assert_eq!(challenge("DPoP", Refusal::CredentialInvalid).1, dpop("invalid_token"));
    assert_eq!(
        challenge("Bearer", Refusal::CredentialInvalid).1,
        format!(r#"Bearer error="invalid_token", {metadata}"#)
    );
}
