//! R1, R6, R50, G1: an endpoint says by what callers show who they are; anything else is refused with the challenge of what it accepts,
//! and nothing else. Passwords are off unless it says so, and said to be weak where they are on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use harness::{Answer, Caller, Endpoint, Gateway, Machine, Tenant, Upstream, eventually, text, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

struct Scene {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: Endpoint,
    _upstream: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let gateway = Gateway::start().await;
        let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
        let tenant = gateway.tenant("acme").await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        tenant.grant(&endpoint, &["echo"]).await;
        Self { gateway, tenant, endpoint, _upstream: upstream }
    }

    async fn accepting(&self, kinds: &[&str]) -> Value {
        let path = format!("{}/endpoints/{}?wait=applied", self.tenant.base, self.endpoint.id);
        self.tenant.admin.patch(&path, json!({"accepts": kinds})).await.unwrap()
    }

    fn key(&self) -> &str {
        self.endpoint.key.expose_secret()
    }

    async fn basic(&self, user: &str, password: &str) -> Answer {
        let credential = STANDARD.encode(format!("{user}:{password}"));
        let caller = Caller::anonymous(&self.endpoint.url);
        caller.with_header("authorization", &format!("Basic {credential}")).call("echo").await
    }
}

/// All challenges, in order.
fn challenges(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_a_key_and_is_taken_only_where_the_endpoint_says_so() {
    let scene = Scene::new().await;
    let client = scene.endpoint.client.clone();
    let usual =
        scene.tenant.admin.get(&format!("{}/endpoints/{}", scene.tenant.base, scene.endpoint.id)).await;
    assert_eq!(usual.unwrap()["weak"], json!([]));
    let off = scene.basic(&client, scene.key()).await;
    assert_eq!((off.status, off.code().as_str()), (401, "credential_missing"), "off by default");
    assert_eq!(challenges(&off).len(), 1, "{off:?}");
    assert!(challenges(&off)[0].starts_with("Bearer"), "{off:?}");

    let changed = scene.accepting(&["api_key", "basic"]).await;
    assert_eq!(changed["weak"], json!(["basic"]));
    assert_eq!(scene.basic(&client, scene.key()).await.tool_text(), "ok: echo");
    assert_eq!(scene.endpoint.caller().call("echo").await.status, 200);
    eventually("the record says how", async || {
        let records = scene.tenant.audit("method=tools/call&phase=outcome").await;
        let of = |how: Value| {
            let said = |record: &&Value| {
                record["credential"] == how
                    && record["key_id"] == scene.endpoint.key_id.as_str()
                    && record["client_id"] == client.as_str()
            };
            records.iter().filter(said).count()
        };
        of(json!("basic")) == 1 && of(Value::Null) == 1
    })
    .await;

    // Another client's name, a wrong password, another tenant's pair, what is no pair.
    let second = text(&scene.tenant.post("/clients", json!({"name": "second"})).await, "id");
    let other = scene.gateway.tenant("other").await;
    let foreign = other.post("/clients", json!({"name": "foreign"})).await;
    let foreign = text(&foreign, "id");
    let foreign_key =
        other.post(&format!("/clients/{foreign}/keys?wait=applied"), json!({"name": "k"})).await;
    for (user, password) in [
        (second.as_str(), scene.key()),
        ("", scene.key()),
        (&client, "pck_short"),
        (&client, ""),
        (&foreign, &text(&foreign_key, "key")),
        (&foreign, scene.key()),
    ] {
        let refused = scene.basic(user, password).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "credential_invalid"), "{user}");
        let said = challenges(&refused);
        assert_eq!(said.len(), 2, "{refused:?}");
        assert!(said[0].starts_with("Bearer error=\"invalid_token\""), "official clients read the first");
        assert_eq!(said[1], r#"Basic realm="portcullis""#);
    }
    let caller = Caller::anonymous(&scene.endpoint.url).with_header("authorization", "Basic bm8gY29sb24=");
    let refused = caller.call("echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "credential_malformed"));

    // A key that is revoked is no password any more.
    let path = format!("{}/clients/{client}/keys/{}?wait=applied", scene.tenant.base, scene.endpoint.key_id);
    scene.tenant.admin.delete(&path).await.unwrap();
    assert_eq!(scene.basic(&client, scene.key()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_accepted_is_refused_with_the_challenge_of_what_is() {
    let scene = Scene::new().await;
    scene.tenant.post("/signing-keys", json!({})).await;
    let machine = Machine::new(&scene.gateway, &scene.tenant, "machine", &[&scene.endpoint.id]).await;
    let token = machine.token().await;
    let key = scene.key().to_owned();
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{key}", scene.endpoint.client)));
    let shown =
        [("api_key", format!("Bearer {key}")), ("access_token", format!("Bearer {token}")), ("basic", basic)];
    let metadata = "resource_metadata=\"";
    for accepted in [
        &["api_key"][..],
        &["access_token"],
        &["basic"],
        &["api_key", "access_token"],
        &["access_token", "basic"],
        &["api_key", "access_token", "basic"],
    ] {
        scene.accepting(accepted).await;
        for (kind, credential) in &shown {
            let caller = Caller::anonymous(&scene.endpoint.url).with_header("authorization", credential);
            let answer = caller.call("echo").await;
            if accepted.contains(kind) {
                assert_ne!(answer.status, 401, "{kind} where {accepted:?}: {answer:?}");
                continue;
            }
            assert_eq!(answer.status, 401, "{kind} where {accepted:?}");
            let said = challenges(&answer);
            let tokens = accepted.contains(&"access_token");
            let bearer = tokens || accepted.contains(&"api_key");
            let found = said.iter().filter(|each| each.starts_with("Bearer")).count();
            assert_eq!(found, usize::from(bearer), "{kind} where {accepted:?}: {said:?}");
            assert_eq!(said.iter().any(|each| each.contains(metadata)), tokens, "{accepted:?}: {said:?}");
            let passwords = said.iter().filter(|each| each.starts_with("Basic")).count();
            assert_eq!(passwords, usize::from(accepted.contains(&"basic")), "{accepted:?}: {said:?}");
            assert_eq!(said.len(), found + passwords);
        }
        let nothing = Caller::anonymous(&scene.endpoint.url).call("echo").await;
        assert_eq!((nothing.status, nothing.code().as_str()), (401, "credential_missing"));
    }
}
