//! R1: deleting a tenant removes everything it has, from the database and from the proxies. Its audit log stays, for
//! operators.

use control_plane::resources::credential_ages::uses;
use crypto::jwt::{Algorithm, Jwk, generate};
use harness::{App, Endpoint, Gateway, Machine, Person, Tenant, Upstream, eventually, text, tool};
use reqwest::header;
use seams::SystemEntropy;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::{
    certificates_speak_for_clients::{authority, certificate},
    tenants_are_isolated::prove,
};

/// A tenant with something of everything that a tenant can have.
async fn furnished(gateway: &Gateway, slug: &str, upstream: &Upstream) -> (Tenant, Endpoint) {
    let tenant = gateway.tenant(slug).await;
    let endpoint = tenant.endpoint("tools", upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let role = text(&tenant.post("/roles", json!({"name": "readers"})).await, "id");
    let membership = format!("{}/clients/{}/roles/{role}", tenant.base, endpoint.client);
    tenant.admin.put(&membership, json!({})).await.unwrap();
    let names = json!({"names": ["echo"]});
    let actions = json!([{"action": "call_tool", "upstream": endpoint.upstream, "tools": names}]);
    tenant.post("/scopes", json!({"name": "files:read", "description": "Reads files"})).await;
    tenant
        .post("/grants", json!({"subject": {"role": role}, "scope": "files:read", "actions": actions}))
        .await;
    let tools = format!("{}/tools?upstream_id={}", tenant.base, endpoint.upstream);
    let found = text(&tenant.admin.get(&tools).await.unwrap()["items"][0], "id");
    for subject in [json!("tenant"), json!({"client": endpoint.client}), json!({"tool": found})] {
        let limit = json!({"subject": subject, "per_minute": 600, "burst": 60, "concurrency": 4});
        tenant.post("/limits", limit).await;
    }
    let credential = json!({"header": "X-Api-Key", "value": "secret"});
    tenant.post(&format!("/upstreams/{}/credentials", endpoint.upstream), credential).await;
    tenant.post(&format!("/clients/{}/keys", endpoint.client), json!({"name": "second"})).await;
    tenant
        .post(
            &format!("/clients/{}/keys/{}/rotate", endpoint.client, endpoint.key_id),
            json!({"overlap_seconds": 60}),
        )
        .await;
    let third = tenant.post(&format!("/clients/{}/keys", endpoint.client), json!({"name": "third"})).await;
    let revoked = format!("{}/clients/{}/keys/{}", tenant.base, endpoint.client, text(&third, "id"));
    tenant.admin.delete(&revoked).await.unwrap();
    // An answer that is kept, under a key.
    assert_eq!(endpoint.caller().call("echo").await.status, 200);
    let ages = format!("{}/credential-ages", tenant.base);
    eventually("the use of the key is noted", async || {
        uses::note_all(gateway.core()).await;
        let ages = tenant.admin.get(&ages).await.unwrap();
        ages["items"].as_array().unwrap().iter().any(|age| age["last_used_at"].is_string())
    })
    .await;
    let schedule = format!("{}/rotation-schedule", tenant.base);
    tenant.admin.patch(&schedule, json!({"api_key_days": 30})).await.unwrap();
    let kept = reqwest::Client::new()
        .post(format!("{}{}/clients", gateway.control_url, tenant.base))
        .bearer_auth(tenant.admin_token.expose_secret())
        .header("idempotency-key", "once")
        .json(&json!({"name": "kept"}));
    assert_eq!(kept.send().await.unwrap().status(), 201);
    let domain = json!({"name": format!("mcp.{slug}.example"), "endpoint_id": endpoint.id});
    let domain = tenant.post("/domains", domain).await;
    prove(gateway, &domain);
    tenant.post(&format!("/domains/{}/verify", text(&domain, "id")), json!({})).await;
    let path = format!("{}/domains/{}/certificate", tenant.base, text(&domain, "id"));
    tenant.admin.put(&path, certificate(&text(&domain, "name"))).await.unwrap();
    tenant.post("/signing-keys", json!({})).await;
    let assertion = format!("{}/upstreams/{}/assertion", tenant.base, endpoint.upstream);
    tenant.admin.put(&assertion, json!({})).await.unwrap();
    // At another upstream: nobody listens where tokens are given.
    let other = tenant
        .post("/upstreams", json!({"slug": "other", "name": "other", "url": "https://example.com/mcp"}));
    let oauth = format!("{}/upstreams/{}/oauth", tenant.base, text(&other.await, "id"));
    let client = json!({
        "issuer": "https://auth.example.com", "client_id": "c", "authentication": "client_secret_post", "secret": "s",
    });
    tenant.admin.put(&oauth, client).await.unwrap();
    let machine = Machine::new(gateway, &tenant, "machine", &[&endpoint.id]).await;
    let key = machine.key(&tenant, Algorithm::EdDsa, "one").await;
    let assertion = key.sign("one", "JWT", &machine.claims("once")).unwrap();
    assert_eq!(machine.assert(&assertion).await.status, 200);
    register(gateway, &tenant, &endpoint).await;
    trust(&tenant, &machine).await;
    let person = Person::join_as(gateway, &tenant, "ann@example.com", "auditor").await;
    person.administer(gateway, slug).await;
    company(gateway, &tenant, &person).await;
    let role = text(&tenant.post("/roles", json!({"name": "people"})).await, "id");
    let path = format!("{}/members/{}/roles/{role}", tenant.base, person.member);
    tenant.admin.put(&path, json!({})).await.unwrap();
    let app = App::public(gateway, &tenant, "app", &[&endpoint.id]).await;
    person.authorize(&app, &format!("http://127.0.0.1:3{}", endpoint.path), &[]).await;
    tenant.post("/invitations", json!({"email": "bob@example.com", "admin_role": "user"})).await;
    tenant.post("/kills", json!({"level": "tenant", "reason": "exercise", "drill": true})).await;
    // A definition that is seen and not pinned, beside one that is pinned.
    upstream.set_tools(vec![tool("echo", "Says it back, differently"), tool("other", "New")]);
    tenant.post(&format!("/upstreams/{}/discover", endpoint.upstream), json!({})).await;
    eventually("the change is reported", async || {
        let tools = tenant.admin.get(&tools).await.unwrap();
        tools["items"].as_array().unwrap().iter().any(|tool| tool["state"] == "quarantined")
    })
    .await;
    upstream.set_tools(vec![tool("echo", "Says it back")]);
    (tenant, endpoint)
}

/// A client that registers itself, and what lets it.
async fn register(gateway: &Gateway, tenant: &Tenant, endpoint: &Endpoint) {
    let policy = json!({"dynamic": {"by": "open", "endpoint_ids": [endpoint.id]}});
    tenant.admin.patch(&format!("{}/registration", tenant.base), policy).await.unwrap();
    let token = text(&tenant.post("/registration/tokens", json!({"name": "first"})).await, "token");
    let url = format!("{}/t/{}/register", gateway.auth_url, tenant.slug);
    let said = json!({"redirect_uris": ["https://app.example/cb"]});
    let made = reqwest::Client::new().post(url).bearer_auth(token).json(&said).send().await.unwrap();
    assert_eq!(made.status(), 201);
}

/// A company by whose provider somebody has signed in.
async fn company(gateway: &Gateway, tenant: &Tenant, person: &Person) {
    let provider = json!({
        "name": "n", "issuer": "https://idp.example", "client_id": "c", "client_secret": "s", "email_domains": ["example.com"],
    });
    let provider: ids::SignInProviderId =
        text(&tenant.post("/sign-in-providers", provider).await, "id").parse().unwrap();
    let (id, member): (ids::TenantId, ids::MemberId) =
        (tenant.id.parse().unwrap(), person.member.parse().unwrap());
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    sqlx::query("INSERT INTO sign_in_identities VALUES ($1, $2, 'sub', $3, now())")
        .bind(id.uuid())
        .bind(provider.uuid())
        .bind(member.uuid())
        .execute(&database)
        .await
        .unwrap();
}

/// An issuer that says which client a workload is, and what it has said; and a client that may exchange tokens.
async fn trust(tenant: &Tenant, machine: &Machine) {
    let (key, public) = generate(Algorithm::EdDsa, &SystemEntropy).unwrap();
    let trusted = json!({
        "name": "CI", "issuer": "https://ci.example", "purpose": "workload", "jwks": {"keys": [Jwk::new("one", &public)]},
        "rules": [{"subject": "job", "client_id": machine.client}],
    });
    tenant.post("/trusted-issuers", trusted).await;
    let external = json!({
        "name": "Login", "issuer": "https://login.example", "jwks_uri": "https://login.example/jwks",
        "callers": [{"claims": {"azp": "a"}, "client_id": machine.client}],
    });
    tenant.post("/external-issuers", external).await;
    tenant.post("/client-authorities", authority(&machine.client)).await;
    let mut claims = machine.claims("once");
    (claims["iss"], claims["sub"]) = (json!("https://ci.example"), json!("job"));
    let assertion = key.sign("one", "JWT", &claims).unwrap();
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(machine.bare("token", &[grant, ("assertion", &assertion)]).await.status, 200);
    let client = format!("{}/clients/{}", tenant.base, machine.client);
    tenant.admin.patch(&client, json!({"redirect_uris": ["https://app.example/cb"]})).await.unwrap();
    assert_eq!(machine.basic("device_authorization", &[]).await.status, 200);
    let exchange = format!("{}/clients/{}/token-exchange", tenant.base, machine.client);
    tenant.admin.put(&exchange, json!({"subjects": "own"})).await.unwrap();
}

/// How many rows of each table name the tenant.
async fn rows(gateway: &Gateway, tenant: &Tenant) -> Vec<(String, i64)> {
    let id: ids::TenantId = tenant.id.parse().unwrap();
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.relname <> 'audit_records'
         ORDER BY 1",
    )
    .fetch_all(&database)
    .await
    .unwrap();
    let mut counts = Vec::new();
    for table in tables {
        let count = format!("SELECT count(*) FROM {table} WHERE tenant_id = $1");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).bind(id.uuid()).fetch_one(&database).await;
        counts.push((table, count.unwrap()));
    }
    counts
}

