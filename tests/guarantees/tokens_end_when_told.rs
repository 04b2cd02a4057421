//! R3, R4, R59: a client ends its own tokens (RFC 7009) and asks about them (RFC 7662); nobody learns anything of others'. What ended them
//! goes out on the kill stream.

use std::time::Duration;

use harness::{Caller, Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use seams::SystemEntropy;
use serde_json::{Value, json};
use sqlx::PgPool;

async fn machine(gateway: &Gateway, tenant: &Tenant, name: &str) -> Machine {
    let slug = format!("tools-{name}");
    let tools = text(&tenant.post("/endpoints", json!({"slug": slug, "name": slug})).await, "id");
    Machine::new(gateway, tenant, name, &[&tools]).await
}

/// What the client is told of the token.
async fn told(machine: &Machine, token: &str) -> Value {
    let answered = machine.basic("introspect", &[("token", token)]).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.headers["cache-control"], "no-store");
    answered.body
}

/// What is said of everything that is no token of the client that lives.
fn nothing() -> Value {
    json!({"active": false})
}

async fn revoke(machine: &Machine, token: &str) -> u16 {
    machine.basic("revoke", &[("token", token)]).await.status
}

/// Kinds of what is revoked, with the epochs that told proxies of it.
async fn revocations(gateway: &Gateway) -> Vec<(String, i64)> {
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let rows = sqlx::query_as("SELECT kind, epoch FROM revocations ORDER BY epoch");
    rows.fetch_all(&database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_revokes_its_own_token_and_no_other() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let (one, two) = (machine(&gateway, &acme, "one").await, machine(&gateway, &acme, "two").await);
    let stranger = machine(&gateway, &other, "three").await;
    let (token, second) = (one.token().await, one.token().await);
    assert_eq!(told(&one, &token).await["active"], true);

    assert_eq!(revoke(&one, "no-token").await, 200, "an unknown token");
    let refused = two.basic("revoke", &[("token", &token)]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"), "another client's");
    assert_eq!(revoke(&stranger, &token).await, 200, "another tenant's is an unknown one");
    assert_eq!(revocations(&gateway).await, []);
    assert_eq!(told(&one, &token).await["active"], true, "not revoked by others");
    let stranger_says = one.bare("revoke", &[("token", &token)]).await;
    assert_eq!((stranger_says.status, stranger_says.error().as_str()), (401, "invalid_client"), "nobody");
    assert_eq!(one.basic("revoke", &[]).await.error(), "invalid_request", "no token");

    for _ in 0..2 {
        assert_eq!(revoke(&one, &token).await, 200);
        assert_eq!(told(&one, &token).await, nothing());
    }
    assert_eq!(told(&one, &second).await["active"], true, "its other token");
    let revoked = revocations(&gateway).await;
    assert_eq!((revoked.len(), revoked[0].0.as_str()), (1, "token"), "once, and under an epoch of its own");
    let acts = acme.audit("method=revoke_token").await;
    // Newest first: its own, and what the other client wanted.
    assert_eq!((acts.len(), text(&acts[0], "actor")), (2, one.client.clone()));
    assert_eq!(
        (text(&acts[1], "actor"), text(&acts[1], "code")),
        (two.client, "oauth_client_unauthorized".into())
    );
    // At another replica of the installation too.
    let replica = gateway.replica().await;
    let elsewhere = Machine { url: format!("{}/t/acme", replica.auth_url), ..one.clone() };
    assert_eq!(told(&elsewhere, &token).await, nothing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_is_for_whom_the_token_was_given_to() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let (one, two) = (machine(&gateway, &acme, "one").await, machine(&gateway, &acme, "two").await);
    let stranger = machine(&gateway, &other, "three").await;
    let token = one.token().await;
    let unauthenticated = one.bare("introspect", &[("token", &token)]).await;
    assert_eq!((unauthenticated.status, unauthenticated.error().as_str()), (401, "invalid_client"));
    let seen = told(&one, &token).await;
    assert_eq!((&seen["active"], &seen["client_id"]), (&json!(true), &json!(one.client)));
    assert_eq!((&seen["iss"], &seen["token_type"]), (&json!(one.issuer), &json!("Bearer")));
    assert_eq!(seen["aud"], "http://127.0.0.1:3/acme/tools-one/mcp");
    assert!(text(&seen, "jti").starts_with("tok_") && seen["exp"].is_u64() && seen["iat"].is_u64());

    assert_eq!(told(&two, &token).await, nothing(), "another client's");
    assert_eq!(told(&stranger, &token).await, nothing(), "another tenant's");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let changed = signature.replace('A', "B");
    assert_eq!(told(&one, &format!("{message}.{changed}x")).await, nothing(), "another signature");
    let own = crypto::jwt::generate(crypto::jwt::Algorithm::Es256, &SystemEntropy).unwrap().0;
    let key = acme.admin.get(&format!("{}/signing-keys", acme.base)).await.unwrap();
    let kid = text(&key["items"][0], "id");
    assert_eq!(told(&one, &own.sign(&kid, "at+jwt", &seen).unwrap()).await, nothing(), "forged");
    let claims = one.claims("assertion");
    assert_eq!(told(&one, &own.sign(&kid, "JWT", &claims).unwrap()).await, nothing(), "an assertion");
    for text in ["", "x", "a.b.c", &"x".repeat(9_000)] {
        let answered = one.basic("introspect", &[("token", text)]).await;
        assert!(answered.status == 400 || answered.body == nothing(), "{answered:?}");
    }
    gateway.control_clock().set_forward(Duration::from_secs(901));
    assert_eq!(told(&one, &token).await, nothing(), "it has expired");
    let token = one.token().await;
    let signing = format!("{}/signing-keys", acme.base);
    acme.admin.post(&signing, json!({"at_once": true})).await.unwrap();
    assert_eq!(told(&one, &token).await["active"], true, "its key is published still");
    acme.admin.delete(&format!("{signing}/{kid}")).await.unwrap();
    assert_eq!(told(&one, &token).await, nothing(), "its key was revoked");
    assert_eq!(told(&one, &one.token().await).await["active"], true, "the next key signs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_their_secret_and_end_with_their_client() {
    let gateway = Gateway::with_proxies(0).await;
    let acme = gateway.tenant("acme").await;
    let machine = machine(&gateway, &acme, "one").await;
    let token = machine.token().await;
    let secrets = format!("/clients/{}/secrets", machine.client);
    let made = acme.post(&secrets, json!({"name": "second"})).await;
    let machine = Machine { secret: text(&made, "secret"), ..machine };
    acme.admin.delete(&format!("{}{secrets}/{}", acme.base, machine.secret_id)).await.unwrap();
    assert_eq!(told(&machine, &token).await["active"], true, "its secret was revoked");

    // Killed, for as long as it is; disabled, for good.
    let kill = acme.post("/kills", json!({"level": "client", "target": machine.client, "reason": "r"})).await;
    assert_eq!(told(&machine, &token).await, nothing(), "killed");
    let lift = format!("/kills/{}/lift", text(&kill, "id"));
    acme.post(&lift, json!({"reason": "r", "epoch": kill["epoch"]})).await;
    assert_eq!(told(&machine, &token).await["active"], true, "lifted");
    let client = format!("{}/clients/{}", acme.base, machine.client);
    acme.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    acme.admin.patch(&client, json!({"enabled": true})).await.unwrap();
    assert_eq!(told(&machine, &token).await, nothing(), "it was disabled meanwhile");
    assert_eq!(told(&machine, &machine.token().await).await["active"], true, "what it gets now");
    acme.admin.delete(&client).await.unwrap();
    let kinds: Vec<_> = revocations(&gateway).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["client_tokens", "client"]);
    assert_eq!(machine.ask(&[]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_take_the_issuers_tokens_until_they_are_revoked() {
    let gateway = Gateway::start().await;
    let acme = gateway.tenant("acme").await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let endpoint = acme.endpoint("tools", &upstream).await;
    let machine = Machine::new(&gateway, &acme, "machine", &[&endpoint.id]).await;
    let actions =
        json!([{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": ["echo"]}}]);
    let grant = json!({"subject": {"client": machine.client}, "actions": actions});
    acme.post("/grants?wait=applied", grant).await;
    let (token, second) = (machine.token().await, machine.token().await);
    let call = async |token: &str| {
        let answer = Caller::new(&endpoint.url, token).call("echo").await;
        if answer.tool_text().is_empty() { answer.code() } else { "called".to_owned() }
    };
    eventually("the token is taken", async || call(&token).await == "called").await;
    assert_eq!(call(&second).await, "called");
    assert_eq!(revoke(&machine, &token).await, 200);
    eventually("it is refused", async || call(&token).await == "credential_invalid").await;
    assert_eq!(call(&second).await, "called", "the other one lives");
    let client = format!("{}/clients/{}", acme.base, machine.client);
    acme.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    acme.admin.patch(&format!("{client}?wait=applied"), json!({"enabled": true})).await.unwrap();
    eventually("it has ended with the others", async || call(&second).await == "credential_invalid").await;
    let third = machine.token().await;
    eventually("what it is given now is taken", async || call(&third).await == "called").await;
}
