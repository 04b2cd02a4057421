//! R3, R66: a client whose id is the URL of a document that describes it (draft-ietf-oauth-client-id-metadata-document) comes where the
//! tenant admits its host, is what its document says now, and is otherwise a client like any other.

use std::{net::IpAddr, time::Duration};

use control_plane::oauth::{
    client::Origin,
    issuer,
    registration::{self, ResolveError, Resolved},
};
use crypto::jwt::{Algorithm, Jwk, generate};
use harness::{App, Gateway, Machine, Page, Person, Tenant, Web, app::Tokens, eventually, text};
use seams::{Clock as _, SystemEntropy};
use serde_json::{Value, json};

const HOST: &str = "app.example";
const HOUR: Duration = Duration::from_secs(60 * 60);

struct World {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: String,
    web: Web,
}

impl World {
    /// A tenant whose operator lets it reach a server that is at `HOST`; documents describe clients as `documents` says.
    async fn new(documents: impl FnOnce(&Web) -> Value) -> Self {
        let gateway = Gateway::with_proxies(0).await;
        let web = Web::start(&[HOST]).await;
        gateway.dns.set_addresses(HOST, &[&[IpAddr::from([127, 0, 0, 1])]]);
        let tenant = gateway.tenant("acme").await;
        tenant.allow_egress(web.address.port()).await;
        let endpoint = json!({"slug": "tools", "name": "tools"});
        let endpoint = text(&tenant.post("/endpoints", endpoint).await, "id");
        let world = Self { gateway, tenant, endpoint, web };
        let mut documents = documents(&world.web);
        documents["endpoint_ids"] = json!([world.endpoint]);
        world.admit(documents).await;
        world
    }

    async fn open() -> Self {
        Self::new(|_| json!({"from": "any"})).await
    }

    async fn admit(&self, documents: Value) {
        let path = format!("{}/registration", self.tenant.base);
        self.tenant.admin.patch(&path, json!({"documents": documents})).await.unwrap();
    }

    fn id(&self, path: &str) -> String {
        self.web.url(HOST, path)
    }

    /// Serves a document at the path that describes the client there, with `change` laid over it.
    fn describe(&self, path: &str, change: Value) {
        let mut document = json!({
            "client_id": self.id(path), "client_name": "App", "redirect_uris": ["https://app.example/callback"],
        });
        for (name, value) in change.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.web.set(path, Page::json(document.to_string()).with("cache-control", "max-age=60"));
    }

    async fn resolve(&self, text: &str) -> Result<Resolved, ResolveError> {
        let core = self.gateway.core();
        let issuer = issuer::find(core, "acme", None).await.unwrap();
        let origin = Origin { address: Some(IpAddr::from([192, 0, 2, 1])), request_id: None };
        registration::resolve(core, &issuer, text, &origin).await
    }

    async fn later(&self, by: Duration) {
        self.gateway.control_clock().pass(by);
    }
}

