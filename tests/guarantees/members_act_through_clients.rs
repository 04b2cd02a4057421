//! R1, R4, R9, R20, R59: a client that acts for a member may do what the member may, and neither more than the token's scopes nor
//! anything that the client is forbidden; what it has for one member is not another's, and it ends with the member.

use harness::{
    Behaviour, Caller, Endpoint, Gateway, Machine, Person, Tenant, Upstream, eventually, forge, text, tool,
};
use portcullis_cli::rest::RestError;
use serde_json::{Value, json};
use sqlx::PgPool;

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    tenant: Tenant,
    endpoint: Endpoint,
    machine: Machine,
    role: String,
    ann: Person,
    bob: Person,
}

impl Scene {
    /// Ann has a role that may call `theirs`, Bob has nothing; the client itself may call `own`; nobody may call `never` through it.
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(2).await;
        let tools = ["theirs", "own", "never", "hers"].map(|name| tool(name, "Does"));
        let upstream = Upstream::start(tools.to_vec()).await;
        let tenant = gateway.tenant("acme").await;
        tenant.post("/signing-keys", json!({})).await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        let machine = Machine::new(&gateway, &tenant, "app", &[&endpoint.id]).await;
        let ann = Person::join(&gateway, &tenant, "ann@acme.example").await;
        let bob = Person::join(&gateway, &tenant, "bob@acme.example").await;
        let role = text(&tenant.post("/roles", json!({"name": "agents"})).await, "id");
        let scene = Self { gateway, upstream, tenant, endpoint, machine, role, ann, bob };
        scene.give(&scene.ann).await;
        scene.grant(json!({"role": scene.role}), "permit", "theirs").await;
        scene.grant(json!({"role": scene.role}), "permit", "never").await;
        scene.grant(json!({"client": scene.machine.client}), "permit", "own").await;
        scene.grant(json!({"client": scene.machine.client}), "forbid", "never").await;
        scene
    }

    async fn give(&self, person: &Person) {
        let path = format!("{}/members/{}/roles/{}?wait=applied", self.tenant.base, person.member, self.role);
        self.tenant.admin.put(&path, json!({})).await.unwrap();
    }

    async fn grant(&self, subject: Value, effect: &str, tool: &str) {
        let tools = json!({"names": [tool]});
        let actions = json!([{"action": "call_tool", "upstream": self.endpoint.upstream, "tools": tools}]);
        let grant = json!({"subject": subject, "effect": effect, "actions": actions});
        self.tenant.post("/grants?wait=applied", grant).await;
    }

    /// A token that the client has for somebody.
    async fn token(&self, person: &Person) -> String {
        let own = self.machine.token().await;
        forge::altered(&self.gateway, &self.tenant, &own, json!({"sub": person.member})).await
    }

    fn at(&self, proxy: usize, token: &str) -> Caller {
        Caller::new(&format!("{}{}", self.gateway.url(proxy), self.endpoint.path), token)
    }

    /// Refused at both proxies.
    async fn ended(&self, token: &str, why: &str) {
        for proxy in 0..2 {
            eventually(why, async || {
                let answer = self.at(proxy, token).call("theirs").await;
                (answer.status, answer.code()) == (401, "credential_invalid".to_owned())
            })
            .await;
        }
    }

    async fn enable(&self, person: &Person, enabled: bool) {
        let path = format!("{}/members/{}?wait=applied", self.tenant.base, person.member);
        self.tenant.admin.patch(&path, json!({"enabled": enabled})).await.unwrap();
    }
}

