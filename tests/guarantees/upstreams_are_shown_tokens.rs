//! R22, R31, R57: the gateway gets access tokens for an upstream as a client of its issuer; they are that upstream's alone, asked for
//! once by all who wait, renewed in time, and what goes wrong is refused without telling anybody's secret.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::jwt::{Algorithm, Token, generate};
use futures_util::future::join_all;
use harness::{Behaviour, Endpoint, Gateway, Tenant, TokenServer, Upstream, eventually, text, tool};
use portcullis_cli::rest::RestError;
use seams::SystemEntropy;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    tokens: TokenServer,
    tenant: Tenant,
    endpoint: Endpoint,
}

impl Scene {
    async fn new() -> Self {
        let gateway = Gateway::start().await;
        let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
        let tokens = TokenServer::start("mine").await;
        let (tenant, endpoint) = served(&gateway, "acme", &upstream).await;
        tenant.allow_egress(tokens.port()).await;
        Self { gateway, upstream, tokens, tenant, endpoint }
    }

    fn client(&self) -> Value {
        client(&self.tokens)
    }

    async fn set(&self, oauth: Value) -> Value {
        set(&self.tenant, &self.endpoint, oauth).await
    }

    /// What the server was shown by a call that must succeed.
    async fn shown(&self) -> String {
        assert_eq!(self.endpoint.caller().call("echo").await.tool_text(), "ok: echo");
        authorization(&self.upstream)
    }

