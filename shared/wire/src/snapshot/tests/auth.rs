//! What upstreams are shown beside static headers: what a snapshot may say of it.

use bytes::Bytes;

use super::{
    super::{decode_exact, encode, validate},
    sample::{GOLDEN, id, raw, snapshot},
};
use crate::v1::{
    AssertionKey, Assertions, ClientAuthentication, Resource, SignatureAlgorithm, TenantSnapshot,
    UpstreamAssertion, UpstreamAuth, UpstreamOauth, resource::Body,
};

fn assertions() -> Assertions {
    let key = |n| AssertionKey {
        id: raw::<ids::kind::AssertionKey>(id(n)),
        activates_at_micros: u64::from(n),
        data_key_id: raw::<ids::kind::DataKey>(id(0)),
        sealed: vec![7; 180],
    };
    Assertions { issuer: "https://auth.example.com/t/acme/assertions".to_owned(), keys: vec![key(1), key(2)] }
}

fn auth() -> UpstreamAuth {
    let assertion = UpstreamAssertion {
        audience: "https://up.example.com/mcp".to_owned(),
        bearer: false,
        body_digest: true,
    };
    UpstreamAuth { assertion: Some(assertion), oauth: None }
}

fn oauth() -> UpstreamOauth {
    UpstreamOauth {
        issuer: "https://auth.example.com".to_owned(),
        client_id: "gateway".to_owned(),
        authentication: ClientAuthentication::PrivateKeyJwt.into(),
        data_key_id: raw::<ids::kind::DataKey>(id(0)),
        sealed: vec![7; 40],
        scope: "files:read files:write".to_owned(),
        resource: "https://up.example.com/mcp".to_owned(),
        ca_der: vec![vec![48, 3, 2, 1, 0]],
        key_id: "one".to_owned(),
        algorithm: SignatureAlgorithm::Es256.into(),
        ..UpstreamOauth::default()
    }
}

/// The sample's upstreams without their credential, which would be in the token's place.
fn with_oauth(oauth: UpstreamOauth, bearer: bool) -> TenantSnapshot {
    let mut auth = UpstreamAuth { oauth: Some(oauth), ..auth() };
    auth.assertion.as_mut().unwrap().bearer = bearer;
    let mut snapshot = with("assertions", assertions(), auth);
    for resource in &mut snapshot.resources {
        if let Some(Body::Upstream(upstream)) = &mut resource.body {
            upstream.headers.clear();
        }
    }
    snapshot
}

fn with(id: &str, assertions: Assertions, auth: UpstreamAuth) -> TenantSnapshot {
    let mut snapshot = snapshot(GOLDEN);
    for resource in &mut snapshot.resources {
        if let Some(Body::Upstream(upstream)) = &mut resource.body {
            upstream.auth = Some(auth.clone());
        }
    }
    snapshot.resources.push(Resource { id: id.to_owned(), body: Some(Body::Assertions(assertions)) });
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

#[test]
fn it_is_read_back_as_it_was_written() {
    let snapshot = with("assertions", assertions(), auth());
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
}

#[test]
fn what_keys_of_assertions_may_not_be() {
    let refused = |change: fn(&mut Assertions)| {
        let mut assertions = assertions();
        change(&mut assertions);
        validate(&with("assertions", assertions, auth())).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| it.issuer = "auth.example.com".to_owned()), Err("a URL is malformed"));
    assert_eq!(refused(|it| it.keys.clear()), Err("has no key, or too many"));
    assert_eq!(refused(|it| it.keys = vec![it.keys[0].clone(); 17]), Err("has no key, or too many"));
    assert_eq!(refused(|it| it.keys.reverse()), Err("keys are out of order or repeat"));
    assert_eq!(refused(|it| it.keys[0].id.truncate(15)), Err("a key's id is not 16 bytes"));
    assert_eq!(refused(|it| it.keys[0].data_key_id.push(0)), Err("a key's id is not 16 bytes"));
    assert_eq!(refused(|it| it.keys[0].sealed.clear()), Err("a sealed key's size is out of bounds"));
    let other = validate(&with("other", assertions(), auth())).unwrap_err();
    assert_eq!(other.detail, "does not carry its own id");
}

#[test]
fn what_an_upstream_may_not_be_shown() {
    let refused = |change: fn(&mut UpstreamAuth)| {
        let mut auth = auth();
        change(&mut auth);
        validate(&with("assertions", assertions(), auth)).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| *it = UpstreamAuth::default()), Err("is shown nothing, and says so"));
    assert_eq!(
        refused(|it| it.assertion.as_mut().unwrap().audience.clear()),
        Err("an assertion's audience is malformed")
    );
    assert_eq!(
        refused(|it| it.assertion.as_mut().unwrap().audience = "a b".to_owned()),
        Err("an assertion's audience is malformed")
    );
    // The sample's upstreams have a credential in that header.
    assert_eq!(
        refused(|it| it.assertion.as_mut().unwrap().bearer = true),
        Err("has a credential where its assertion goes")
    );
}

#[test]
fn how_tokens_may_not_be_got() {
    let snapshot = with_oauth(oauth(), false);
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
    let refused = |change: fn(&mut UpstreamOauth)| {
        let mut oauth = oauth();
        change(&mut oauth);
        validate(&with_oauth(oauth, false)).map_err(|invalid| invalid.detail)
    };
    assert_eq!(refused(|it| it.issuer.clear()), Err("has no token endpoint, or two"));
    assert_eq!(refused(|it| it.token_endpoint = it.issuer.clone()), Err("has no token endpoint, or two"));
    assert_eq!(refused(|it| it.issuer = "auth".to_owned()), Err("a URL is malformed"));
    assert_eq!(refused(|it| it.client_id.clear()), Err("client id is malformed"));
    assert_eq!(refused(|it| it.scope = "a\nb".to_owned()), Err("scope is malformed"));
    assert_eq!(refused(|it| it.resource = "a b".to_owned()), Err("resource is malformed"));
    assert_eq!(refused(|it| it.data_key_id.clear()), Err("data key id is not 16 bytes"));
    assert_eq!(refused(|it| it.sealed.clear()), Err("a sealed secret's size is out of bounds"));
    assert_eq!(refused(|it| it.ca_der = vec![Vec::new()]), Err("a certificate is malformed"));
    assert_eq!(refused(|it| it.authentication = 0), Err("has an unknown enum number"));
    assert_eq!(refused(|it| it.key_id.clear()), Err("a key is not described"));
    assert_eq!(refused(|it| it.algorithm = 1), Err("a key is not described"));
    assert_eq!(refused(|it| it.authentication = 1), Err("a key is not described"));
    let taken = validate(&with_oauth(oauth(), true)).unwrap_err();
    assert_eq!(taken.detail, "has an assertion where its token goes");
    let auth = UpstreamAuth { oauth: Some(oauth()), assertion: None };
    let taken = validate(&with("assertions", assertions(), auth)).unwrap_err();
    assert_eq!(taken.detail, "has a credential where its token goes");
}
