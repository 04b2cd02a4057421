//! An endpoint as a protected resource (RFC 9728).

use bytes::Bytes;
use crypto::jwt::Algorithm;
use http::{Method, Response};
use serde_json::{Value, json};
use wire::v1::CredentialKind;

use super::{
    tokens::{GATEWAY, ISSUER, domain, publish, signer},
    *,
};
use crate::{
    checks::{
        endpoint::{self, Hosts},
        network, public,
    },
    refuse::{Addressee, render},
    resource,
    resource::Pointer,
};

const PREFIX: &str = "/.well-known/oauth-protected-resource";

fn hosts() -> Hosts {
    Hosts::new(["gw.example.com", "internal.example.com"], true)
}

fn world() -> World {
    let mut world = World::new();
    publish(&mut world, &[&signer(1, Algorithm::Es256)]);
    world.add([domain()]);
    world
}

fn keys_alone(world: &mut World) {
    world.edit(|body| {
        if let Some(endpoint) = testing::endpoint_of(body) {
            endpoint.accepts = vec![CredentialKind::ApiKey.into()];
        }
    });
}

fn ask(world: &World, method: Method, host: &str, path: &str) -> Result<Option<Response<Bytes>>, Refusal> {
    let addresses = testing::addresses();
    let exchange = testing::raw_exchange(Request::builder().method(method).uri(path).header("host", host));
    let place = endpoint::check(&exchange, &world.fleet(), &hosts())?;
    let reached = network::check(&exchange, &place)?;
    Ok(public::answer(&exchange, &place, &reached, &testing::counted(&addresses)))
}

fn read(world: &World, host: &str, path: &str) -> Value {
    let answer = ask(world, Method::GET, host, &format!("{PREFIX}{path}")).unwrap().unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(answer.body()).unwrap()
}

#[test]
fn an_endpoint_says_how_it_is_called_and_who_issues_its_tokens() {
    let world = world();
    for (host, path, resource) in [
        ("gw.example.com", PATH, format!("{GATEWAY}{PATH}")),
        ("GW.example.com", PATH, format!("{GATEWAY}{PATH}")),
        ("tenant-1.gw.example.com", "/tools/mcp", "https://tenant-1.gw.example.com/tools/mcp".to_owned()),
        ("mcp.acme.example", "/tools/mcp", "https://mcp.acme.example/tools/mcp".to_owned()),
        // No names by which an endpoint is called: it says its first.
        ("internal.example.com", PATH, format!("{GATEWAY}{PATH}")),
        ("127.0.0.1:3911", PATH, format!("{GATEWAY}{PATH}")),
    ] {
        let expected = json!({
            "resource": resource, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        });
        assert_eq!(read(&world, host, path), expected, "{path} at {host}");
    }
}

#[test]
fn what_is_no_endpoint_or_takes_no_tokens_has_no_metadata() {
    let mut world = world();
    let nothing = |world: &World, path: &str| {
        let path = format!("{PREFIX}{path}");
        matches!(ask(world, Method::GET, "gw.example.com", &path), Err(Refusal::EndpointNotFound))
    };
    for path in ["", "/", "/mcp", "/tenant-1/other/mcp", "/tenant-2/tools/mcp", "/tenant-1/tools/mcp/"] {
        assert!(nothing(&world, path), "{path}");
    }
    assert!(nothing(&world, &format!("{PREFIX}{PATH}")));
    assert!(nothing(&World::new(), PATH), "without an issuer");
    assert!(!nothing(&world, PATH));
    keys_alone(&mut world);
    assert!(nothing(&world, PATH));
}

#[test]
fn nothing_but_metadata_is_answered_and_only_to_who_reads_it() {
    let world = world();
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        assert!(ask(&world, method, "gw.example.com", &format!("{PREFIX}{PATH}")).unwrap().is_none());
    }
    assert!(ask(&world, Method::GET, "gw.example.com", PATH).unwrap().is_none());
}

#[test]
fn who_is_not_let_in_is_told_where_the_metadata_is() {
    let mut world = world();
    let url = |world: &World, host: &str, path: &str| {
        let exchange = testing::raw_exchange(Request::post(path).header("host", host));
        let place = endpoint::check(&exchange, &world.fleet(), &hosts()).unwrap();
        resource::pointer(&exchange, &place).metadata
    };
    let expected = format!("{GATEWAY}{PREFIX}{PATH}");
    assert_eq!(url(&world, "gw.example.com", PATH).as_ref(), Some(&expected));
    let own = url(&world, "mcp.acme.example", "/tools/mcp").unwrap();
    assert_eq!(own, format!("https://mcp.acme.example{PREFIX}/tools/mcp"));
    let challenge_with = |refusal: Refusal, baseline: &str| {
        let baseline = baseline.parse().unwrap();
        let accepts = world.place().endpoint().accepts;
        let metadata = Some(expected.clone());
        let pointer = Pointer { accepts, metadata, baseline, scheme: Scheme::Bearer };
        let response = render(&refusal, Addressee::Http, "req", Some(&pointer)).into_response();
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned())
    };
    let challenge = |refusal: Refusal| challenge_with(refusal, "");
    let metadata = format!(r#"resource_metadata="{expected}""#);
    // Whoever has to get a token is told what to ask for at first.
    for (refusal, start) in
        [(Refusal::CredentialMissing, ""), (Refusal::CredentialInvalid, r#"error="invalid_token", "#)]
    {
        let told = format!(r#"Bearer {start}scope="a b", {metadata}"#);
        assert_eq!(challenge_with(refusal, "b a"), Some(told));
    }
    assert_eq!(challenge(Refusal::CredentialMissing), Some(format!("Bearer {metadata}")));
    for (refusal, error) in [
        (Refusal::CredentialInvalid, "invalid_token"),
        (Refusal::CredentialMalformed, "invalid_request"),
        (Refusal::ClientNotAllowed, "insufficient_scope"),
    ] {
        assert_eq!(challenge(refusal), Some(format!(r#"Bearer error="{error}", {metadata}"#)));
    }
    for refusal in [Refusal::CredentialMalformed, Refusal::ClientNotAllowed] {
        assert!(!challenge_with(refusal, "a").unwrap().contains("scope="));
    }
    assert_eq!(challenge(Refusal::EndpointNotFound), None);
    keys_alone(&mut world);
    assert_eq!(url(&world, "gw.example.com", PATH), None);
}
