//! R4, R5, R9: what a token may do is what its client may do, as far as the token's scopes go; who lacks one is told of all that the
//! call takes, and API keys lack none.

use harness::{Answer, Caller, Endpoint, Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use portcullis_cli::rest::RestError;
use serde_json::{Value, json};

struct Scene {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: Endpoint,
    machine: Machine,
}

impl Scene {
    /// `free` is granted to the machine without a scope, `read` with `files:read`, `both` with either of two; and all to the owner of
    /// the endpoint's key.
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(1).await;
        let upstream =
            Upstream::start(["free", "read", "both", "never"].map(|name| tool(name, "Does")).to_vec());
        let upstream = upstream.await;
        let tenant = gateway.tenant("acme").await;
        tenant.post("/signing-keys", json!({})).await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint.id]).await;
        for (name, baseline) in [("files:read", false), ("files:write", false), ("search", true)] {
            let scope =
                json!({"name": name, "description": format!("Lets agents {name}"), "baseline": baseline});
            tenant.post("/scopes", scope).await;
        }
        let scene = Self { gateway, tenant, endpoint, machine };
        for client in [&scene.machine.client, &scene.endpoint.client] {
            scene.grant(client, "free", Value::Null).await;
            scene.grant(client, "read", json!("files:read")).await;
            scene.grant(client, "both", json!("files:write")).await;
            scene.grant(client, "both", json!("search")).await;
        }
        scene
    }

    async fn grant(&self, client: &str, tool: &str, scope: Value) -> String {
        let tools = json!({"names": [tool]});
        let actions = json!([{"action": "call_tool", "upstream": self.endpoint.upstream, "tools": tools}]);
        let grant = json!({"subject": {"client": client}, "scope": scope, "actions": actions});
        text(&self.tenant.post("/grants?wait=applied", grant).await, "id")
    }

    async fn token(&self, scope: &str) -> String {
        let answered = self.machine.ask(&[("scope", scope)]).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        let mut asked: Vec<&str> = scope.split(' ').filter(|scope| !scope.is_empty()).collect();
        asked.sort_unstable();
        assert_eq!(answered.body["scope"].as_str().unwrap_or_default(), asked.join(" "));
        text(&answered.body, "access_token")
    }

    async fn caller(&self, scope: &str) -> Caller {
        Caller::new(&self.endpoint.url, &self.token(scope).await)
    }
}

