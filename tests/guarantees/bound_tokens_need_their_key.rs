//! R4, R20; RFC 9449: a token that is bound to a key is worth nothing to whoever has not the key, and a proof is for one request.

use crypto::jwt::Algorithm;
use harness::{
    Answered, Caller, Endpoint, Gateway, Machine, Tenant, Upstream, forge, prover::Prover, text, tool,
};
use serde_json::{Value, json};

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    tenant: Tenant,
    endpoint: Endpoint,
    machine: Machine,
    prover: Prover,
}

impl Scene {
    async fn new() -> Self {
        let gateway = Gateway::with_proxies(2).await;
        let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
        let tenant = gateway.tenant("acme").await;
        tenant.post("/signing-keys", json!({})).await;
        let endpoint = tenant.endpoint("tools", &upstream).await;
        let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint.id]).await;
        let theirs = Endpoint { client: machine.client.clone(), ..endpoint.clone() };
        tenant.grant(&theirs, &["echo"]).await;
        Self { gateway, upstream, tenant, endpoint, machine, prover: Prover::new(Algorithm::Es256) }
    }

    /// Asks for a token with a proof that is good but for what `change` says.
    async fn ask(&self, change: Value) -> Answered {
        let proof = self.prover.proof(&self.machine.token_endpoint(), change);
        self.machine.prove(&proof, &[]).await
    }

    async fn token(&self) -> String {
        self.prover.token(&self.machine, &[]).await
    }

    fn url(&self, proxy: usize) -> String {
        format!("{}{}", self.gateway.url(proxy), self.endpoint.path)
    }

    fn caller(&self, token: &str, change: Value) -> Caller {
        self.prover.caller(&self.url(0), token, change)
    }
}

fn no_proof(answered: &Answered, why: &str) {
    assert_eq!(
        (answered.status, answered.error().as_str()),
        (400, "invalid_dpop_proof"),
        "{why}: {answered:?}"
    );
    assert_eq!(answered.code(), "oauth_proof_invalid", "{why}");
    assert_eq!(answered.headers["cache-control"], "no-store");
}

