use seams::SeededEntropy;
use serde_json::{Value, json};

use super::*;

fn parts(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

#[test]
fn every_algorithm_signs_and_is_checked_also_by_way_of_its_jwk() {
    for algorithm in Algorithm::ALL {
        let (private, public) = generate(algorithm, &SeededEntropy::new(1)).unwrap();
        let kept = PrivateKey::new(algorithm, Zeroizing::new(private.pkcs8().to_vec()));
        let token = kept.sign("k1", "at+jwt", &json!({"sub": "someone"})).unwrap();
        let read = Token::parse(&token).unwrap();
        assert_eq!((read.kid().as_str(), read.typ()), ("k1", Typ::AccessToken));
        assert!(public.signed(&read), "{algorithm:?}");
        assert_eq!(read.claims::<Value>().unwrap(), json!({"sub": "someone"}));

        let json = serde_json::to_string(&JwkSet { keys: vec![Jwk::new("k1", &public)] }).unwrap();
        assert!(!json.contains("\"d\"") && !json.contains("\"k\""));
        let read_back = serde_json::from_str::<JwkSet>(&json).unwrap().read().unwrap();
        let (kid, again) = &read_back[0];
        assert_eq!((kid.as_str(), again.bytes()), ("k1", public.bytes()));
        assert!(again.signed(&read));

        // Another key, another signature, other claims.
        let (_, other) = generate(algorithm, &SeededEntropy::new(2)).unwrap();
        assert!(!other.signed(&read));
        let forged = token.replace(token.split('.').nth(1).unwrap(), &URL_SAFE_NO_PAD.encode("{}"));
        assert!(!public.signed(&Token::parse(&forged).unwrap()));
        assert!(!format!("{private:?}{public:?}").contains(&hex::encode(&private.pkcs8()[..8])));
    }
}

#[test]
fn a_token_never_decides_how_it_is_checked() {
    let (private, public) = generate(Algorithm::Es256, &SeededEntropy::new(1)).unwrap();
    let claims = json!({"sub": "someone"});
    for alg in ["none", "None", "", "HS256", "ES384", "RS512", "es256", "PS256"] {
        let token = format!("{}.c2ln", parts(&json!({"alg": alg, "kid": "k"}), &claims));
        assert_eq!(Token::parse(&token).err(), Some(TokenError::Algorithm), "{alg}");
    }
    // The public key as a shared secret, the classic confusion; and an RSA token under the key of another family.
    let rsa = generate(Algorithm::Rs256, &SeededEntropy::new(1)).unwrap().0;
    let token = rsa.sign("k", "JWT", &claims).unwrap();
    assert!(!public.signed(&Token::parse(&token).unwrap()));
    for extra in [
        json!({"jku": "https://evil.example/keys"}),
        json!({"x5u": "https://evil.example/cert"}),
        json!({"jwk": Jwk::new("k", &public)}),
        json!({"x5c": ["AAAA"]}),
        json!({"crit": ["exp"]}),
        json!({"b64": false}),
        json!({"zip": "DEF"}),
        json!({"alg": "ES256", "kid": "../../keys/other"}),
        json!({"kid": "' OR 1=1 --"}),
        json!({"kid": "k".repeat(65)}),
        json!({"kid": 1}),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let token = format!("{}.c2ln", parts(&header, &claims));
        assert_eq!(Token::parse(&token).err(), Some(TokenError::Header), "{header}");
    }
    let good = private.sign("k", "at+jwt", &claims).unwrap();
    let unsigned = good.rsplit_once('.').unwrap().0;
    for malformed in [
        String::new(),
        "a.b".to_owned(),
        format!("{good}.x"),
        format!("{unsigned}."),
        format!("{good}{}", "A".repeat(MAX_TOKEN)),
        // Five parts: encrypted.
        format!("{good}.AAAA.AAAA"),
    ] {
        assert!(Token::parse(&malformed).is_err(), "{malformed:.40}");
    }
}

#[test]
fn private_and_foreign_keys_are_no_public_keys() {
    let (_, public) = generate(Algorithm::Es256, &SeededEntropy::new(1)).unwrap();
    let good = serde_json::to_value(Jwk::new("k", &public)).unwrap();
    let refusal = |change: Value| {
        let mut key = good.clone();
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let set: JwkSet = serde_json::from_value(json!({"keys": [key]})).unwrap();
        set.read().err().map(|(_, error)| error)
    };
    assert_eq!(refusal(json!({})), None);
    assert_eq!(refusal(json!({"d": "AAAA"})), Some(JwkError::Private));
    assert_eq!(refusal(json!({"k": "AAAA"})), Some(JwkError::Private));
    assert_eq!(refusal(json!({"crv": "P-384"})), Some(JwkError::Unsupported));
    assert_eq!(refusal(json!({"kty": "oct"})), Some(JwkError::Unsupported));
    assert_eq!(refusal(json!({"alg": "RS256"})), Some(JwkError::Unsupported));
    assert_eq!(refusal(json!({"use": "enc"})), Some(JwkError::Unsupported));
    assert_eq!(refusal(json!({"x": "AAAA"})), Some(JwkError::Malformed));
    assert_eq!(refusal(json!({"kid": ""})), Some(JwkError::Kid));
    let short = json!({"kty": "RSA", "kid": "k", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"});
    let set: JwkSet = serde_json::from_value(json!({"keys": [short]})).unwrap();
    assert_eq!(set.read().err(), Some((0, JwkError::Unsupported)));
    assert_eq!(JwkSet::default().read().err(), Some((0, JwkError::Count)));
}