/// Status of a refused request to the API, and the first place at fault.
fn fault(answer: Result<Value, RestError>) -> (u16, String) {
    match answer {
        Err(RestError::Refused { status, problem, .. }) => {
            let place = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
            (status.as_u16(), place.to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn opened(answer: &Answer) -> bool {
    answer.status == 200 && answer.tool_text().starts_with("ok: ")
}

/// What a 403 asks for.
fn asked_for(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.code().as_str()), (403, "scope_insufficient"), "{answer:?}");
    assert_eq!(answer.header("portcullis-refusal"), "scope_insufficient");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\""), "{challenge}");
    assert!(challenge.contains("error_description=\""), "{challenge}");
    assert!(challenge.contains("resource_metadata=\""), "{challenge}");
    let scopes = challenge.split_once("scope=\"").unwrap().1.split('"').next().unwrap();
    assert_eq!(answer.json()["error"]["data"]["scopes"], scopes);
    scopes.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_one_of_its_grants_scopes_and_its_refusal_names_all_of_them() {
    let scene = Scene::new().await;
    let bare = scene.caller("").await;
    assert!(opened(&bare.call("free").await));
    assert_eq!(asked_for(&bare.call("read").await), "files:read");
    assert_eq!(asked_for(&bare.call("both").await), "files:write search");
    // What no scope would open is refused as before.
    let never = bare.call("never").await;
    assert_eq!((never.status, never.code().as_str()), (200, "tool_not_granted"));

    let reader = scene.caller("files:read").await;
    assert!(opened(&reader.call("read").await) && opened(&reader.call("free").await));
    // Those of the token are named too: the next one replaces it.
    assert_eq!(asked_for(&reader.call("both").await), "files:read files:write search");
    let stepped_up = scene.caller("search files:read").await;
    for name in ["free", "read", "both"] {
        assert!(opened(&stepped_up.call(name).await), "{name}");
    }
    // Clients of older revisions are told in the same way.
    let (legacy, _) = bare.initialize("2025-11-25").await;
    let refused = legacy.legacy("tools/call", json!({"name": "read", "arguments": {}})).await;
    assert_eq!(asked_for(&refused), "files:read");
    // A key has all scopes.
    for name in ["free", "read", "both"] {
        assert!(opened(&scene.endpoint.caller().call(name).await), "{name}");
    }
    // What can be had by asking for it is listed: otherwise nobody could ask.
    for caller in [&bare, &reader, &scene.endpoint.caller()] {
        assert_eq!(caller.tools().await, ["free", "read", "both"]);
    }
    eventually("its refusals are recorded", async || {
        let records = scene.tenant.audit("code=scope_insufficient").await;
        let policies = |record: &Value| record["policies"].as_array().unwrap().len();
        records.len() == 4
            && records.iter().all(|record| {
                record["client_id"] == scene.machine.client.as_str()
                    && record["status"] == 403
                    && policies(record) > 0
            })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbid_counts_whatever_a_token_has() {
    let scene = Scene::new().await;
    let tools = json!({"names": ["read"]});
    let actions = json!([{"action": "call_tool", "upstream": scene.endpoint.upstream, "tools": tools}]);
    let forbid = json!({"subject": {"client": scene.machine.client}, "effect": "forbid", "actions": actions});
    scene.tenant.post("/grants?wait=applied", forbid.clone()).await;
    for scope in ["", "files:read"] {
        let refused = scene.caller(scope).await.call("read").await;
        assert_eq!((refused.status, refused.code().as_str()), (200, "tool_not_granted"), "{scope}");
    }
    let mut scoped = forbid;
    scoped["scope"] = json!("files:read");
    let path = format!("{}/grants", scene.tenant.base);
    assert_eq!(fault(scene.tenant.admin.post(&path, scoped).await), (422, "/scope".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_scopes_that_exist_are_given_and_none_is_given_unasked() {
    let scene = Scene::new().await;
    for scope in
        ["files:delete", "files:read nothing", "FILES:READ", "offline_access", "a\"b", "files:read\tsearch"]
    {
        let refused = scene.machine.ask(&[("scope", scope)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_scope"), "{scope}");
    }
    let bare = scene.machine.ask(&[]).await;
    assert!(bare.body.get("scope").is_none(), "{bare:?}");
    // In the token, as introspection sees it.
    let token = scene.token("search files:read").await;
    let seen = scene.machine.basic("introspect", &[("token", &token)]).await;
    assert_eq!(text(&seen.body, "scope"), "files:read search");
    let other = scene.gateway.tenant("other").await;
    other.post("/signing-keys", json!({})).await;
    other.post("/scopes", json!({"name": "theirs", "description": "Theirs"})).await;
    assert_eq!(scene.machine.ask(&[("scope", "theirs")]).await.error(), "invalid_scope", "another tenant's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_told_to_ask_for_the_baseline_at_first_and_never_for_everything() {
    let scene = Scene::new().await;
    let refused = Caller::anonymous(&scene.endpoint.url).call("free").await;
    let challenge = refused.header("www-authenticate").to_owned();
    assert!(challenge.starts_with("Bearer scope=\"search\", resource_metadata=\""), "{challenge}");
    let invalid = Caller::new(&scene.endpoint.url, "a.b.c").call("free").await;
    assert!(invalid.header("www-authenticate").contains("error=\"invalid_token\", scope=\"search\""));
    let path = &scene.endpoint.path;
    let metadata = format!("{}/.well-known/oauth-protected-resource{path}", scene.gateway.url(0));
    let metadata: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["scopes_supported"], json!(["search"]));
    let issuer = format!("{}/.well-known/oauth-authorization-server", scene.machine.url);
    eventually("the issuer says the same", async || {
        let metadata: Value = reqwest::get(&issuer).await.unwrap().json().await.unwrap();
        metadata["scopes_supported"] == json!(["search"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_a_grant_names_stays_and_a_grant_names_none_that_is_not_there() {
    let scene = Scene::new().await;
    let base = &scene.tenant.base;
    let admin = &scene.tenant.admin;
    let items = admin.get(&format!("{base}/scopes")).await.unwrap()["items"].clone();
    let id = |name: &str| {
        let found = items.as_array().unwrap().iter().find(|scope| scope["name"] == name);
        format!("{base}/scopes/{}", text(found.unwrap(), "id"))
    };
    assert_eq!(fault(admin.delete(&id("files:read")).await).0, 409);
    // It takes effect on what is known: the grant asks for nothing any more, then for another scope.
    let bare = scene.caller("").await;
    assert_eq!(asked_for(&bare.call("read").await), "files:read");
    let grants = admin.get(&format!("{base}/grants")).await.unwrap()["items"].clone();
    for grant in grants.as_array().unwrap().iter().filter(|grant| grant["scope"] == "files:read") {
        let path = format!("{base}/grants/{}?wait=applied", text(grant, "id"));
        let refused = fault(admin.patch(&path, json!({"scope": "nothing"})).await);
        assert_eq!(refused, (422, "/scope".to_owned()));
        admin.patch(&path, json!({"scope": null})).await.unwrap();
    }
    assert!(opened(&bare.call("read").await));
    admin.delete(&id("files:read")).await.unwrap();
    assert_eq!(scene.machine.ask(&[("scope", "files:read")]).await.error(), "invalid_scope");
    let described = admin.patch(&id("search"), json!({"description": "Finds things"})).await.unwrap();
    assert_eq!(
        (text(&described, "description"), text(&described, "name")),
        ("Finds things".into(), "search".into())
    );

    let new = |name: &str| json!({"name": name, "description": "New"});
    for name in ["", "a b", "a\"b", "a\\b", "caf\u{e9}", "openid", "offline_access", &"x".repeat(65)] {
        let refused = fault(admin.post(&format!("{base}/scopes"), new(name)).await);
        assert_eq!(refused, (422, "/name".to_owned()), "{name}");
    }
    assert_eq!(fault(admin.post(&format!("{base}/scopes"), new("search")).await).0, 409, "twice");
    // Two are there.
    for number in 2..64 {
        admin.post(&format!("{base}/scopes"), new(&format!("s{number}"))).await.unwrap();
    }
    assert_eq!(fault(admin.post(&format!("{base}/scopes"), new("one-more")).await).0, 409);
}