async fn refused(caller: &Caller, code: &str, why: &str) {
    let answer = caller.call("echo").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, code), "{why}: {answer:?}");
    let error = match code {
        "proof_invalid" => "invalid_dpop_proof",
        "proof_nonce_required" => "use_dpop_nonce",
        _ => return,
    };
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with(&format!("DPoP error=\"{error}\"")), "{why}: {challenge}");
    assert!(challenge.contains("algs=\"RS256 ES256 EdDSA\""), "{why}: {challenge}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_a_key_gets_a_token_bound_to_it_and_calls_with_proofs() {
    let scene = Scene::new().await;
    for algorithm in Algorithm::ALL {
        let prover = Prover::new(algorithm);
        let token = prover.token(&scene.machine, &[]).await;
        let claims = forge::claims(&token);
        assert_eq!(claims["cnf"], json!({"jkt": prover.public.thumbprint()}));
        for proxy in 0..2 {
            for _ in 0..2 {
                let answer = prover.caller(&scene.url(proxy), &token, json!({})).call("echo").await;
                assert_eq!(answer.tool_text(), "ok: echo", "{algorithm:?}: {answer:?}");
            }
        }
        let seen = scene.machine.basic("introspect", &[("token", &token)]).await;
        assert_eq!((&seen.body["token_type"], &seen.body["cnf"]), (&json!("DPoP"), &claims["cnf"]));
    }
    // Both ends say what they take.
    let metadata = format!("{}/.well-known/oauth-authorization-server", scene.machine.url);
    let resource =
        format!("{}/.well-known/oauth-protected-resource{}", scene.gateway.url(0), scene.endpoint.path);
    for url in [metadata, resource] {
        let metadata: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        assert_eq!(
            metadata["dpop_signing_alg_values_supported"],
            json!(["RS256", "ES256", "EdDSA"]),
            "{url}"
        );
    }
    // Whoever brings no proof gets a bearer token, as before.
    let answered = scene.machine.ask(&[]).await;
    assert_eq!(text(&answered.body, "token_type"), "Bearer");
    let bearer = text(&answered.body, "access_token");
    assert_eq!(Caller::new(&scene.url(0), &bearer).call("echo").await.tool_text(), "ok: echo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_sent_as_bearer_is_refused_and_so_is_one_of_another_key() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    refused(&Caller::new(&scene.url(0), &token), "credential_invalid", "as bearer").await;
    let proof = scene.prover.proof(&scene.url(0), json!({}));
    let both = Caller::new(&scene.url(0), &token).with_header("dpop", &proof);
    refused(&both, "credential_invalid", "as bearer, with a proof").await;
    let thief = Prover::new(Algorithm::Es256);
    refused(&thief.caller(&scene.url(0), &token, json!({})), "proof_invalid", "by a thief").await;
    let unbound = scene.machine.token().await;
    refused(&scene.caller(&unbound, json!({})), "credential_invalid", "not bound").await;
    let bare = scene.caller(&token, json!({})).without_header("dpop");
    refused(&bare, "proof_invalid", "without a proof").await;
    // A confirmation that nobody here can check.
    let own = scene.machine.token().await;
    let certificate = json!({"cnf": {"x5t#S256": scene.prover.public.thumbprint()}});
    let certificate = forge::altered(&scene.gateway, &scene.tenant, &own, certificate).await;
    refused(&Caller::new(&scene.url(0), &certificate), "credential_invalid", "bound to a certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_jti_is_refused() {
    let scene = Scene::new().await;
    let proof = scene.prover.proof(&scene.machine.token_endpoint(), json!({}));
    assert_eq!(scene.machine.prove(&proof, &[]).await.status, 200);
    no_proof(&scene.machine.prove(&proof, &[]).await, "replayed");
    let token = scene.token().await;
    let caller = scene.caller(&token, json!({}));
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    for _ in 0..4 {
        refused(&caller, "proof_invalid", "replayed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_htm_htu_or_ath_is_refused() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    let own = scene.url(0);
    for change in [
        json!({"htm": "GET"}),
        json!({"htu": format!("{own}/")}),
        json!({"htu": "https://evil.example/acme/tools/mcp"}),
        json!({"htu": scene.machine.token_endpoint()}),
        json!({"ath": scene.prover.public.thumbprint()}),
        json!({"ath": null}),
        json!({"jti": ""}),
    ] {
        refused(&scene.caller(&token, change.clone()), "proof_invalid", &change.to_string()).await;
    }
    for change in [
        json!({"htm": "GET"}),
        json!({"htu": format!("{}/revoke", scene.machine.issuer)}),
        json!({"htu": format!("{}/", scene.machine.token_endpoint())}),
        json!({"htu": "https://evil.example/t/acme/token"}),
        json!({"htu": own}),
        json!({"jti": null}),
    ] {
        no_proof(&scene.ask(change.clone()).await, &change.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_iat_needs_a_nonce() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    for iat in [0, 1_000_000_000, 4_000_000_000_u64] {
        let answered = scene.ask(json!({"iat": iat})).await;
        assert_eq!((answered.status, answered.error().as_str()), (400, "use_dpop_nonce"), "{iat}");
        assert_eq!(answered.code(), "oauth_proof_nonce_required");
        let nonce = answered.headers["dpop-nonce"].to_str().unwrap().to_owned();
        assert_eq!(scene.ask(json!({"iat": iat, "nonce": nonce})).await.status, 200);

        let stale = scene.caller(&token, json!({"iat": iat}));
        refused(&stale, "proof_nonce_required", "stale").await;
        let theirs = stale.call("echo").await.header("dpop-nonce").to_owned();
        // Any proxy's is good at each; the issuer's is another.
        for proxy in 0..2 {
            let claims = json!({"iat": iat, "nonce": theirs});
            let answer = scene.prover.caller(&scene.url(proxy), &token, claims).call("echo").await;
            assert_eq!(answer.tool_text(), "ok: echo", "{answer:?}");
        }
        refused(&scene.caller(&token, json!({"nonce": nonce})), "proof_nonce_required", "the issuer's").await;
        assert_eq!(scene.ask(json!({"nonce": theirs})).await.error(), "use_dpop_nonce", "a proxy's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symmetric_alg_and_a_private_key_in_jwk_are_refused() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    let good = scene.prover.header();
    let header = |change: Value| {
        let mut header = good.clone();
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        header
    };
    let mut private = good["jwk"].clone();
    private["d"] = private["x"].clone();
    for (why, header) in [
        ("symmetric", header(json!({"alg": "HS256"}))),
        ("a shared key", header(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}))),
        ("none", header(json!({"alg": "none"}))),
        ("a private key", header(json!({"jwk": private}))),
        ("another type", header(json!({"typ": "JWT"}))),
        ("a key to be fetched", header(json!({"jku": "https://evil.example/keys"}))),
    ] {
        let proof = scene.prover.sign(&header, &scene.prover.claims(&scene.machine.token_endpoint()));
        no_proof(&scene.machine.prove(&proof, &[]).await, why);
        let mut claims = scene.prover.claims(&scene.url(0));
        claims["ath"] = json!(crypto::claims::Thumbprint(crypto::digest::sha256(token.as_bytes())));
        let caller =
            scene.caller(&token, json!({})).with_header("dpop", &scene.prover.sign(&header, &claims));
        refused(&caller, "proof_invalid", why).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_tokens_have_to_be_bound_gets_no_others() {
    let scene = Scene::new().await;
    let path = format!("{}/clients/{}?wait=applied", scene.tenant.base, scene.machine.client);
    let changed = scene.tenant.admin.patch(&path, json!({"dpop_bound_access_tokens": true})).await.unwrap();
    assert_eq!(changed["dpop_bound_access_tokens"], true);
    no_proof(&scene.machine.ask(&[]).await, "without");
    scene.token().await;
    scene.tenant.admin.patch(&path, json!({"dpop_bound_access_tokens": false})).await.unwrap();
    assert_eq!(scene.machine.ask(&[]).await.status, 200);
}

/// RFC 9449 section 11.7 and the rule that no credential of a caller's is passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_token_nor_proof_reaches_the_server_behind() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    let caller = scene.caller(&token, json!({}));
    assert_eq!(caller.call("echo").await.tool_text(), "ok: echo");
    let seen = scene.upstream.calls();
    assert!(!seen.is_empty());
    for call in seen {
        let headers = format!("{:?}", call.headers);
        assert!(
            !call.headers.contains_key("dpop") && !call.headers.contains_key("authorization"),
            "{headers}"
        );
        assert!(!headers.contains(&token[..40]), "{headers}");
    }
}
