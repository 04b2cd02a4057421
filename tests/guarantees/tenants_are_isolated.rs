//! Two tenants with twin data: with A's token, every id of B, in every path, query and body of every operation that the
//! API describes, is answered exactly like an id that does not exist.

mod bodies;

use std::collections::BTreeMap;

use harness::{App, Gateway, Person, Tenant, Upstream, text, tool};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    certificates_speak_for_clients::{authority, certificate},
    tokens_of_others_speak_for_clients::login,
};

pub(crate) use bodies::body;

/// The ids of one tenant, by the name of the path parameter that takes them.
pub(crate) type Ids = BTreeMap<&'static str, String>;

pub(crate) struct Twin {
    pub(crate) tenant: Tenant,
    pub(crate) ids: Ids,
    pub(crate) kill_epoch: Value,
}

pub(crate) async fn twin(gateway: &Gateway, slug: &str, upstream: &Upstream) -> Twin {
    let tenant = gateway.tenant(slug).await;
    let endpoint = tenant.endpoint("tools", upstream).await;
    let grant = tenant.grant(&endpoint, &["echo"]).await;
    let items = async |path: &str| {
        tenant.admin.get(&format!("{}{path}", tenant.base)).await.unwrap()["items"].clone()
    };
    let role = text(&tenant.post("/roles", json!({"name": "readers"})).await, "id");
    tenant
        .admin
        .put(&format!("{}/clients/{}/roles/{role}", tenant.base, endpoint.client), json!({}))
        .await
        .unwrap();
    let scope = text(&tenant.post("/scopes", json!({"name": "unused", "description": "d"})).await, "id");
    let limit =
        json!({"subject": {"client": endpoint.client}, "per_minute": 60, "burst": 60, "concurrency": 0});
    let limit = text(&tenant.post("/limits", limit).await, "id");
    let credential = json!({"header": "X-Api-Key", "value": "secret"});
    let credential =
        text(&tenant.post(&format!("/upstreams/{}/credentials", endpoint.upstream), credential).await, "id");
    let token = tenant.post("/admin-tokens", json!({"name": "second", "scopes": ["keys:read"]})).await;
    // A drill: it must stop nobody.
    let kill = tenant.post("/kills", json!({"level": "tenant", "reason": "exercise", "drill": true})).await;
    let command = tenant.post(&format!("/upstreams/{}/discover", endpoint.upstream), json!({})).await;
    let domain = json!({"name": format!("mcp.{slug}.example")});
    let domain = tenant.post("/domains", domain).await;
    prove(gateway, &domain);
    let path = format!("{}/domains/{}/certificate", tenant.base, text(&domain, "id"));
    tenant.admin.put(&path, certificate(&text(&domain, "name"))).await.unwrap();
    // Two, so that there is one that may be revoked.
    let signing_key = text(&tenant.post("/signing-keys", json!({})).await, "id");
    tenant.post("/signing-keys", json!({"at_once": true})).await;
    let assertion = format!("{}/upstreams/{}/assertion", tenant.base, endpoint.upstream);
    tenant.admin.put(&assertion, json!({})).await.unwrap();
    let assertion_key = text(&items("/assertion-keys").await[0], "id");
    tenant.post("/assertion-keys", json!({"at_once": true})).await;
    let oauth = format!("{}/upstreams/{}/oauth", tenant.base, endpoint.upstream);
    tenant
        .admin
        .put(&oauth, body("replace_upstream_oauth", &[("upstream", endpoint.upstream.clone())].into()))
        .await
        .unwrap();
    let secrets = format!("/clients/{}/secrets", endpoint.client);
    let secret = text(&tenant.post(&secrets, json!({"name": "first"})).await, "id");
    let keys = format!("/clients/{}/public-keys", endpoint.client);
    let public_key = json!({"name": "first", "key": ed25519("one")});
    let public_key = text(&tenant.post(&keys, public_key).await, "id");
    let initial = text(&tenant.post("/registration/tokens", json!({"name": "first"})).await, "id");
    let trusted = json!({
        "name": "first", "issuer": "https://ci.example", "purpose": "workload", "jwks": {"keys": [ed25519("one")]},
        "rules": [{"subject": "s", "client_id": endpoint.client}],
    });
    let trusted = text(&tenant.post("/trusted-issuers", trusted).await, "id");
    let external = text(
        &tenant.post("/external-issuers", login("https://login.example", &endpoint.client, &role)).await,
        "id",
    );
    let authority = text(&tenant.post("/client-authorities", authority(&endpoint.client)).await, "id");
    let company = json!({
        "name": "first", "issuer": "https://idp.example", "client_id": "c", "client_secret": "s", "email_domains": ["acme.example"],
    });
    let company = text(&tenant.post("/sign-in-providers", company).await, "id");
    let exchange = format!("{}/clients/{}/token-exchange", tenant.base, endpoint.client);
    tenant.admin.put(&exchange, json!({"subjects": "own"})).await.unwrap();
    let ann = Person::join_as(gateway, &tenant, "ann@example.com", "owner").await;
    Person::join_as(gateway, &tenant, "bob@example.com", "owner").await;
    let path = format!("{}/members/{}/roles/{role}", tenant.base, ann.member);
    tenant.admin.put(&path, json!({})).await.unwrap();
    let app = App::public(gateway, &tenant, "app", &[&endpoint.id]).await;
    ann.authorize(&app, &format!("http://127.0.0.1:3{}", endpoint.path), &[]).await;
    let consent = text(&items("/consents").await[0], "id");
    let invitation = json!({"email": "cy@example.com", "admin_role": "user"});
    let invitation = text(&tenant.post("/invitations", invitation).await, "id");
    let attachment = text(&items(&format!("/endpoints/{}/upstreams", endpoint.id)).await[0], "id");
    let ids = [
        ("tenant", tenant.id.clone()),
        ("upstream", endpoint.upstream.clone()),
        ("credential", credential),
        ("endpoint", endpoint.id.clone()),
        ("attachment", attachment),
        ("domain", text(&domain, "id")),
        ("client", endpoint.client.clone()),
        ("key", endpoint.key_id.clone()),
        ("client_secret", secret),
        ("public_key", public_key),
        ("initial_access_token", initial),
        ("trusted_issuer", trusted),
        ("external_issuer", external),
        ("client_authority", authority),
        ("sign_in_provider", company),
        ("role", role),
        ("member", ann.member.clone()),
        ("invitation", invitation),
        ("consent", consent),
        ("grant", grant),
        ("scope", scope),
        ("tool", text(&items("/tools").await[0], "id")),
        ("limit", limit),
        ("admin_token", text(&token, "id")),
        ("signing_key", signing_key),
        ("assertion_key", assertion_key),
        ("command", text(&command, "id")),
        ("kill", text(&kill, "id")),
        ("rev", "1".to_owned()),
    ];
    let kill_epoch = kill["epoch"].clone();
    Twin { tenant, ids: ids.into_iter().collect(), kill_epoch }
}

