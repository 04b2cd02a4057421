use crypto::session::SessionSeal;
use http::{Request, request::Builder};
use ids::{ClientId, EndpointId};
use seams::SeededEntropy;

use super::*;
use crate::{
    checks::{Verb, protocol},
    testing::{self, PATH, World},
};

const VERSION: (&str, &str) = ("mcp-protocol-version", "2025-11-25");

fn seal(world: &World, endpoint: EndpointId, principal: ClientId) -> String {
    let session = SessionSeal {
        endpoint,
        principal: principal.into(),
        created_micros: 1,
        upstreams: vec![UpstreamSession {
            upstream_id: world.upstream(),
            session_id: "theirs".to_owned(),
            address: "192.0.2.9:443".to_owned(),
        }],
    };
    crypto::session::seal(world.tenant().crypto.session(), &session, &SeededEntropy::new(3)).unwrap()
}

fn own(world: &World) -> String {
    seal(world, world.place().endpoint().id, world.client())
}

fn bind(world: &World, request: Builder, verb: Verb, text: &str) -> Result<BoundSession, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(testing::body(text));
    let exchange = testing::exchange(request.header(VERSION.0, VERSION.1));
    let message = protocol::parse(verb, &body).unwrap();
    let call = protocol::check(&exchange, verb, message).unwrap();
    let place = world.place();
    check(&exchange, &place, attachment(&place).unwrap(), &world.principal(), &call)
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[test]
fn the_callers_own_session_opens_to_the_upstreams() {
    let world = World::new();
    let sealed = own(&world);
    let bound =
        bind(&world, Request::post(PATH).header("mcp-session-id", &sealed), Verb::Post, PING).unwrap();
    let session = bound.into_parts().0.unwrap();
    assert_eq!((&*session.presented, &*session.upstream.session_id), (&*sealed, "theirs"));
}

#[test]
fn a_foreign_a_forged_and_an_unknown_session_are_the_same() {
    let world = World::new();
    let place = world.place();
    let another_client = ClientId::from_parts(1, [7; 10]);
    let another_endpoint = EndpointId::from_parts(1, [7; 10]);
    let mut forged = own(&world).into_bytes();
    let last = forged.len() - 3;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    for text in [
        seal(&world, place.endpoint().id, another_client),
        seal(&world, another_endpoint, world.client()),
        String::from_utf8(forged).unwrap(),
        "theirs".to_owned(),
    ] {
        let refused = bind(&world, Request::post(PATH).header("mcp-session-id", text), Verb::Post, PING);
        assert!(matches!(refused, Err(Refusal::SessionNotFound)));
    }
}

#[test]
fn ending_and_answering_need_a_session_and_asking_does_not() {
    let world = World::new();
    assert!(matches!(bind(&world, Request::delete(PATH), Verb::Delete, ""), Err(Refusal::SessionRequired)));
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert!(matches!(bind(&world, Request::post(PATH), Verb::Post, answer), Err(Refusal::SessionRequired)));
    assert!(bind(&world, Request::post(PATH), Verb::Post, PING).unwrap().into_parts().0.is_none());
    assert!(bind(&world, Request::get(PATH), Verb::Get, "").unwrap().into_parts().0.is_none());
}

#[test]
fn handles_that_were_not_given_to_the_caller_do_not_open() {
    let world = World::new();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"2"}}"#;
    assert!(matches!(bind(&world, Request::post(PATH), Verb::Post, list), Err(Refusal::StateInvalid)));
    let resumed = Request::get(PATH).header("last-event-id", "17");
    assert!(matches!(bind(&world, resumed, Verb::Get, ""), Err(Refusal::StateInvalid)));
}

#[test]
fn an_endpoint_without_a_live_upstream_says_so() {
    let world = World::with(|body| {
        if let wire::v1::resource::Body::Upstream(upstream) = body {
            upstream.enabled = false;
        }
    });
    assert!(matches!(attachment(&world.place()), Err(Refusal::NoUpstream)));
}
