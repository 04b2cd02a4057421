//! The issuer: what a snapshot may say of it.

use bytes::Bytes;

use super::{
    super::{decode_exact, encode, validate},
    sample::{GOLDEN, id, raw, snapshot},
};
use crate::v1::{
    CallerRule, ClaimFact, ClientAuthority, CredentialKind, Entitlement, ExternalIssuer, Issuer, IssuerKey,
    Resource, SignatureAlgorithm, SubjectNameKind, SubjectRule, TenantSnapshot, TokenType, resource::Body,
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

fn fact(claim: &str, value: &str) -> ClaimFact {
    ClaimFact { claim: claim.to_owned(), value: value.to_owned() }
}

fn external() -> ExternalIssuer {
    ExternalIssuer {
        id: raw::<ids::kind::ExternalIssuer>(id(1)),
        issuer: "https://login.example.com".to_owned(),
        jwks_uri: "https://login.example.com/keys".to_owned(),
        ca_der: vec![vec![1]],
        algorithms: vec![SignatureAlgorithm::Rs256.into(), SignatureAlgorithm::Es256.into()],
        token_types: vec![TokenType::AtJwt.into(), TokenType::Jwt.into()],
        audiences: vec!["a".to_owned(), "b".to_owned()],
        required_claims: vec![fact("tid", "acme")],
        leeway_seconds: 60,
        max_lifetime_seconds: 3_600,
        callers: vec![CallerRule { claims: vec![fact("azp", "x")], client_id: client_of(&snapshot(GOLDEN)) }],
        entitlements: vec![Entitlement {
            claim: Some(fact("groups", "g")),
            role_ids: vec![raw::<ids::kind::Role>(id(1)), raw::<ids::kind::Role>(id(2))],
            scopes: vec!["a".to_owned(), "b".to_owned()],
        }],
        gateway: "https://gw.example.com".to_owned(),
    }
}

fn client_of(snapshot: &TenantSnapshot) -> Vec<u8> {
    let client = snapshot.resources.iter().find_map(|resource| match &resource.body {
        Some(Body::Client(client)) => Some(client.id.clone()),
        _ => None,
    });
    client.expect("a client")
}

/// Named by every endpoint.
fn trusting(issuer: ExternalIssuer) -> TenantSnapshot {
    let mut snapshot = snapshot(GOLDEN);
    for resource in &mut snapshot.resources {
        if let Some(Body::Endpoint(endpoint)) = &mut resource.body {
            endpoint.external_issuer_ids = vec![raw::<ids::kind::ExternalIssuer>(id(1))];
        }
    }
    let id = ids::ExternalIssuerId::clone(&id(1)).to_string();
    snapshot.resources.push(Resource { id, body: Some(Body::ExternalIssuer(issuer)) });
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

#[test]
fn an_external_issuer_is_read_back_as_it_was_written() {
    let snapshot = trusting(external());
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
}

#[test]
fn what_an_external_issuer_may_not_be() {
    let refused = |change: fn(&mut ExternalIssuer)| {
        let mut issuer = external();
        change(&mut issuer);
        validate(&trusting(issuer)).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| it.issuer = "http://login.example.com".to_owned()), Err("a URL is malformed"));
    assert_eq!(refused(|it| it.jwks_uri = "http://a.example/k".to_owned()), Err("a URL is malformed"));
    assert_eq!(refused(|it| it.gateway.push('/')), Err("the gateway is more than an origin"));
    assert_eq!(refused(|it| it.algorithms = vec![0]), Err("has an unknown enum number"));
    assert_eq!(refused(|it| it.token_types = vec![3]), Err("has an unknown enum number"));
    assert_eq!(refused(|it| it.algorithms.clear()), Err("nothing of it could be taken"));
    assert_eq!(refused(|it| it.algorithms.reverse()), Err("algorithms or types are out of order or repeat"));
    assert_eq!(refused(|it| it.audiences.reverse()), Err("audiences are out of order or too many"));
    assert_eq!(refused(|it| it.audiences[0].clear()), Err("an audience is malformed"));
    assert_eq!(refused(|it| it.required_claims[0].value.clear()), Err("a claim is malformed"));
    assert_eq!(refused(|it| it.leeway_seconds = 301), Err("the leeway is out of bounds"));
    assert_eq!(refused(|it| it.max_lifetime_seconds = 86_401), Err("a lifetime is out of bounds"));
    assert_eq!(refused(|it| it.callers[0].claims.clear()), Err("a rule has no claims, or too many"));
    assert_eq!(refused(|it| it.callers[0].client_id.truncate(15)), Err("a client's id is not 16 bytes"));
    assert_eq!(refused(|it| it.entitlements[0].claim = None), Err("a claim is malformed"));
    assert_eq!(refused(|it| it.entitlements[0].scopes.reverse()), Err("roles or scopes are out of order"));
    assert_eq!(refused(|it| it.ca_der[0].clear()), Err("a certificate's size is out of bounds"));
    assert_eq!(refused(|it| it.id[0] ^= 1), Err("does not carry its own id"));
    let mut nobodys = trusting(external());
    nobodys.resources.retain(|resource| !matches!(resource.body, Some(Body::ExternalIssuer(_))));
    let detail = validate(&nobodys).map_err(|invalid| invalid.detail);
    assert_eq!(detail, Err("refers to an external issuer that is not there"));
}

fn authority() -> ClientAuthority {
    let client_id = client_of(&snapshot(GOLDEN));
    ClientAuthority {
        id: raw::<ids::kind::ClientAuthority>(id(1)),
        ca_der: vec![vec![1]],
        crl_der: vec![vec![2]],
        accepts_stale_lists: true,
        callers: vec![SubjectRule {
            kind: SubjectNameKind::Uri.into(),
            name: "spiffe://a/b".to_owned(),
            client_id,
        }],
    }
}

fn asking(authority: ClientAuthority) -> TenantSnapshot {
    let mut snapshot = snapshot(GOLDEN);
    let id = ids::ClientAuthorityId::clone(&id(1)).to_string();
    snapshot.resources.push(Resource { id, body: Some(Body::ClientAuthority(authority)) });
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

#[test]
fn what_a_client_authority_may_be() {
    let good = asking(authority());
    assert_eq!(decode_exact(&Bytes::from(encode(&good))).unwrap(), good);
    let refused = |change: fn(&mut ClientAuthority)| {
        let mut authority = authority();
        change(&mut authority);
        validate(&asking(authority)).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|it| it.ca_der.clear()), Err("has no certificates, or too many"));
    assert_eq!(refused(|it| it.ca_der[0].clear()), Err("a certificate's size is out of bounds"));
    assert_eq!(refused(|it| it.crl_der = vec![vec![1]; 9]), Err("has too many lists"));
    assert_eq!(refused(|it| it.crl_der[0] = vec![1; 600_000]), Err("its lists are too large"));
    assert_eq!(refused(|it| it.callers[0].kind = 3), Err("has an unknown enum number"));
    assert_eq!(refused(|it| it.callers[0].name.clear()), Err("a name is malformed"));
    assert_eq!(refused(|it| it.callers[0].client_id.truncate(15)), Err("a client's id is not 16 bytes"));
}
