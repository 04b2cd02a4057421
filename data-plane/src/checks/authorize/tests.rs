use http::{Request, request::Builder};
use ids::MemberId;
use limits::budget::Now;
use policy::{Effect, GrantedAction, NameSelector, Subject};
use wire::v1::{Member, resource::Body};

use super::*;
use crate::{
    checks::{BoundSession, Cost, Verb, limit, protocol, session},
    limiter::Limiter,
    testing::{self, PATH, World},
};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn ask(world: &World, request: Builder, method: &str, params: &str) -> Result<Permit, Refusal> {
    ask_as(world, &world.principal(), request, method, params)
}

fn ask_as(
    world: &World,
    principal: &Principal,
    request: Builder,
    method: &str,
    params: &str,
) -> Result<Permit, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let body = runtime.block_on(testing::body(&text));
    let exchange = testing::exchange(request);
    let call = protocol::check(&exchange, Verb::Post, protocol::parse(Verb::Post, &body).unwrap()).unwrap();
    let place = world.place();
    let attachment = session::attachment(&place).unwrap();
    let (limiter, session, now) = (Limiter::alone(), BoundSession::none(), Now { nanos: 1, unix_seconds: 1 });
    let reserving = limit::check(&limiter, &place, principal, &session, Cost::Message, now);
    let reservation = runtime.block_on(reserving).unwrap();
    let tool = named_tool(attachment, call.target());
    check(&Decisions::default(), &place, attachment, principal, &call, tool, &reservation)
}

fn legacy(world: &World, method: &str, params: &str) -> Result<Permit, Refusal> {
    ask(world, Request::post(PATH).header("mcp-protocol-version", "2025-11-25"), method, params)
}

fn refused_with(result: Result<Permit, Refusal>) -> &'static str {
    result.expect_err("refused").code().slug()
}

