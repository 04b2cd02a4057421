//! R4, R8 (RFC 8725, RFC 9068, RFC 7519): what only looks like a token of an issuer of others is none, whatever is the matter with it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    digest::hmac_sha256,
    jwt::{Algorithm, Jwk, PrivateKey, generate},
};
use seams::SystemEntropy;
use serde_json::{Value, json};

use crate::tokens_of_others_speak_for_clients::{World, publish, refused};

/// A token with any header and signature.
fn forged(header: &Value, claims: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(&message));
    format!("{message}.{signature}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_of_others_claims_is_checked() {
    let world = World::new().await;
    let now = world.now();
    for (why, change) in [
        ("another issuer", json!({"iss": "https://other.example"})),
        ("an issuer spelt otherwise", json!({"iss": "https://login.example/"})),
        ("no issuer", json!({"iss": null})),
        ("another audience", json!({"aud": "https://elsewhere.example/mcp"})),
        ("another endpoint's audience", json!({"aud": world.resource.replace("/tools/", "/second/")})),
        ("another tenant's audience", json!({"aud": world.resource.replace("/acme/", "/other/")})),
        ("no audience", json!({"aud": null})),
        ("audiences without this", json!({"aud": ["a", "b"]})),
        ("more audiences than anybody has", json!({"aud": vec![world.resource.clone(); 17]})),
        ("ended", json!({"exp": now - 1})),
        ("no end", json!({"exp": null})),
        ("a far end", json!({"exp": now + 3_700})),
        ("an end that is no number", json!({"exp": "9999999999"})),
        ("an end beyond all numbers", json!({"exp": u64::MAX})),
        ("a far beginning", json!({"nbf": now + 120})),
        ("a beginning that is no number", json!({"nbf": "0"})),
        ("made in the future", json!({"iat": now + 120, "exp": now + 600})),
        ("not said when it was made", json!({"iat": null})),
        ("no subject", json!({"sub": null})),
        ("a long subject", json!({"sub": "x".repeat(1_025)})),
        ("an ID token", json!({"nonce": "n"})),
        ("another ID token", json!({"at_hash": "AAAA"})),
        ("bound to a certificate", json!({"cnf": {"x5t#S256": "A".repeat(43)}})),
        ("bound in an unknown way", json!({"cnf": {"kid": "x"}})),
        ("bound to nothing", json!({"cnf": {}})),
    ] {
        refused(&world.with(change).await, why);
    }
    assert_eq!(world.with(json!({"aud": ["x", world.resource]})).await.status, 200, "one of several");
    assert_eq!(world.with(json!({"iat": now + 30, "nbf": now + 30})).await.status, 200, "within the leeway");
    // Bound to a key, it is no bearer token (RFC 9449).
    let bound = json!({"cnf": {"jkt": URL_SAFE_NO_PAD.encode([7; 32])}});
    refused(&world.with(bound).await, "bound to a key");

    // What the tenant asks for beside.
    world
        .change(json!({"required_claims": [{"claim": "tid", "value": "acme"}], "audiences": ["api://mcp"]}))
        .await;
    refused(&world.with(json!({"tid": "acme"})).await, "the endpoint's audience is none any more");
    refused(&world.with(json!({"aud": "api://mcp"})).await, "without the claim");
    refused(&world.with(json!({"aud": "api://mcp", "tid": "evil"})).await, "with another");
    assert_eq!(world.with(json!({"aud": "api://mcp", "tid": ["x", "acme"]})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_a_token_of_others_decides_how_it_is_checked() {
    let world = World::new().await;
    let (attacker, attackers) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
    let (of_other_kind, others) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    publish(&world.web, "/jwks", &[("one", &world.public), ("ed", &others)]);
    let claims = world.claims(json!({}));
    let header = |more: Value| {
        let mut header = json!({"alg": "ES256", "kid": "one", "typ": "at+jwt"});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let sign = |key: &PrivateKey, message: &str| {
        URL_SAFE_NO_PAD.decode(key.signature(message.as_bytes()).unwrap()).unwrap()
    };
    // By the issuer's own key, so that nothing but the header is wrong.
    let own = |more: Value| forged(&header(more), &claims.to_string(), |message| sign(&world.key, message));
    let twice = claims.to_string().replacen('{', r#"{"azp":"nobody","#, 1);
    let confused = forged(&header(json!({"alg": "HS256"})), &claims.to_string(), |message| {
        // The public key as if it were a shared secret.
        let secret: [u8; 32] = world.public.bytes()[1..33].try_into().unwrap();
        hmac_sha256(&secret, &[message.as_bytes()]).to_vec()
    });
    let url = world.web.url("localhost", "/evil");
    publish(&world.web, "/evil", &[("one", &attackers), ("evil", &attackers)]);
    let own_good = own(json!({}));
    assert_eq!(world.show(&own_good).await.status, 200, "the table below changes one thing at a time");
    assert_eq!(world.show(&own(json!({"x5t": "AAAA"}))).await.status, 200, "a thumbprint names no other key");
    for (why, token) in [
        ("alg none", forged(&header(json!({"alg": "none"})), &claims.to_string(), |_| Vec::new())),
        ("alg NONE", forged(&header(json!({"alg": "NONE"})), &claims.to_string(), |_| vec![1])),
        ("no signature", forged(&header(json!({})), &claims.to_string(), |_| Vec::new())),
        ("HS256 with the public key", confused),
        ("another algorithm's name", own(json!({"alg": "RS256"}))),
        ("an algorithm that nobody allows", own(json!({"alg": "ES512"}))),
        ("another's signature", attacker.sign("one", "at+jwt", &claims).unwrap()),
        ("the key of another name", world.key.sign("ed", "at+jwt", &claims).unwrap()),
        ("a kid that leads elsewhere", world.key.sign("../../etc/passwd", "at+jwt", &claims).unwrap()),
        ("a kid that is SQL", world.key.sign("' OR 1=1 --", "at+jwt", &claims).unwrap()),
        ("no kid", own(json!({"kid": ""}))),
        ("jku", own(json!({"jku": url}))),
        ("x5u", own(json!({"x5u": url}))),
        ("jwk", own(json!({"jwk": Jwk::new("one", &attackers)}))),
        ("x5c", own(json!({"x5c": ["AA"]}))),
        ("crit", own(json!({"crit": ["exp"]}))),
        ("b64", own(json!({"b64": false, "crit": ["b64"]}))),
        ("an ID token's type", world.key.sign("one", "JWT", &claims).unwrap()),
        ("another type", world.key.sign("one", "secevent+jwt", &claims).unwrap()),
        ("a claim twice", forged(&header(json!({})), &twice, |message| sign(&world.key, message))),
        ("claims that are no object", forged(&header(json!({})), "[]", |message| sign(&world.key, message))),
        ("encrypted", format!("{own_good}.AAAA.AAAA")),
        ("nested", own(json!({"cty": "JWT"}))),
        ("huge", world.token(json!({"more": "x".repeat(9 * 1024)}))),
    ] {
        refused(&world.show(&token).await, why);
    }
    assert_eq!(world.web.asked("/evil"), 0, "nothing is fetched that a token names");
    // Allowed, it is taken; and then not any more.
    world.change(json!({"algorithms": ["ES256"]})).await;
    refused(
        &world.show(&of_other_kind.sign("ed", "at+jwt", &claims).unwrap()).await,
        "an algorithm that is not allowed",
    );
    world.change(json!({"token_types": ["JWT"]})).await;
    refused(&world.show(&own_good).await, "a type that is not allowed any more");
    assert_eq!(world.show(&world.key.sign("one", "JWT", &claims).unwrap()).await.status, 200);
}
