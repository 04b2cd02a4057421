//! R68: a tenant's endpoints are reached under a domain of its own once DNS says that it is its own, and nobody else's are.

use harness::{Answer, Caller, Endpoint, Gateway, Tenant, Upstream, eventually, text, tool};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::tenants_are_isolated::prove;

/// What an endpoint's own caller is answered at a path of proxy `index`, asking for this host.
async fn at(gateway: &Gateway, index: usize, endpoint: &Endpoint, host: &str, path: &str) -> Answer {
    let url = format!("{}{path}", gateway.url(index));
    Caller::new(&url, endpoint.key.expose_secret()).with_header("host", host).call("echo").await
}

/// What does not depend on when it was asked.
fn shown(answer: &Answer) -> (u16, String, String) {
    let mut body = answer.json();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
        body.remove("instance");
    }
    let mut headers: Vec<_> =
        answer.headers.keys().map(ToString::to_string).filter(|name| name != "date").collect();
    headers.sort();
    (answer.status, body.to_string(), headers.join(" "))
}

async fn verify(tenant: &Tenant, domain: &Value) -> Result<Value, String> {
    let path = format!("{}/domains/{}/verify?wait=applied", tenant.base, text(domain, "id"));
    tenant.admin.post(&path, json!({})).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_is_served_everywhere_from_its_proof_to_its_end_and_never_else() {
    let gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let whole = tenant.post("/domains", json!({"name": "MCP.acme.example"})).await;
    assert_eq!((text(&whole, "name"), text(&whole, "state")), ("mcp.acme.example".into(), "unproven".into()));
    assert_eq!(text(&whole["record"], "name"), "_portcullis.mcp.acme.example");
    let one = json!({"name": "one.acme.example", "endpoint_id": endpoint.id});
    let one = tenant.post("/domains", one).await;

    // Claimed is not proven: it is as unknown as a name that nobody claims.
    let unknown = at(&gateway, 0, &endpoint, "nobody.example", "/tools/mcp").await;
    assert_eq!((unknown.status, unknown.code()), (404, "endpoint_not_found".to_owned()));
    for text in ["", "portcullis-domain=", "portcullis-domain=0"] {
        gateway.dns.set_texts("_portcullis.mcp.acme.example", &["v=spf1 -all", text]);
        assert!(verify(&tenant, &whole).await.unwrap_err().contains("DNS does not prove the domain"));
    }
    let answer = at(&gateway, 0, &endpoint, "mcp.acme.example", "/tools/mcp").await;
    assert_eq!(shown(&answer), shown(&unknown));

    for domain in [&whole, &one] {
        prove(&gateway, domain);
        let proven = verify(&tenant, domain).await.unwrap();
        assert_eq!(text(&proven, "state"), "proven");
    }
    for index in 0..2 {
        for (host, path) in [
            ("mcp.acme.example", "/tools/mcp"),
            ("MCP.ACME.example:8443", "/tools/mcp"),
            ("one.acme.example", "/mcp"),
        ] {
            let answer = at(&gateway, index, &endpoint, host, path).await;
            assert_eq!((answer.status, answer.code()), (200, String::new()), "{path} at {host}: {answer:?}");
        }
        for (host, path) in [
            ("mcp.acme.example", "/acme/tools/mcp"),
            ("mcp.acme.example", "/mcp"),
            ("one.acme.example", "/tools/mcp"),
            ("two.acme.example", "/mcp"),
        ] {
            let answer = at(&gateway, index, &endpoint, host, path).await;
            assert_eq!(shown(&answer), shown(&unknown), "{path} at {host}");
        }
    }
    // What it stands for is not taken from under it.
    let refused = tenant.admin.delete(&format!("{}/endpoints/{}", tenant.base, endpoint.id)).await;
    assert!(refused.unwrap_err().to_string().contains("409"));

    gateway.operator.patch(&tenant.base, json!({"suspended": true})).await.unwrap();
    eventually("a suspended tenant's domain is unknown", async || {
        at(&gateway, 0, &endpoint, "mcp.acme.example", "/tools/mcp").await.status == 404
    })
    .await;
    gateway.operator.patch(&tenant.base, json!({"suspended": false})).await.unwrap();
    let path = format!("{}/domains/{}?wait=applied", tenant.base, text(&whole, "id"));
    tenant.admin.delete(&path).await.unwrap();
    for index in 0..2 {
        let answer = at(&gateway, index, &endpoint, "mcp.acme.example", "/tools/mcp").await;
        assert_eq!(shown(&answer), shown(&unknown));
        eventually("the other domain is served again", async || {
            at(&gateway, index, &endpoint, "one.acme.example", "/mcp").await.status == 200
        })
        .await;
    }
}

#[tokio::test]
async fn two_tenants_may_claim_a_domain_and_one_has_it() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let (a, b) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let (of_a, of_b) = (a.endpoint("tools", &upstream).await, b.endpoint("tools", &upstream).await);
    a.grant(&of_a, &["echo"]).await;
    b.grant(&of_b, &["echo"]).await;
    let claim = json!({"name": "mcp.acme.example"});
    let (claim_of_a, claim_of_b) = (a.post("/domains", claim.clone()).await, b.post("/domains", claim).await);
    assert_ne!(claim_of_a["record"]["value"], claim_of_b["record"]["value"]);
    prove(&gateway, &claim_of_a);
    // A's record proves nothing for B.
    assert!(verify(&b, &claim_of_b).await.unwrap_err().contains("DNS does not prove the domain"));
    verify(&a, &claim_of_a).await.unwrap();
    prove(&gateway, &claim_of_b);
    assert!(verify(&b, &claim_of_b).await.unwrap_err().contains("Another tenant has proven this domain"));
    let status =
        async |endpoint: &Endpoint| at(&gateway, 0, endpoint, "mcp.acme.example", "/tools/mcp").await.status;
    // Both have an endpoint of that name; the host says whose is meant.
    assert_eq!((status(&of_a).await, status(&of_b).await), (200, 401));
    a.admin.delete(&format!("{}/domains/{}", a.base, text(&claim_of_a, "id"))).await.unwrap();
    verify(&b, &claim_of_b).await.unwrap();
    eventually("it is B's", async || (status(&of_a).await, status(&of_b).await) == (401, 200)).await;
}
