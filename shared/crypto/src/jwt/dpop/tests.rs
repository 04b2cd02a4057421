use proptest::prelude::*;
use seams::SeededEntropy;
use serde_json::{Value, json};

use super::{super::generate, *};
use crate::jwt::PrivateKey;

const URI: &str = "https://gw.example.com/acme/tools/mcp";

fn pair(algorithm: Algorithm, seed: u64) -> (PrivateKey, PublicKey) {
    generate(algorithm, &SeededEntropy::new(seed)).unwrap()
}

fn header(public: &PublicKey) -> Value {
    let mut jwk = serde_json::to_value(Jwk::new("", public)).unwrap();
    for member in ["kid", "use", "alg"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    json!({"typ": "dpop+jwt", "alg": public.algorithm().name(), "jwk": jwk})
}

fn claims() -> Value {
    json!({"jti": "one", "htm": "POST", "htu": URI, "iat": 1_700_000_000, "ath": Thumbprint(sha256(b"token"))})
}

/// Signed whatever the header says.
fn sign(private: &PrivateKey, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = private.signature(message.as_bytes()).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_proof_is_for_one_request_and_one_token() {
    for algorithm in Algorithm::ALL {
        let (private, public) = pair(algorithm, 1);
        let proof = Proof::read(&sign(&private, &header(&public), &claims())).unwrap();
        assert_eq!(
            (proof.key(), proof.made(), proof.nonce()),
            (public.thumbprint(), Timestamp::from_secs(1_700_000_000), None)
        );
        for same in
            [URI, "https://gw.example.com/acme/tools/mcp?x=1", "HTTPS://GW.example.com:443/acme/tools/mcp#y"]
        {
            assert!(proof.is_for("POST", same), "{same}");
        }
        for (method, other) in [
            ("GET", URI),
            ("post", URI),
            ("POST", "http://gw.example.com/acme/tools/mcp"),
            ("POST", "https://gw.example.com:8443/acme/tools/mcp"),
            ("POST", "https://other.example.com/acme/tools/mcp"),
            ("POST", "https://gw.example.com/acme/tools/mcp/"),
            ("POST", "https://gw.example.com/acme/Tools/mcp"),
            ("POST", "https://gw.example.com"),
            ("POST", ""),
        ] {
            assert!(!proof.is_for(method, other), "{method} {other}");
        }
        assert!(proof.is_with("token") && !proof.is_with("token2") && !proof.is_with(""));
    }
}

#[test]
fn two_proofs_of_a_key_differ_and_so_do_those_of_two_keys() {
    let ((one, public), (other, others)) = (pair(Algorithm::Es256, 1), pair(Algorithm::Es256, 2));
    let with = |id: &str| {
        let mut claims = claims();
        claims["jti"] = json!(id);
        claims
    };
    let read = |key: &PrivateKey, public: &PublicKey, id: &str| {
        Proof::read(&sign(key, &header(public), &with(id))).unwrap()
    };
    let first = read(&one, &public, "one");
    assert_eq!(first.id(), read(&one, &public, "one").id());
    assert_ne!(first.id(), read(&one, &public, "two").id());
    assert_ne!(first.id(), read(&other, &others, "one").id());
}

/// RFC 9449 section 4.3, RFC 8725.
#[test]
fn what_is_no_proof() {
    let (private, public) = pair(Algorithm::Es256, 1);
    let good = header(&public);
    let refused = |change: Value| {
        let mut header = good.clone();
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Proof::read(&sign(&private, &header, &claims())).err()
    };
    assert_eq!(refused(json!({})), None);
    for alg in ["none", "HS256", "ES384", "PS256", "RS512", ""] {
        assert_eq!(refused(json!({"alg": alg})), Some(TokenError::Algorithm), "{alg}");
    }
    let mut private_jwk = good["jwk"].clone();
    private_jwk["d"] = json!("AAAA");
    let (_, others) = pair(Algorithm::Es256, 2);
    let (_, ed) = pair(Algorithm::EdDsa, 1);
    for change in [
        json!({"jwk": private_jwk}),
        json!({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
        json!({"jwk": header(&others)["jwk"]}),
        json!({"jwk": header(&ed)["jwk"]}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "RS256"}),
        json!({"jwk": null}),
        json!({"typ": "JWT"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": null}),
        json!({"jku": "https://evil.example/keys"}),
        json!({"x5c": ["AAAA"]}),
        json!({"crit": ["b64"]}),
        json!({"kid": "other"}),
    ] {
        assert_eq!(refused(change.clone()), Some(TokenError::Header), "{change}");
    }
    for (name, value) in [
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(1)),
        ("htm", Value::Null),
        ("htu", json!([URI])),
        ("iat", json!("now")),
        ("iat", json!(-1)),
        ("ath", json!("short")),
        ("nonce", json!(1)),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        let read = Proof::read(&sign(&private, &good, &claims));
        assert_eq!(read.err(), Some(TokenError::Claims), "{name} {value}");
    }
    for name in ["jti", "htm", "htu", "iat"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(Proof::read(&sign(&private, &good, &claims)).is_err(), "without {name}");
    }
    let text = sign(&private, &good, &claims());
    let (message, signature) = text.rsplit_once('.').unwrap();
    for text in [
        format!("{message}."),
        message.to_owned(),
        format!("{text}.{signature}"),
        format!("{text}{}", "A".repeat(MAX_PROOF)),
        format!(
            "{message}.{}",
            sign(&pair(Algorithm::Es256, 2).0, &good, &claims()).rsplit('.').next().unwrap()
        ),
        String::new(),
    ] {
        assert!(Proof::read(&text).is_err(), "{text:.60}");
    }
    // Without `ath` it is with no token.
    let mut bare = claims();
    bare.as_object_mut().unwrap().remove("ath");
    assert!(!Proof::read(&sign(&private, &good, &bare)).unwrap().is_with("token"));
}

/// RFC 7638 section 3.1.
#[test]
fn a_thumbprint_is_as_the_standard_has_it() {
    let jwk: Jwk = serde_json::from_value(json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }))
    .unwrap();
    let key = jwk.read().unwrap();
    assert_eq!(key.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_nonce_says_when_it_was_made_to_whoever_has_its_key_and_for_its_purpose_alone() {
    let (old, new) = ([1; 32], [2; 32]);
    let (before, during) = (Nonces::new([&old]), Nonces::new([&new, &old]));
    let now = Timestamp::from_secs(1_700_000_000);
    let nonce = before.make(b"here", now).unwrap();
    assert_eq!(before.made(b"here", &nonce), Some(now));
    assert_eq!(during.made(b"here", &nonce), Some(now), "while keys change");
    assert_eq!(before.made(b"here", &during.make(b"here", now).unwrap()), None);
    assert_eq!(before.made(b"there", &nonce), None);
    let bytes = URL_SAFE_NO_PAD.decode(&nonce).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert_eq!(before.made(b"here", &URL_SAFE_NO_PAD.encode(changed)), None, "{place}");
    }
    for other in ["", "AAAA", &nonce[..31], &format!("{nonce}A"), &format!("{nonce}AAAA")] {
        assert_eq!(before.made(b"here", other), None, "{other}");
    }
    assert_eq!(Nonces::new([]).make(b"here", now), None);
    assert_eq!(format!("{before:?}"), "Nonces(…)");
}

proptest! {
    /// Whatever comes, nothing panics, and nothing is a proof that nobody has signed.
    #[test]
    fn noise_is_no_proof(text in "\\PC{0,64}", header in prop::collection::vec(any::<u8>(), 0..64), claims in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(Proof::read(&text).is_err());
        let made = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
        prop_assert!(Proof::read(&made).is_err());
        let nonces = Nonces::new([&[1; 32]]);
        prop_assert_eq!(nonces.made(b"here", &text), None);
        prop_assert!(bare(&text).is_none_or(|uri| uri.starts_with("http")));
    }

    #[test]
    fn a_changed_proof_is_none(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let (private, public) = pair(Algorithm::EdDsa, 1);
        let text = sign(&private, &header(&public), &claims());
        let at = at.index(text.len());
        let mut changed = text.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != text);
        prop_assert!(Proof::read(&changed).is_err());
    }
}