/// Puts what a domain asks for into DNS.
pub(crate) fn prove(gateway: &Gateway, domain: &Value) {
    let record = &domain["record"];
    gateway.dns.set_texts(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
}

/// A public key as JSON (RFC 8037 appendix A.2).
pub(crate) fn ed25519(kid: &str) -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid})
}

/// Operations whose body names ids, with the fields that do.
const BODY_IDS: &[(&str, &[&str])] = &[
    ("attach_upstream", &["upstream"]),
    ("create_grant", &["role", "upstream"]),
    ("update_grant", &["upstream"]),
    ("replace_role_grants", &["upstream"]),
    ("review_tools", &["tool"]),
    ("create_limit", &["tool"]),
    ("create_domain", &["endpoint"]),
    ("update_registration", &["endpoint"]),
    ("create_trusted_issuer", &["client"]),
    ("update_trusted_issuer", &["client"]),
    ("create_external_issuer", &["client", "role"]),
    ("update_external_issuer", &["client", "role"]),
    ("create_client_authority", &["client"]),
    ("update_client_authority", &["client"]),
    ("update_endpoint", &["external_issuer", "client_authority"]),
    ("create_kill", &["endpoint"]),
];

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    status: u16,
    body: Value,
    headers: Vec<(String, String)>,
}

/// Everything an answer shows, but for what differs between any two answers, and the echoed id.
async fn ask(gateway: &Gateway, token: &str, method: &str, path: &str, body: Option<Value>) -> Seen {
    let http = reqwest::Client::new();
    let method: Method = method.to_uppercase().parse().unwrap();
    let mut request =
        http.request(method.clone(), format!("{}{path}", gateway.control_url)).bearer_auth(token);
    if let Some(body) = body {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        request = request.header("content-type", media).body(body.to_string());
        if method == Method::PATCH || method == Method::PUT {
            request = request.header("if-match", "*");
        }
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", "ratelimit"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    // The id's length is everywhere the same, so content-length stays comparable.
    let mut body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
        body.remove("instance");
    }
    Seen { status, body, headers }
}

fn random_like(id: &str) -> String {
    let entropy: &dyn seams::Entropy = &seams::SystemEntropy;
    let prefix = id.split('_').next().unwrap();
    match prefix.parse::<u64>() {
        Ok(_) => "999999".to_owned(),
        Err(_) => ids::TenantId::from_parts(1, entropy.bytes()).to_string().replace("tnt", prefix),
    }
}

pub(crate) fn fill(path: &str, ids: &Ids) -> String {
    let mut filled = path.to_owned();
    for (name, id) in ids {
        filled = filled.replace(&format!("{{{name}}}"), id);
    }
    assert!(!filled.contains('{'), "say in this test which id {path} takes");
    filled
}