/// `ok`, or the code of its refusal.
async fn outcome(caller: &Caller, tool: &str) -> String {
    let answer = caller.call(tool).await;
    if answer.tool_text().starts_with("ok: ") { "ok".to_owned() } else { answer.code() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_permitted_to_the_member_and_forbidden_to_both() {
    let scene = Scene::new().await;
    let (ann, bob) = (scene.token(&scene.ann).await, scene.token(&scene.bob).await);
    let own = scene.machine.token().await;
    for (token, opened) in [(&ann, ["theirs"]), (&own, ["own"])] {
        for name in ["theirs", "own", "never", "hers"] {
            let expected = if opened.contains(&name) { "ok" } else { "tool_not_granted" };
            assert_eq!(outcome(&scene.at(0, token), name).await, expected, "{name}");
        }
        assert_eq!(scene.at(0, token).tools().await, opened);
    }
    assert_eq!(outcome(&scene.at(0, &bob), "theirs").await, "tool_not_granted");
    // A grant to herself; and one that asks for a scope.
    scene.grant(json!({"member": scene.ann.member}), "permit", "hers").await;
    assert_eq!(outcome(&scene.at(0, &ann), "hers").await, "ok");
    assert_eq!(outcome(&scene.at(0, &own), "hers").await, "tool_not_granted");
    assert_eq!(outcome(&scene.at(0, &bob), "hers").await, "tool_not_granted");

    let unknown = json!({"sub": "mem_01hf7yat00ec1r60r30c1g60r3"});
    let nobody = forge::altered(&scene.gateway, &scene.tenant, &own, unknown).await;
    scene.ended(&nobody, "a member who is none").await;
    let path = format!("{}/grants", scene.tenant.base);
    let actions = json!([{"action": "complete", "upstream": scene.endpoint.upstream}]);
    let grant = |member: &str| json!({"subject": {"member": member}, "actions": actions});
    match scene.tenant.admin.post(&path, grant("mem_01hf7yat00ec1r60r30c1g60r3")).await {
        Err(RestError::Refused { problem, .. }) => {
            assert_eq!(problem["errors"][0]["pointer"], "/subject/member");
        }
        other => panic!("{other:?}"),
    }
    let made = scene.tenant.admin.post(&path, grant(&scene.ann.member)).await.unwrap();
    assert_eq!(made["subject"], json!({"member": scene.ann.member}));

    eventually("records name the member", async || {
        let records = scene.tenant.audit("method=tools/call&limit=200").await;
        let hers = |record: &Value| record["member_id"] == scene.ann.member.as_str();
        let through = |record: &Value| record["client_id"] == scene.machine.client.as_str();
        let bare = |record: &Value| record["member_id"].is_null() && record["target"] == "own";
        records.iter().any(|record| hers(record) && through(record) && record["target"] == "hers")
            && records.iter().any(bare)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_for_one_member_is_not_anothers() {
    let scene = Scene::new().await;
    scene.give(&scene.bob).await;
    let (ann, bob) = (scene.token(&scene.ann).await, scene.token(&scene.bob).await);
    let (session, answer) = scene.at(0, &ann).initialize("2025-11-25").await;
    let id = answer.header("mcp-session-id").to_owned();
    let call = json!({"name": "theirs", "arguments": {}});
    assert_eq!(session.legacy("tools/call", call.clone()).await.tool_text(), "ok: theirs");
    // With another token of hers it goes on, at any proxy.
    let renewed = session.with_header("authorization", &format!("Bearer {}", scene.token(&scene.ann).await));
    let elsewhere = renewed.at(&format!("{}{}", scene.gateway.url(1), scene.endpoint.path));
    assert_eq!(elsewhere.legacy("tools/call", call.clone()).await.tool_text(), "ok: theirs");
    for token in [&bob, &scene.machine.token().await] {
        let thief = scene.at(0, token).with_header("mcp-protocol-version", "2025-11-25");
        let answer = thief.with_header("mcp-session-id", &id).legacy("tools/call", call.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "session_not_found"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_member_ends_what_was_given_for_them() {
    let scene = Scene::new().await;
    scene.give(&scene.bob).await;
    let (ann, bob) = (scene.token(&scene.ann).await, scene.token(&scene.bob).await);
    for token in [&ann, &bob] {
        for proxy in 0..2 {
            assert_eq!(outcome(&scene.at(proxy, token), "theirs").await, "ok", "warm");
        }
    }
    // Her role is taken away, and given back.
    let relation =
        format!("{}/members/{}/roles/{}?wait=applied", scene.tenant.base, scene.ann.member, scene.role);
    scene.tenant.admin.delete(&relation).await.unwrap();
    assert_eq!(outcome(&scene.at(0, &ann), "theirs").await, "tool_not_granted");
    assert_eq!(outcome(&scene.at(0, &bob), "theirs").await, "ok", "who has it still");
    scene.give(&scene.ann).await;
    assert_eq!(outcome(&scene.at(0, &ann), "theirs").await, "ok");

    // A stream of hers is open while she is switched off.
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1}});
    scene.upstream.next(Behaviour::Hang(progress));
    let (caller, call) = scene.at(0, &ann).modern("tools/call", json!({"name": "theirs", "arguments": {}}));
    let mut stream = caller.open(call).await;
    assert!(stream.chunk().await.unwrap().is_some());
    scene.enable(&scene.ann, false).await;
    let mut rest = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.contains("\"credential_invalid\""), "{rest}");
    scene.ended(&ann, "she was switched off").await;
    assert_eq!(outcome(&scene.at(0, &bob), "theirs").await, "ok");
    // What was given before stays dead when she is back.
    scene.enable(&scene.ann, true).await;
    scene.ended(&ann, "it was given before").await;
    let later = scene.token(&scene.ann).await;
    assert_eq!(outcome(&scene.at(0, &later), "theirs").await, "ok");
    for (token, active) in [(&ann, false), (&later, true), (&bob, true)] {
        let seen = scene.machine.basic("introspect", &[("token", token)]).await;
        assert_eq!(seen.body["active"], active);
    }
    // Gone for good.
    let path = format!("{}/members/{}?wait=applied", scene.tenant.base, scene.ann.member);
    scene.tenant.admin.delete(&path).await.unwrap();
    scene.ended(&later, "she was removed").await;
    assert_eq!(outcome(&scene.at(0, &bob), "theirs").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_stopped_as_a_principal_and_nobody_else_is() {
    let scene = Scene::new().await;
    scene.give(&scene.bob).await;
    let (ann, bob) = (scene.token(&scene.ann).await, scene.token(&scene.bob).await);
    let kill = json!({"level": "principal", "target": scene.ann.member, "reason": "her agent runs wild"});
    let kill = scene.tenant.post("/kills", kill).await;
    for proxy in 0..2 {
        eventually("she is stopped", async || outcome(&scene.at(proxy, &ann), "theirs").await == "killed")
            .await;
        assert_eq!(outcome(&scene.at(proxy, &bob), "theirs").await, "ok");
        assert_eq!(outcome(&scene.at(proxy, &scene.machine.token().await), "own").await, "ok");
    }
    let lift = json!({"reason": "mended", "epoch": kill["epoch"]});
    scene.tenant.post(&format!("/kills/{}/lift", text(&kill, "id")), lift).await;
    eventually("she goes on", async || outcome(&scene.at(0, &ann), "theirs").await == "ok").await;
}

/// As the withdrawal of a consent leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tokens_of_a_member_end_through_one_client_alone() {
    let scene = Scene::new().await;
    let second = Machine::new(&scene.gateway, &scene.tenant, "second", &[&scene.endpoint.id]).await;
    let (token, other) = (scene.token(&scene.ann).await, second.token().await);
    let other = forge::altered(&scene.gateway, &scene.tenant, &other, json!({"sub": scene.ann.member})).await;
    for token in [&token, &other] {
        assert_eq!(outcome(&scene.at(0, token), "theirs").await, "ok");
    }
    let uuid = |id: &str| id.parse::<ids::MemberId>().map(|id| id.uuid());
    let (member, client) =
        (uuid(&scene.ann.member).unwrap(), scene.machine.client.parse::<ids::ClientId>().unwrap());
    let tenant = scene.tenant.id.parse::<ids::TenantId>().unwrap().uuid();
    let both = crypto::digest::sha256_parts(&[member.as_bytes(), client.uuid().as_bytes()]);
    let both = ids::Uuid::from_slice(&both[..16]).unwrap();
    let database = PgPool::connect(&scene.gateway.database_url).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO revocations (tenant_id, kind, subject_id, issued_before, epoch, member_id, client_id)
         SELECT $1, 'member_client_tokens', $2, clock_timestamp(), epoch + 1, $3, $4 FROM kill_epochs",
    )
    .bind(tenant)
    .bind(both)
    .bind(member)
    .bind(client.uuid())
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("UPDATE kill_epochs SET epoch = epoch + 1").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    scene.ended(&token, "she withdrew her consent").await;
    assert_eq!(outcome(&scene.at(0, &other), "theirs").await, "ok", "through another client");
    assert_eq!(outcome(&scene.at(0, &scene.machine.token().await), "own").await, "ok", "the client itself");
    let seen = scene.machine.basic("introspect", &[("token", &token)]).await;
    assert_eq!(seen.body, json!({"active": false}));
    let seen = second.basic("introspect", &[("token", &other)]).await;
    assert_eq!(seen.body["active"], true);
}
