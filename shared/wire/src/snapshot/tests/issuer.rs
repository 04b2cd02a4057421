//! The issuer: what a snapshot may say of it.

use bytes::Bytes;

use super::{
    super::{decode_exact, encode, validate},
    sample::{GOLDEN, id, raw, snapshot},
};
use crate::v1::{
    CredentialKind, Issuer, IssuerKey, Resource, SignatureAlgorithm, TenantSnapshot, resource::Body,
};

fn key(n: u8, algorithm: SignatureAlgorithm, size: usize) -> IssuerKey {
    IssuerKey {
        id: raw::<ids::kind::SigningKey>(id(n)),
        algorithm: algorithm.into(),
        public_key: vec![4; size],
        not_after_micros: 0,
    }
}

fn issuer() -> Issuer {
    Issuer {
        url: "https://auth.example.com/t/acme".to_owned(),
        gateway: "https://gw.example.com:8443".to_owned(),
        keys: vec![
            key(1, SignatureAlgorithm::Rs256, 270),
            key(2, SignatureAlgorithm::Es256, 65),
            key(3, SignatureAlgorithm::Eddsa, 32),
        ],
        baseline_scopes: vec!["files:read".to_owned(), "search".to_owned()],
    }
}

fn with(id: &str, issuer: Issuer) -> TenantSnapshot {
    let mut snapshot = snapshot(GOLDEN);
    snapshot.resources.push(Resource { id: id.to_owned(), body: Some(Body::Issuer(issuer)) });
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

#[test]
fn an_issuer_is_read_back_as_it_was_written() {
    let snapshot = with("issuer", issuer());
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
}

#[test]
fn what_an_issuer_may_not_be() {
    let refused = |change: fn(&mut Issuer)| {
        let mut issuer = issuer();
        change(&mut issuer);
        validate(&with("issuer", issuer)).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| it.baseline_scopes.reverse()), Err("scopes are out of order or repeat"));
    assert_eq!(refused(|it| it.baseline_scopes[0] = "a b".to_owned()), Err("a scope is malformed"));
    let many = |it: &mut Issuer| it.baseline_scopes = (100..165).map(|n| n.to_string()).collect();
    assert_eq!(refused(many), Err("has too many scopes"));
    assert_eq!(refused(|it| it.url = "auth.example.com".to_owned()), Err("a URL is malformed"));
    for gateway in
        ["https://gw.example.com/", "https://gw.example.com/x", "https://", "https://u@gw", "https://g\"w"]
    {
        let mut issuer = issuer();
        gateway.clone_into(&mut issuer.gateway);
        let refused = validate(&with("issuer", issuer)).map_err(|invalid| invalid.detail);
        assert_eq!(refused, Err("the gateway is more than an origin"), "{gateway}");
    }
    assert_eq!(refused(|it| it.keys.swap(0, 1)), Err("keys are out of order or repeat"));
    assert_eq!(refused(|it| it.keys[0].id = vec![1; 15]), Err("a key's id is not 16 bytes"));
    assert_eq!(refused(|it| it.keys[0].algorithm = 0), Err("has an unknown enum number"));
    assert_eq!(refused(|it| it.keys[0].algorithm = 4), Err("has an unknown enum number"));
    for place in 0..3 {
        let mut issuer = issuer();
        issuer.keys[place].public_key.truncate(31);
        let refused = validate(&with("issuer", issuer)).map_err(|invalid| invalid.detail);
        assert_eq!(refused, Err("a public key's size is out of bounds"));
    }
    assert_eq!(
        refused(|it| it.keys = (0..=64).map(|n| key(n, SignatureAlgorithm::Eddsa, 32)).collect()),
        Err("has too many keys")
    );
    assert!(validate(&with("issuers", issuer())).is_err());
}

#[test]
fn kinds_of_credentials_are_known_and_in_order() {
    let with = |accepts: &[i32]| {
        let mut snapshot = snapshot(GOLDEN);
        for resource in &mut snapshot.resources {
            if let Some(Body::Endpoint(endpoint)) = &mut resource.body {
                endpoint.accepts = accepts.to_vec();
            }
        }
        validate(&snapshot).map_err(|invalid| invalid.detail)
    };
    let (key, token) = (CredentialKind::ApiKey as i32, CredentialKind::AccessToken as i32);
    for good in [&[][..], &[key], &[token], &[key, token]] {
        assert_eq!(with(good), Ok(()));
    }
    assert_eq!(with(&[token, key]), Err("kinds of credentials are out of order or repeat"));
    assert_eq!(with(&[key, key]), Err("kinds of credentials are out of order or repeat"));
    for unknown in [0, 6, -1] {
        assert_eq!(with(&[unknown]), Err("has an unknown enum number"));
    }
}
