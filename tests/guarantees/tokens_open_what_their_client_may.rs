//! R1, R3, R4, R20, R59, G1: an access token of the tenant's issuer opens the endpoint it is for, and nothing else; it ends with
//! everything it rests on, at every proxy and where a stream is open too.

use harness::{Behaviour, Caller, Endpoint, Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use serde_json::{Value, json};

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    tenant: Tenant,
    endpoint: Endpoint,
    machine: Machine,
}

impl Scene {
    /// A tenant with a machine that may call `echo`, and two proxies.
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(2).await;
        let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
        let tenant = gateway.tenant("acme").await;
        tenant.post("/signing-keys", json!({})).await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint.id]).await;
        let theirs = Endpoint { client: machine.client.clone(), ..endpoint.clone() };
        tenant.grant(&theirs, &["echo"]).await;
        Self { gateway, upstream, tenant, endpoint, machine }
    }

    fn urls(&self) -> [String; 2] {
        [0, 1].map(|index| format!("{}{}", self.gateway.url(index), self.endpoint.path))
    }

    async fn opens(&self, token: &str) {
        for url in self.urls() {
            let answer = Caller::new(&url, token).call("echo").await;
            assert_eq!((answer.status, answer.tool_text()), (200, "ok: echo".to_owned()), "{answer:?}");
        }
    }

    /// Refused at both proxies: at once, because what ends tokens answers when the kill stream has said it everywhere.
    async fn ended(&self, token: &str, why: &str) {
        for url in self.urls() {
            eventually(why, async || {
                let answer = Caller::new(&url, token).call("echo").await;
                (answer.status, answer.code()) == (401, "credential_invalid".to_owned())
            })
            .await;
        }
    }

    async fn patch(&self, path: &str, change: Value) {
        let path = format!("{}{path}", self.tenant.base);
        self.tenant.admin.patch(&format!("{path}?wait=applied"), change).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_let_in_finds_the_way_to_a_token_and_calls_with_it() {
    let scene = Scene::new().await;
    let refused = Caller::anonymous(&scene.endpoint.url).call("echo").await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    let metadata = challenge.split_once("resource_metadata=\"").unwrap().1.trim_end_matches('"');
    let path = metadata.split_once("/.well-known/").unwrap().1;
    assert_eq!(path, format!("oauth-protected-resource{}", scene.endpoint.path));

    let metadata = format!("{}/.well-known/{path}", scene.gateway.url(1));
    let metadata: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["authorization_servers"], json!([scene.machine.issuer]));
    let resource = text(&metadata, "resource");
    let answered = scene.machine.ask(&[("resource", &resource)]).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let token = text(&answered.body, "access_token");
    scene.opens(&token).await;

    // R20: the server behind it sees nothing of it, and the record says whose call it was.
    for received in scene.upstream.calls() {
        assert!(!format!("{:?}", received.headers).contains(&token), "the token went on");
    }
    let told = scene.machine.basic("introspect", &[("token", &token)]).await;
    eventually("the call is recorded", async || {
        let records = scene.tenant.audit("method=tools/call&phase=outcome").await;
        records.iter().any(|record| {
            record["client_id"] == scene.machine.client
                && record["token_id"] == told.body["jti"]
                && record["key_id"].is_null()
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_all_it_rests_on() {
    let scene = Scene::new().await;
    let client = format!("/clients/{}", scene.machine.client);
    let (first, second) = (scene.machine.token().await, scene.machine.token().await);
    scene.opens(&first).await;
    scene.opens(&second).await;

    // Itself, and no other.
    assert_eq!(scene.machine.basic("revoke", &[("token", &first)]).await.status, 200);
    scene.ended(&first, "revoked").await;
    scene.opens(&second).await;

    // The endpoint takes keys alone.
    scene.patch(&format!("/endpoints/{}", scene.endpoint.id), json!({"accepts": ["api_key"]})).await;
    scene.ended(&second, "tokens are not accepted").await;
    scene.patch(&format!("/endpoints/{}", scene.endpoint.id), json!({"accepts": ["access_token"]})).await;
    scene.opens(&second).await;
    let key = scene.endpoint.caller().call("echo").await;
    assert_eq!((key.status, key.code().as_str()), (401, "credential_invalid"), "keys are not accepted");

    // Its signing key, and not what another signs.
    let keys = scene.tenant.admin.get(&format!("{}/signing-keys", scene.tenant.base)).await.unwrap();
    let key = text(&keys["items"][0], "id");
    scene.tenant.post("/signing-keys", json!({"at_once": true})).await;
    scene.opens(&second).await;
    let third = scene.machine.token().await;
    let path = format!("{}/signing-keys/{key}?wait=applied", scene.tenant.base);
    scene.tenant.admin.delete(&path).await.unwrap();
    scene.ended(&second, "its signing key was revoked").await;
    scene.opens(&third).await;

    // Its client; it does not come back when the client does.
    scene.patch(&client, json!({"enabled": false})).await;
    scene.ended(&third, "its client was switched off").await;
    assert_eq!(scene.machine.ask(&[]).await.error(), "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_for_one_endpoint_of_one_tenant() {
    let scene = Scene::new().await;
    let another = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let second = scene.tenant.endpoint("second", &another).await;
    let path = format!("{}/clients/{}/endpoints/{}", scene.tenant.base, scene.machine.client, second.id);
    scene.tenant.admin.put(&format!("{path}?wait=applied"), json!({})).await.unwrap();
    let other = scene.gateway.tenant("other").await;
    other.post("/signing-keys", json!({})).await;
    let foreign = other.endpoint("tools", &scene.upstream).await;
    let stranger = Machine::new(&scene.gateway, &other, "machine", &[&foreign.id]).await;

    let metadata =
        format!("{}/.well-known/oauth-protected-resource{}", scene.gateway.url(0), scene.endpoint.path);
    let metadata: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    let resource = text(&metadata, "resource");
    let token = text(&scene.machine.ask(&[("resource", &resource)]).await.body, "access_token");
    scene.opens(&token).await;
    for (url, token) in
        [(&second.url, token.clone()), (&foreign.url, token), (&scene.endpoint.url, stranger.token().await)]
    {
        let answer = Caller::new(url, &token).call("echo").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"), "{url}");
    }
    assert_eq!(stranger.ask(&[("resource", &resource)]).await.error(), "invalid_target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_with_its_token() {
    let scene = Scene::new().await;
    let token = scene.machine.token().await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1}});
    scene.upstream.next(Behaviour::Hang(progress));
    let caller = Caller::new(&scene.endpoint.url, &token);
    let (caller, call) = caller.modern("tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    let mut stream = caller.open(call).await;
    assert!(stream.chunk().await.unwrap().is_some());
    assert_eq!(scene.machine.basic("revoke", &[("token", &token)]).await.status, 200);
    let mut rest = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.contains("\"credential_invalid\""), "{rest}");
    scene.ended(&token, "revoked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_gateway_is_renamed_tokens_are_for_its_new_name() {
    let mut scene = Scene::new().await;
    let old = scene.machine.token().await;
    scene.opens(&old).await;
    scene.gateway.stop_control().await;
    scene.opens(&old).await;
    scene.gateway.start_control_renamed(4).await;
    scene.ended(&old, "it is for the old name").await;
    let new = scene.machine.token().await;
    scene.opens(&new).await;
}