#[tokio::test]
async fn a_foreign_id_is_answered_like_one_that_does_not_exist() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (a, b) = (twin(&gateway, "acme", &upstream).await, twin(&gateway, "other", &upstream).await);
    let token = a.tenant.admin_token.expose_secret().to_owned();
    let before = everything(&b).await;
    let document: Value = serde_json::from_str(&control_plane::http::openapi::document()).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/tenants/{tenant}") {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let has_body = operation.get("requestBody").is_some();
            let names: Vec<_> =
                a.ids.keys().filter(|name| path.contains(&format!("{{{name}}}"))).copied().collect();
            // Each id of the path in turn is B's, the others are A's own.
            for name in names {
                if name == "rev" {
                    continue;
                }
                let (mut foreign, mut random) = (a.ids.clone(), a.ids.clone());
                foreign.insert(name, b.ids[name].clone());
                random.insert(name, random_like(&b.ids[name]));
                let given = has_body.then(|| body(id, &a.ids));
                let with_foreign = ask(&gateway, &token, method, &fill(path, &foreign), given.clone()).await;
                let with_random = ask(&gateway, &token, method, &fill(path, &random), given).await;
                assert_eq!(with_foreign, with_random, "{id}, path id {name}");
                let refused = [403, 404].contains(&with_foreign.status);
                assert!(refused, "{id}, path id {name}: {with_foreign:?}");
                asked += 1;
            }
            for (_, fields) in BODY_IDS.iter().filter(|(operation, _)| *operation == id) {
                for name in *fields {
                    let (mut foreign, mut random) = (a.ids.clone(), a.ids.clone());
                    foreign.insert(name, b.ids[name].clone());
                    random.insert(name, random_like(&b.ids[name]));
                    let path = fill(path, &a.ids);
                    let with_foreign = ask(&gateway, &token, method, &path, Some(body(id, &foreign))).await;
                    let with_random = ask(&gateway, &token, method, &path, Some(body(id, &random))).await;
                    assert_eq!(with_foreign, with_random, "{id}, body id {name}");
                    assert!([404, 409, 422].contains(&with_foreign.status), "{id}, {name}: {with_foreign:?}");
                    asked += 1;
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let query = parameter["name"].as_str().unwrap();
                let Some(name) = query.strip_suffix("_id").filter(|_| parameter["in"] == "query") else {
                    continue;
                };
                let Some(id_of_b) = b.ids.get(name) else { continue };
                let path = fill(path, &a.ids);
                let with_foreign =
                    ask(&gateway, &token, method, &format!("{path}?{query}={id_of_b}"), None).await;
                let random = random_like(id_of_b);
                let with_random =
                    ask(&gateway, &token, method, &format!("{path}?{query}={random}"), None).await;
                assert_eq!(with_foreign, with_random, "{id}, query {query}");
                asked += 1;
            }
        }
    }
    assert!(asked > 80, "only {asked} questions were asked");
    assert_eq!(everything(&b).await, before, "something of B changed");
}

/// Everything B's administrator can see, but for the audit log.
async fn everything(twin: &Twin) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in [
        "",
        "/upstreams",
        "/endpoints",
        "/clients",
        "/roles",
        "/members",
        "/invitations",
        "/consents",
        "/grants",
        "/scopes",
        "/tools",
        "/limits",
        "/domains",
        "/registration",
        "/trusted-issuers",
        "/external-issuers",
        "/client-authorities",
        "/sign-in-providers",
        "/registration/tokens",
        "/kills",
        "/admin-tokens",
        "/revisions",
    ] {
        seen.push(twin.tenant.admin.get(&format!("{}{path}", twin.tenant.base)).await.unwrap());
    }
    seen
}

#[tokio::test]
async fn operators_resources_are_closed_to_tenants() {
    let gateway = Gateway::start().await;
    let tenant = gateway.tenant("acme").await;
    let token = tenant.admin_token.expose_secret();
    let document: Value = serde_json::from_str(&control_plane::http::openapi::document()).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let open = operation.get("security").is_none();
            if open {
                continue;
            }
            let filled = path
                .split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let stranger = reqwest::Client::new()
                .request(method.to_uppercase().parse().unwrap(), format!("{}{filled}", gateway.control_url))
                .header("content-type", "application/json")
                .body("{}")
                .send()
                .await
                .unwrap();
            assert_eq!(stranger.status().as_u16(), 401, "{method} {path} without a token");
            if operation["security"][0]["token"] == json!(["operator"]) && !path.contains("{tenant}") {
                let seen = ask(&gateway, token, method, &filled, None).await;
                assert_eq!(seen.status, 403, "{method} {path} with a tenant's token: {seen:?}");
            }
            asked += 1;
        }
    }
    assert!(asked > 40, "only {asked} operations");
}