fn uris(client: &Resolved) -> Vec<String> {
    client.redirect_uris.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_comes_by_its_document_and_is_a_client_like_any_other() {
    let world = World::open().await;
    world.describe("/client.json", json!({"client_uri": "https://app.example/"}));
    let id = world.id("/client.json");
    let client = world.resolve(&id).await.unwrap();
    assert_eq!((client.name.as_str(), client.text.as_str(), client.public), ("App", id.as_str(), true));
    assert_eq!(uris(&client), ["https://app.example/callback"]);
    assert_eq!(client.document.unwrap().as_str(), id);
    let path = format!("{}/clients/{}", world.tenant.base, client.id);
    let shown = world.tenant.admin.get(&path).await.unwrap();
    assert_eq!((&shown["public"], &shown["enabled"]), (&json!(true), &json!(true)));
    let endpoints = world.tenant.admin.get(&format!("{path}/endpoints")).await.unwrap();
    assert_eq!(endpoints["items"][0]["endpoint_id"], world.endpoint);
    let made = world.tenant.audit("method=register_client").await;
    assert_eq!(
        (text(&made[0], "actor"), text(&made[0], "decision")),
        (client.id.to_string(), "allowed".into())
    );

    // The same client again, without asking for its document; by its URL alone.
    assert_eq!(world.resolve(&id).await.unwrap().id, client.id);
    assert_eq!(world.web.asked("/client.json"), 1);
    assert!(matches!(world.resolve(&client.id.to_string()).await, Err(ResolveError::Unknown)));
    // Whom an administrator has switched off stays so, whatever its document says.
    world.tenant.admin.patch(&path, json!({"enabled": false})).await.unwrap();
    world.describe("/client.json", json!({"client_name": "App 2"}));
    world.later(HOUR).await;
    let again = world.resolve(&id).await.unwrap();
    assert_eq!((again.name.as_str(), again.enabled), ("App 2", false));
    let metadata = format!("{}/.well-known/oauth-authorization-server/t/acme", world.gateway.auth_url);
    eventually("it is announced", async || {
        let metadata: Value = reqwest::get(&metadata).await.unwrap().json().await.unwrap();
        metadata["client_id_metadata_document_supported"] == true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_says_now_is_what_counts() {
    let world = World::open().await;
    let two = json!({"redirect_uris": ["https://app.example/a", "https://app.example/b"]});
    world.describe("/c", two);
    let id = world.id("/c");
    assert_eq!(uris(&world.resolve(&id).await.unwrap()), ["https://app.example/a", "https://app.example/b"]);
    world.describe("/c", json!({"redirect_uris": ["https://app.example/b"]}));
    assert_eq!(uris(&world.resolve(&id).await.unwrap()).len(), 2, "it is kept for a minute");
    world.later(Duration::from_secs(61)).await;
    assert_eq!(uris(&world.resolve(&id).await.unwrap()), ["https://app.example/b"]);

    // Where it cannot be fetched, what it said last counts for a day.
    world.web.set("/c", Page { status: 503, ..Page::json("") });
    world.later(Duration::from_secs(61)).await;
    assert_eq!(uris(&world.resolve(&id).await.unwrap()), ["https://app.example/b"]);
    world.later(25 * HOUR).await;
    assert!(matches!(world.resolve(&id).await, Err(ResolveError::Unreachable(_))));
    // Where it says what is not accepted, nothing counts.
    world.describe("/c", json!({"client_secret": "x"}));
    world.later(Duration::from_secs(61)).await;
    let refused = world.resolve(&id).await.unwrap_err();
    assert_eq!(refused.detail(), Some("a document must not hold a secret"));
    let records = world.tenant.audit("method=register_client&decision=refused").await;
    assert!(records.iter().all(|record| record["code"] == "oauth_client_document_invalid"), "{records:?}");
    assert_eq!(records.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_documents_at_hosts_that_the_tenant_admits_are_fetched() {
    let world =
        World::new(|web| json!({"from": "listed", "hosts": [format!("{HOST}:{}", web.address.port())]}))
            .await;
    world.describe("/c", json!({}));
    world.gateway.dns.set_addresses("other.example", &[&[IpAddr::from([127, 0, 0, 1])]]);
    for other in [
        world.web.url("other.example", "/c"),
        world.web.url("x.app.example", "/c"),
        world.web.url("app.example.evil.example", "/c"),
        world.web.url("127.0.0.1", "/c"),
        format!("https://{HOST}/c"),
    ] {
        assert!(matches!(world.resolve(&other).await, Err(ResolveError::Unknown)), "{other}");
    }
    assert_eq!(world.web.asked("/c"), 0);
    let id = world.id("/c");
    let client = world.resolve(&id).await.unwrap();
    // Admitted no longer, it is nobody, whatever was known of it.
    world.admit(json!({"from": "off"})).await;
    assert!(matches!(world.resolve(&id).await, Err(ResolveError::Unknown)));
    world.admit(json!({"from": "listed"})).await;
    assert_eq!(world.resolve(&id).await.unwrap().id, client.id);
    // Nor is anything an id that is no plain URL with a path.
    for none in [format!("http://{HOST}/c"), format!("{id}#x"), format!("https://{HOST}/"), "x".to_owned()] {
        assert!(matches!(world.resolve(&none).await, Err(ResolveError::Unknown)), "{none}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_inside_the_network_or_of_another_client_describes_nobody() {
    let world = World::open().await;
    // Another client's id in it.
    world.describe("/other", json!({"client_id": world.id("/c")}));
    let refused = world.resolve(&world.id("/other")).await.unwrap_err();
    assert_eq!(refused.detail(), Some("`client_id` is not the document's own URL, letter by letter"));
    // A redirect leads nowhere.
    world.describe("/c", json!({}));
    world.web.set("/moved", Page { status: 302, ..Page::json("{}") }.with("location", "/c"));
    assert!(matches!(world.resolve(&world.id("/moved")).await, Err(ResolveError::Unreachable(_))));
    assert_eq!(world.web.asked("/c"), 0);
    // Five KiB and no more.
    world.describe("/long", json!({"x": "x".repeat(5 * 1024)}));
    let refused = world.resolve(&world.id("/long")).await.unwrap_err();
    assert_eq!(refused.detail(), Some("it is too large"));
    // The operator has allowed one port of this machine, and no other address.
    for inside in
        ["https://127.0.0.1:1/c", "https://169.254.169.254/c", "https://[::1]/c", "https://10.0.0.1/c"]
    {
        let refused = world.resolve(inside).await.unwrap_err();
        assert_eq!(refused.detail(), Some("it cannot be fetched"), "{inside}");
    }
    let clients = world.tenant.admin.get(&format!("{}/clients", world.tenant.base)).await.unwrap();
    assert_eq!(clients["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_bring_a_bounded_number_of_documents() {
    let world = World::open().await;
    let mut refused = 0;
    for n in 0..30 {
        let asked = world.resolve(&world.id(&format!("/nothing-{n}"))).await.unwrap_err();
        refused += usize::from(matches!(asked, ResolveError::Limited { .. }));
    }
    assert!((9..=10).contains(&refused), "{refused}");
    // Who is known is not counted.
    world.later(HOUR).await;
    world.describe("/c", json!({}));
    for _ in 0..100 {
        assert!(world.resolve(&world.id("/c")).await.is_ok());
    }
    // Never used, it goes after a day.
    world.later(25 * HOUR).await;
    registration::sweep::turn(world.gateway.core()).await.unwrap();
    let clients = world.tenant.admin.get(&format!("{}/clients", world.tenant.base)).await.unwrap();
    assert_eq!(clients["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn such_a_client_proves_who_it_is_by_the_keys_of_its_document_or_of_its_origin() {
    let world = World::open().await;
    let (key, public) = generate(Algorithm::Es256, &SystemEntropy).unwrap();
    let (other, other_public) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    let machine = Machine::new(&world.gateway, &world.tenant, "other", &[&world.endpoint]).await;
    // What it asks for is not for itself, which is how far it gets when it has proven who it is.
    let error = async |id: &str, key: &crypto::jwt::PrivateKey, kid: &str, jti: &str| {
        let exp = world.gateway.control_clock().now().secs() + 60;
        let claims = json!({"iss": id, "sub": id, "aud": machine.issuer, "exp": exp, "jti": jti});
        machine.assert(&key.sign(kid, "JWT", &claims).unwrap()).await.error()
    };
    let signs = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [Jwk::new("one", &public)]}});
    world.describe("/inline", signs);
    let id = world.id("/inline");
    assert_eq!(error(&id, &key, "one", "0").await, "invalid_client", "it has not come yet");
    let client = world.resolve(&id).await.unwrap();
    assert!(!client.public);
    assert_eq!(error(&id, &key, "one", "1").await, "unauthorized_client");
    assert_eq!(error(&id, &key, "one", "1").await, "invalid_client", "an assertion twice");
    assert_eq!(error(&id, &other, "one", "2").await, "invalid_client", "another's key");
    assert_eq!(error(&world.id("/else"), &key, "one", "3").await, "invalid_client", "another's name");

    let at = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": world.id("/keys")});
    world.describe("/remote", at);
    world.web.set("/keys", Page::json(json!({"keys": [Jwk::new("one", &public)]}).to_string()));
    let id = world.id("/remote");
    world.resolve(&id).await.unwrap();
    assert_eq!(error(&id, &key, "one", "1").await, "unauthorized_client");
    // It changes its keys: the new one is looked for when it is met, at most once a minute, and the old one goes.
    world.web.set("/keys", Page::json(json!({"keys": [Jwk::new("two", &other_public)]}).to_string()));
    assert_eq!(error(&id, &other, "two", "2").await, "invalid_client", "looked for a moment ago");
    world.later(Duration::from_secs(61)).await;
    assert_eq!(error(&id, &other, "two", "3").await, "unauthorized_client");
    assert_eq!(error(&id, &key, "one", "4").await, "invalid_client", "the old one");
    assert_eq!(world.web.asked("/keys"), 2);
    // Admitted no longer, it is nobody here either.
    world.admit(json!({"from": "off"})).await;
    assert_eq!(error(&id, &other, "two", "5").await, "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_let_such_a_client_act_are_told_where_it_is_described_and_it_acts_while_it_is_admitted() {
    let world = World::open().await;
    let ann = Person::join(&world.gateway, &world.tenant, "ann@example.com").await;
    let resource = "http://127.0.0.1:3/acme/tools/mcp";
    let app = App {
        client: world.id("/client.json"),
        ..App::public(&world.gateway, &world.tenant, "other", &[&world.endpoint]).await
    };
    let ask = app.ask(resource, &[]);
    let refused = ann.get(&ask).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "oauth_client_document_invalid".into()),
        "{refused:?}"
    );
    assert!(refused.location().is_empty(), "nobody is sent anywhere");
    world.later(Duration::from_secs(20)).await;
    world.describe("/client.json", json!({"client_name": "App <i>"}));
    let page = ann.get(&ask).await;
    for shown in ["App &lt;i&gt;", "The answer goes to <strong>app.example"] {
        assert!(page.page.contains(shown), "{shown}: {}", page.page);
    }
    let tokens = ann.authorize(&app, resource, &[]).await;
    let tokens = Tokens::of(&app.refresh(&tokens.refresh, &[]).await);
    // A redirect URI that the document drops is dropped for those who ask now.
    world.describe("/client.json", json!({"redirect_uris": ["https://app.example/other"]}));
    world.later(Duration::from_secs(61)).await;
    let refused = ann.get(&ask).await;
    assert_eq!((refused.status, refused.code()), (400, "authorization_refused".into()), "{refused:?}");
    // Admitted no longer, it is given nothing.
    world.admit(json!({"from": "off"})).await;
    let refused = ann.get(&ask).await;
    assert_eq!((refused.status, refused.code()), (400, "authorization_refused".into()), "{refused:?}");
    let refused = app.refresh(&tokens.refresh, &[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_client"), "{refused:?}");
}