    /// The code of a call's refusal, and its reason.
    async fn refused(&self) -> (String, String) {
        let answer = self.endpoint.caller().call("echo").await;
        let reason = answer.json()["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned();
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"), "{answer:?}");
        (answer.code(), reason)
    }
}

async fn served(gateway: &Gateway, slug: &str, upstream: &Upstream) -> (Tenant, Endpoint) {
    let tenant = gateway.tenant(slug).await;
    let endpoint = tenant.endpoint("tools", upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    (tenant, endpoint)
}

fn client(tokens: &TokenServer) -> Value {
    json!({
        "token_endpoint": tokens.endpoint(), "client_id": "gate way", "authentication": "client_secret_basic",
        "secret": "hunter2:&", "scope": "files:read files:write",
    })
}

async fn set(tenant: &Tenant, endpoint: &Endpoint, oauth: Value) -> Value {
    let path = format!("{}/upstreams/{}/oauth?wait=applied", tenant.base, endpoint.upstream);
    tenant.admin.put(&path, oauth).await.unwrap()
}

fn authorization(upstream: &Upstream) -> String {
    upstream.calls().pop().unwrap().headers["authorization"].to_str().unwrap().to_owned()
}

fn unauthorized() -> Behaviour {
    Behaviour::Raw { status: 401, content_type: "text/plain", headers: Vec::new(), body: "no".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_at_once_ask_once_and_the_token_is_the_upstreams_alone() {
    let scene = Scene::new().await;
    scene.tokens.set_after(Duration::from_millis(300));
    let shown = scene.set(scene.client()).await;
    assert!(!shown.to_string().contains("hunter2") && shown.get("secret").is_none(), "{shown}");
    let calls = (0..100).map(|_| {
        let caller = scene.endpoint.caller();
        async move { caller.call("echo").await }
    });
    let answers = join_all(calls).await;
    let (well, limited): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.code().is_empty());
    assert!(well.len() >= 20 && limited.iter().all(|it| it.code().ends_with("limited")), "{limited:?}");
    assert_eq!(scene.tokens.asked().len(), 1, "one asks for all");
    for seen in scene.upstream.calls() {
        assert_eq!(seen.headers["authorization"], "Bearer mine-1");
    }
    let asked = scene.tokens.asked().remove(0);
    let basic = STANDARD.encode("gate+way:hunter2%3A%26");
    assert_eq!(asked.headers["authorization"], format!("Basic {basic}"));
    let url = scene.upstream.url();
    for (name, value) in
        [("grant_type", "client_credentials"), ("scope", "files:read files:write"), ("resource", &*url)]
    {
        assert_eq!(asked.form[name], value);
    }
    assert!(!asked.form.contains_key("client_secret"));
    let key = scene.endpoint.key.expose_secret();
    assert!(!format!("{asked:?}").contains(key), "the caller's key reached the issuer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_token_is_never_shown_whatever_they_have_in_common() {
    let scene = Scene::new().await;
    let theirs = TokenServer::start("theirs").await;
    let (stranger, their_endpoint) = served(&scene.gateway, "other", &scene.upstream).await;
    stranger.allow_egress(theirs.port()).await;
    stranger.allow_egress(scene.tokens.port()).await;
    scene.set(scene.client()).await;
    set(&stranger, &their_endpoint, client(&theirs)).await;
    for _ in 0..3 {
        assert_eq!(scene.shown().await, "Bearer mine-1");
        assert_eq!(their_endpoint.caller().call("echo").await.tool_text(), "ok: echo");
        assert_eq!(authorization(&scene.upstream), "Bearer theirs-1");
    }
    // The same settings to the letter, at the same server: a token of its own all the same.
    set(&stranger, &their_endpoint, scene.client()).await;
    their_endpoint.caller().call("echo").await;
    assert_eq!(authorization(&scene.upstream), "Bearer mine-2");
    assert_eq!(scene.shown().await, "Bearer mine-1");
    let path = format!("{}/upstreams/{}/oauth?wait=applied", stranger.base, their_endpoint.upstream);
    stranger.admin.delete(&path).await.unwrap();
    their_endpoint.caller().call("echo").await;
    assert!(!scene.upstream.calls().pop().unwrap().headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_renewed_before_they_end_and_with_another_secret_at_once() {
    let scene = Scene::new().await;
    scene.tokens.set_life(4);
    scene.set(scene.client()).await;
    assert_eq!(scene.shown().await, "Bearer mine-1");
    // Another configuration with the same settings takes the token over.
    scene.tenant.post("/roles?wait=applied", json!({"name": "unrelated"})).await;
    assert_eq!(scene.shown().await, "Bearer mine-1");
    scene.tokens.set_after(Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    scene.tokens.set_life(300);
    assert_eq!(scene.shown().await, "Bearer mine-1", "nobody waits for the one that follows");
    eventually("the one that follows is shown", async || scene.shown().await == "Bearer mine-2").await;
    assert_eq!(scene.tokens.asked().len(), 2);

    let mut rotated = scene.client();
    rotated["secret"] = json!("another");
    let fingerprint = |shown: &Value| text(shown, "fingerprint");
    let (first, second) =
        (fingerprint(&scene.set(scene.client()).await), fingerprint(&scene.set(rotated).await));
    assert_ne!(first, second);
    assert_eq!(scene.shown().await, "Bearer mine-3");
    let basic = STANDARD.encode("gate+way:another");
    assert_eq!(scene.tokens.asked().pop().unwrap().headers["authorization"], format!("Basic {basic}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_server_refuses_is_dropped_once_and_the_call_sent_once_more() {
    let scene = Scene::new().await;
    scene.set(scene.client()).await;
    // Got for this very call: another would be refused too.
    scene.upstream.next(unauthorized());
    assert_eq!(scene.refused().await.0, "upstream_unauthorized");
    assert_eq!(scene.tokens.asked().len(), 1);
    assert_eq!(scene.shown().await, "Bearer mine-1");
    tokio::time::sleep(Duration::from_millis(10_200)).await;
    let before = scene.upstream.calls().len();
    scene.upstream.next(unauthorized());
    assert_eq!(scene.shown().await, "Bearer mine-2");
    assert_eq!(scene.upstream.calls().len(), before + 2, "once more");
    scene.upstream.next(unauthorized());
    assert_eq!(scene.refused().await.0, "upstream_unauthorized");
    assert_eq!(scene.tokens.asked().len(), 2, "a server that refuses everything costs its issuer nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nothing_goes_out_and_the_reason_tells_no_secret() {
    let scene = Scene::new().await;
    scene.set(scene.client()).await;
    let unavailable = |reason: &str| ("upstream_credential_unavailable".to_owned(), reason.to_owned());
    let large = format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "a".repeat(100_000));
    let away = vec![("location", format!("{}/elsewhere", scene.tokens.issuer()))];
    let before = scene.upstream.calls().len();
    for (answer, reason) in [
        (
            (401, Vec::new(), r#"{"error":"invalid_client","error_description":"hunter2"}"#.into()),
            "token_refused",
        ),
        ((500, Vec::new(), "hunter2".into()), "token_answer_unusable"),
        ((302, away, "".into()), "token_answer_unusable"),
        ((200, Vec::new(), large.into()), "token_answer_unusable"),
        ((200, Vec::new(), r#"{"access_token":"a","token_type":"mac"}"#.into()), "token_answer_unusable"),
    ] {
        scene.tokens.set_instead(Some(answer));
        // Other settings: what has failed before is not asked for again at once.
        let mut other = scene.client();
        other["scope"] = json!(format!("of-{reason}-{}", scene.tokens.asked().len()));
        scene.set(other).await;
        let asked = scene.tokens.asked().len();
        assert_eq!(scene.refused().await, unavailable(reason));
        assert_eq!(scene.refused().await, unavailable(reason));
        assert_eq!(scene.tokens.asked().len(), asked + 1, "{reason}: not again at once");
    }
    assert_eq!(scene.upstream.calls().len(), before, "nothing goes out without it");
    scene.tokens.set_instead(None);
    eventually("it is asked for again", async || scene.refused().await.0.is_empty()).await;

    // Where the tenant's egress does not lead, and where nobody listens.
    for (url, reason) in [
        ("https://localhost:1/token", "token_endpoint_address_refused"),
        (&*format!("https://127.0.0.1:{}/token", scene.tokens.port()), "token_endpoint_unreachable"),
    ] {
        let mut other = scene.client();
        other["token_endpoint"] = json!(url);
        scene.set(other).await;
        assert_eq!(scene.refused().await, unavailable(reason), "{url}");
    }
    scene.tokens.set_after(Duration::from_secs(60));
    scene.set(scene.client()).await;
    assert_eq!(scene.refused().await, unavailable("token_endpoint_timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_says_where_tokens_are_given_and_is_the_one_that_was_named() {
    let scene = Scene::new().await;
    let (private, public) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(private.pkcs8())
    );
    let by_key = json!({
        "issuer": scene.tokens.issuer(), "client_id": "gateway", "authentication": "private_key_jwt", "secret": pem,
        "key_id": "one", "resource": "",
    });
    scene.set(by_key.clone()).await;
    let (code, reason) = scene.refused().await;
    assert_eq!((&*code, &*reason), ("upstream_credential_unavailable", "issuer_metadata_unusable"));
    scene.tokens.set_metadata("https://somebody-else.example");
    let again = |name: &str| {
        let mut again = by_key.clone();
        again["client_id"] = json!(name);
        again
    };
    scene.set(again("other")).await;
    assert_eq!(scene.refused().await.1, "issuer_metadata_unusable");
    assert_eq!(scene.tokens.asked().len(), 0, "another's issuer is shown nothing");
    scene.tokens.set_metadata(&scene.tokens.issuer());
    scene.set(again("third")).await;
    assert_eq!(scene.shown().await, "Bearer mine-1");
    let asked = scene.tokens.asked().remove(0);
    let assertion = Token::parse(&asked.form["client_assertion"]).unwrap();
    assert!(public.signed(&assertion) && assertion.kid().as_str() == "one");
    let claims: Value = assertion.claims().unwrap();
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("third"), &json!("third")));
    assert_eq!(claims["aud"], json!(scene.tokens.issuer()));
    assert!(!asked.form.contains_key("resource") && !asked.headers.contains_key("authorization"));

    // By the body.
    let mut by_body = scene.client();
    by_body["authentication"] = json!("client_secret_post");
    scene.set(by_body).await;
    scene.shown().await;
    let asked = scene.tokens.asked().pop().unwrap();
    assert_eq!((&*asked.form["client_id"], &*asked.form["client_secret"]), ("gate way", "hunter2:&"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_give_a_secret_away_is_not_taken() {
    let scene = Scene::new().await;
    let path = format!("{}/upstreams/{}", scene.tenant.base, scene.endpoint.upstream);
    for (change, pointer) in [
        (json!({"token_endpoint": "http://auth.example.com/token"}), "/token_endpoint"),
        (json!({"token_endpoint": "https://10.0.0.1/token"}), "/token_endpoint"),
        (json!({"token_endpoint": "https://169.254.169.254/"}), "/token_endpoint"),
        (json!({"token_endpoint": null}), "/token_endpoint"),
        (json!({"issuer": "https://auth.example.com"}), "/token_endpoint"),
        (json!({"client_id": ""}), "/client_id"),
        (json!({"scope": "a  b"}), "/scope"),
        (json!({"resource": "no uri"}), "/resource"),
        (json!({"key_id": "one"}), "/key_id"),
        (json!({"authentication": "private_key_jwt", "key_id": "one"}), "/secret"),
        (json!({"ca_pem": "none"}), "/ca_pem"),
    ] {
        let mut oauth = scene.client();
        for (name, value) in change.as_object().unwrap() {
            oauth[name] = value.clone();
        }
        match scene.tenant.admin.put(&format!("{path}/oauth"), oauth).await {
            Err(RestError::Refused { problem, .. }) => {
                let errors = problem["errors"].as_array().unwrap();
                assert!(errors.iter().any(|error| error["pointer"] == pointer), "{pointer}: {problem}");
            }
            other => panic!("{pointer}: {other:?}"),
        }
    }
    // Two credentials in one header.
    scene.set(scene.client()).await;
    let header = json!({"header": "Authorization", "value": "Bearer x"});
    let error = scene.tenant.admin.post(&format!("{path}/credentials"), header).await.unwrap_err();
    assert!(error.to_string().contains("422"), "{error}");
    let bearer = json!({"sent_as": "bearer"});
    let error = scene.tenant.admin.put(&format!("{path}/assertion"), bearer).await.unwrap_err();
    assert!(error.to_string().contains("422"), "{error}");
    // Discovery shows the token too.
    let before = scene.upstream.received().len();
    scene.tenant.post(&format!("/upstreams/{}/discover", scene.endpoint.upstream), json!({})).await;
    eventually("it is discovered", async || scene.upstream.received().len() > before).await;
    assert_eq!(scene.upstream.received()[before].headers["authorization"], "Bearer mine-1");
}