async fn delete(gateway: &Gateway, tenant: &Tenant, if_match: Option<&str>) -> (u16, Value) {
    let url = format!("{}{}", gateway.control_url, tenant.base);
    let mut request =
        reqwest::Client::new().delete(url).bearer_auth(gateway.operator_token().expose_secret());
    if let Some(tag) = if_match {
        request = request.header(header::IF_MATCH, tag);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_tenant_is_deleted_whole_and_the_proxies_drop_it() {
    let gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = furnished(&gateway, "acme", &upstream).await;
    let (neighbour, neighbours) = furnished(&gateway, "other", &upstream).await;
    let at = |endpoint: &Endpoint, proxy: usize| {
        endpoint.caller().at(&format!("{}{}", gateway.url(proxy), endpoint.path))
    };
    for proxy in 0..2 {
        eventually("the endpoint is served", async || at(&endpoint, proxy).call("echo").await.status == 200)
            .await;
    }
    let before = rows(&gateway, &tenant).await;
    let empty: Vec<_> = before.iter().filter(|(_, count)| *count == 0).map(|(table, _)| table).collect();
    // What a proxy can hold and this tenant has not: fill it in `furnished` when it is a tenant's.
    assert_eq!(empty, Vec::<&String>::new(), "this test must have a row of each");

    let (status, problem) = delete(&gateway, &tenant, Some("\"of-yesterday\"")).await;
    assert_eq!((status, problem["code"].as_str()), (412, Some("precondition_failed")));
    let response = reqwest::Client::new()
        .get(format!("{}{}", gateway.control_url, tenant.base))
        .bearer_auth(gateway.operator_token().expose_secret());
    let shown = response.send().await.unwrap();
    let tag = shown.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(delete(&gateway, &tenant, Some(&tag)).await.0, 204);

    assert!(rows(&gateway, &tenant).await.iter().all(|(_, count)| *count == 0));
    assert_eq!(delete(&gateway, &tenant, None).await.0, 404);
    for proxy in 0..2 {
        eventually("the proxy has dropped it", async || {
            at(&endpoint, proxy).call("echo").await.code() == "endpoint_not_found"
        })
        .await;
        let answer = at(&neighbours, proxy).call("echo").await;
        assert_ne!(answer.status, 404, "its neighbour stays: {answer:?}");
    }
    let refused = tenant.admin.get(&tenant.base).await.unwrap_err();
    assert!(refused.to_string().contains("401"), "its tokens are gone: {refused}");
    assert!(neighbour.admin.get(&neighbour.base).await.is_ok());
}

#[tokio::test]
async fn what_a_deleted_tenant_did_stays_on_record_for_operators() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (tenant, endpoint) = furnished(&gateway, "acme", &upstream).await;
    endpoint.caller().call("echo").await;
    gateway.operator.delete(&tenant.base).await.unwrap();
    let log = format!("{}/audit-records", tenant.base);
    let find = async |filter: &str| {
        let page = gateway.operator.get(&format!("{log}?{filter}")).await.unwrap();
        page["items"].as_array().unwrap().clone()
    };
    eventually("the call is on record", async || {
        !find("phase=outcome&method=tools/call&include=content").await.is_empty()
    })
    .await;
    let acts = find("phase=act&method=delete_tenant").await;
    assert_eq!((acts.len(), acts[0]["target"].as_str()), (1, Some(tenant.id.as_str())));
    let sealed = find("phase=intent&include=content").await;
    assert!(
        sealed.iter().all(|record| record["arguments"].is_null()),
        "what was sealed went with the tenant's keys: {sealed:?}"
    );

    // The name is free again, and the new tenant's log is its own.
    let again = gateway.tenant("acme").await;
    assert!(again.audit("phase=outcome").await.is_empty());
    for unknown in ["/v1/tenants/gone/audit-records".to_owned(), log.replace(&tenant.id, &random_id())] {
        assert!(gateway.operator.get(&unknown).await.unwrap_err().to_string().contains("404"));
    }
    let stranger = again.admin.get(&log).await.unwrap_err();
    assert!(stranger.to_string().contains("404"), "a tenant sees its own log alone: {stranger}");
}

fn random_id() -> String {
    let entropy: &dyn seams::Entropy = &seams::SystemEntropy;
    ids::TenantId::from_parts(1, entropy.bytes()).to_string()
}