#[test]
fn a_granted_tool_is_permitted_by_its_grant() {
    let world = World::new();
    let permit = legacy(&world, "tools/call", r#"{"name":"add"}"#).unwrap();
    assert!(matches!(permit.grounds(), Grounds::Tool(tool) if &*tool.name == "add"));
    assert!(permit.policies()[0].starts_with("gr_"));
}

#[test]
fn what_no_grant_names_and_what_does_not_exist_are_the_same() {
    let ungranted = World::with(|body| {
        if let Some(tool) = testing::tool(body) {
            tool.slices.clear();
        }
    });
    assert_eq!(refused_with(legacy(&ungranted, "tools/call", r#"{"name":"add"}"#)), "tool_not_granted");
    let world = World::new();
    for name in ["sub", "ADD", "add ", ""] {
        let params = format!(r#"{{"name":"{name}"}}"#);
        assert_eq!(refused_with(legacy(&world, "tools/call", &params)), "tool_not_granted", "{name}");
    }
}

#[test]
fn a_prefix_belongs_to_the_name() {
    let mut world = World::with(|body| {
        if let Some(endpoint) = testing::endpoint_of(body) {
            endpoint.attachments[0].prefix = "calc_".to_owned();
        }
    });
    assert!(legacy(&world, "tools/call", r#"{"name":"calc_add"}"#).is_ok());
    assert_eq!(refused_with(legacy(&world, "tools/call", r#"{"name":"add"}"#)), "tool_not_granted");
    assert_eq!(refused_with(legacy(&world, "prompts/get", r#"{"name":"p"}"#)), "prompt_not_granted");
    let upstream = world.upstream();
    world.grant(Effect::Permit, GrantedAction::Complete { upstream });
    let complete = |name: &str| {
        let params = format!(
            r#"{{"ref":{{"type":"ref/prompt","name":"{name}"}},"argument":{{"name":"a","value":"b"}}}}"#
        );
        legacy(&world, "completion/complete", &params)
    };
    assert!(complete("calc_p").is_ok());
    assert_eq!(refused_with(complete("p")), "action_not_granted");
}

#[test]
fn prompts_resources_completions_and_tasks_need_grants() {
    let mut world = World::new();
    let requests = [
        ("prompts/get", r#"{"name":"p"}"#, "prompt_not_granted"),
        ("resources/read", r#"{"uri":"file:///a/x"}"#, "resource_not_granted"),
        ("resources/subscribe", r#"{"uri":"file:///a/x"}"#, "resource_not_granted"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}"#,
            "action_not_granted",
        ),
        ("tasks/get", r#"{"taskId":"t"}"#, "action_not_granted"),
    ];
    for (method, params, code) in requests {
        assert_eq!(refused_with(legacy(&world, method, params)), code, "{method}");
    }
    let upstream = world.upstream();
    let uris = || vec!["file:///a/*".to_owned()];
    for action in [
        GrantedAction::GetPrompt { upstream, prompts: NameSelector::Names(vec!["p".to_owned()]) },
        GrantedAction::ReadResource { upstream, uris: uris() },
        GrantedAction::Subscribe { upstream, uris: uris() },
        GrantedAction::Complete { upstream },
        GrantedAction::UseTasks { upstream },
    ] {
        world.grant(Effect::Permit, action);
    }
    for (method, params, _) in requests {
        assert!(legacy(&world, method, params).is_ok(), "{method}");
    }
    assert_eq!(refused_with(legacy(&world, "prompts/get", r#"{"name":"q"}"#)), "prompt_not_granted");
    // A server would list every caller's tasks: it knows them by one credential.
    assert_eq!(refused_with(legacy(&world, "tasks/list", "{}")), "method_closed");
    let outside = r#"{"uri":"file:///b/x"}"#;
    assert_eq!(refused_with(legacy(&world, "resources/read", outside)), "resource_not_granted");
}

#[test]
fn a_forbid_wins_and_is_named() {
    let mut world = World::new();
    let upstream = world.upstream();
    world.grant(Effect::Permit, GrantedAction::Complete { upstream });
    world.grant(Effect::Forbid, GrantedAction::Complete { upstream });
    let params = r#"{"ref":{"type":"ref/resource","uri":"file:///a"},"argument":{"name":"a","value":"b"}}"#;
    let refusal = legacy(&world, "completion/complete", params).unwrap_err();
    assert_eq!(refusal.code().slug(), "action_not_granted");
    assert_eq!(refusal.policies().len(), 1);
}

#[test]
fn a_policy_that_cannot_be_read_refuses() {
    let world = World::with(|body| {
        if let wire::v1::resource::Body::Policy(policy) = body {
            policy.text = "permit(principal, action, resource) when { oops };".to_owned();
        }
    });
    assert_eq!(refused_with(legacy(&world, "tools/call", r#"{"name":"add"}"#)), "policy_error");
}

#[test]
fn the_rest_is_decided_by_the_method_set() {
    let world = World::with(|body| {
        if let Some(endpoint) = testing::endpoint_of(body) {
            endpoint.closed_methods = vec!["logging/setLevel".to_owned()];
        }
    });
    assert!(legacy(&world, "tools/list", "{}").is_ok());
    assert!(legacy(&world, "ping", "{}").is_ok());
    assert_eq!(refused_with(legacy(&world, "logging/setLevel", r#"{"level":"info"}"#)), "method_closed");
}

#[test]
fn listening_to_resources_needs_a_grant_for_each() {
    let listen = |world: &World, uris: &str| {
        let request = Request::post(PATH)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "subscriptions/listen");
        let params = format!(
            r#"{{"notifications":{{"toolsListChanged":true,"resourceSubscriptions":{uris}}},{META}}}"#
        );
        ask(world, request, "subscriptions/listen", &params)
    };
    let mut world = World::new();
    let upstream = world.upstream();
    assert!(listen(&world, "[]").is_ok());
    assert_eq!(refused_with(listen(&world, r#"["file:///a/x"]"#)), "resource_not_granted");
    world.grant(Effect::Permit, GrantedAction::Subscribe { upstream, uris: vec!["file:///a/*".to_owned()] });
    let permit = listen(&world, r#"["file:///a/x"]"#).unwrap();
    assert!(matches!(permit.grounds(), Grounds::Subscriptions { uris, .. } if uris.len() == 1));
    assert_eq!(refused_with(listen(&world, r#"["file:///a/x","file:///b/x"]"#)), "resource_not_granted");
    let many = |number: usize| {
        let uris: Vec<String> = (0..number).map(|n| format!("\"file:///a/{n}\"")).collect();
        format!("[{}]", uris.join(","))
    };
    assert!(listen(&world, &many(256)).is_ok());
    assert_eq!(refused_with(listen(&world, &many(257))), "invalid_params", "too many at once");
    let permit = listen(&world, r#"["file:///a/x","file:///a/y","file:///a/x"]"#).unwrap();
    assert!(matches!(permit.grounds(), Grounds::Subscriptions { uris, .. } if uris.len() == 2), "each once");
    for other in
        ["[1]", r#""file:///a/x""#, r#"{"0":"file:///b/x"}"#, r#"[],"RESOURCESubscriptions":["file:///b/x"]"#]
    {
        assert_eq!(refused_with(listen(&world, other)), "resource_not_granted", "{other}");
    }
}

#[test]
fn listening_to_tasks_needs_the_grant_for_tasks() {
    let mut world = World::new();
    let upstream = world.upstream();
    world.grant_with(Some("tasks"), Effect::Permit, GrantedAction::UseTasks { upstream });
    let listen = |world: &World, scopes: &str, filter: &str| {
        let principal = world.principal().with_scopes(scopes);
        let params = format!(r#"{{"notifications":{{"toolsListChanged":true{filter}}},{META}}}"#);
        let request = Request::post(PATH)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "subscriptions/listen");
        ask_as(world, &principal, request, "subscriptions/listen", &params)
    };
    let tasks = r#","taskIds":["one"]"#;
    let permit = listen(&world, "tasks", tasks).unwrap();
    assert!(matches!(permit.grounds(), Grounds::Subscriptions { uris, tasks: true } if uris.is_empty()));
    assert!(matches!(listen(&world, "", "").unwrap().grounds(), Grounds::MethodSet(_)));
    assert_eq!(refused_with(listen(&world, "", tasks)), "scope_insufficient");
    assert_eq!(refused_with(listen(&world, "tasks", r#","TaskIds":["one"]"#)), "action_not_granted");
    let nobody = World::new();
    assert_eq!(refused_with(listen(&nobody, "", tasks)), "action_not_granted");
}

#[test]
fn a_token_is_told_of_every_scope_that_its_request_takes_together_with_its_own() {
    let mut world = World::new();
    let upstream = world.upstream();
    for (scope, uri) in [(Some("one"), "a:1"), (Some("two"), "a:2"), (Some("three"), "a:2"), (None, "a:3")] {
        let uris = vec![uri.to_owned()];
        world.grant_with(scope, Effect::Permit, GrantedAction::Subscribe { upstream, uris });
    }
    let listen = |scopes: &str, uris: &str| {
        let principal = world.principal().with_scopes(scopes);
        let params = format!(r#"{{"notifications":{{"resourceSubscriptions":[{uris}]}},{META}}}"#);
        let request = Request::post(PATH)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "subscriptions/listen");
        ask_as(&world, &principal, request, "subscriptions/listen", &params)
    };
    let lacking = |result: Result<Permit, Refusal>| match result {
        Err(Refusal::ScopesLacking { scopes, .. }) => scopes.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(lacking(listen("own", r#""a:1","a:2","a:3""#)), "one own three two");
    assert_eq!(lacking(listen("two", r#""a:1","a:2""#)), "one two");
    assert!(listen("one three", r#""a:1","a:2","a:3""#).is_ok());
    // What no scope opens is refused for that, whatever else lacks.
    assert_eq!(refused_with(listen("", r#""a:1","a:4""#)), "resource_not_granted");
    assert!(listen("", r#""a:3""#).is_ok());
}

#[test]
fn a_member_has_its_own_permits_and_the_forbids_of_its_client_too() {
    let mut world = World::new();
    let (upstream, client) = (world.upstream(), world.client());
    let id = MemberId::from_parts(1, [7; 10]);
    let member = Member { id: id.uuid().as_bytes().to_vec(), enabled: true, role_ids: Vec::new() };
    world.add([(id.to_string(), Body::Member(member))]);
    let read = |uri: &str| GrantedAction::ReadResource { upstream, uris: vec![uri.to_owned()] };
    let (member, client) = (Subject::Member(id), Subject::Client(client));
    world.grant_to(client, None, Effect::Permit, read("a:client"));
    world.grant_to(member, None, Effect::Permit, read("a:member"));
    world.grant_to(member, None, Effect::Permit, read("a:forbidden"));
    world.grant_to(client, None, Effect::Forbid, read("a:forbidden"));
    world.grant_to(member, Some("more"), Effect::Permit, read("a:scoped"));
    let (tenant, principal) = (world.tenant(), world.principal());
    let principal = principal.acting_for(&tenant.members[&id]);
    let ask = |scopes: &str, uri: &str| {
        let principal = principal.with_scopes(scopes);
        let request = Request::post(PATH).header("mcp-protocol-version", "2025-11-25");
        ask_as(&world, &principal, request, "resources/read", &format!(r#"{{"uri":"{uri}"}}"#))
    };
    assert!(ask("", "a:member").is_ok());
    assert_eq!(refused_with(ask("", "a:client")), "resource_not_granted", "what the client has is its own");
    assert_eq!(refused_with(ask("", "a:forbidden")), "resource_not_granted");
    assert_eq!(refused_with(ask("", "a:scoped")), "scope_insufficient");
    assert!(ask("more", "a:scoped").is_ok());
    let request = Request::post(PATH).header("mcp-protocol-version", "2025-11-25");
    let tool = ask_as(&world, &principal, request, "tools/call", r#"{"name":"add"}"#);
    assert_eq!(refused_with(tool), "tool_not_granted", "nor a tool that the client was given");
    assert!(legacy(&world, "resources/read", r#"{"uri":"a:client"}"#).is_ok(), "for itself");
    assert_eq!(
        refused_with(legacy(&world, "resources/read", r#"{"uri":"a:member"}"#)),
        "resource_not_granted"
    );
}
