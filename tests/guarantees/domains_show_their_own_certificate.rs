//! R26: whoever asks a proxy for a tenant's domain is shown the certificate that the tenant gave it, and nobody ever sees its key.

use std::net::SocketAddr;

use harness::{Gateway, Tenant, Upstream, text, tool};
use listen::{
    files::{CertificateFiles, Tls},
    tls::Floor,
};
use rcgen::CertifiedKey;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::tenants_are_isolated::prove;

struct Site {
    root: reqwest::Certificate,
    body: Value,
}

fn site(name: &str) -> Site {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let root = reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap();
    Site { root, body: json!({"chain": cert.pem(), "key": signing_key.serialize_pem()}) }
}

/// The status of a call of the domain's endpoint, which begins with a handshake in which nothing but `site` is trusted.
async fn call(proxy: SocketAddr, host: &str, site: &Site, key: &SecretString) -> Result<u16, reqwest::Error> {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([site.root.clone()]).resolve(host, proxy);
    let response = http
        .build()
        .unwrap()
        .post(format!("https://{host}:{}/tools/mcp", proxy.port()))
        .bearer_auth(key.expose_secret())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}}))
        .send()
        .await?;
    assert_eq!(
        response.headers()["strict-transport-security"],
        "max-age=31536000; includeSubDomains",
        "over TLS, whatever the answer"
    );
    Ok(response.status().as_u16())
}

async fn claim(gateway: &Gateway, tenant: &Tenant, name: &str) -> String {
    let domain = tenant.post("/domains", json!({"name": name})).await;
    prove(gateway, &domain);
    format!("{}/domains/{}", tenant.base, text(&domain, "id"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_has_the_certificate_it_was_given_last() {
    let mut gateway = Gateway::with_proxies(0).await;
    let dir = tempfile::tempdir().unwrap();
    let own = site("gw.example.com");
    let files = CertificateFiles { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.chain, text(&own.body, "chain")).unwrap();
    std::fs::write(&files.key, text(&own.body, "key")).unwrap();
    gateway.tls = Some(Tls { certificates: vec![files], floor: Floor::Tls13 });
    gateway.add_proxy().await;
    gateway.add_proxy().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let proxies: Vec<_> = gateway.proxies.iter().map(|proxy| proxy.gateway_addr()).collect();
    let host = "mcp.acme.example";
    let at = async |proxy: usize, host: &str, site: &Site| {
        call(proxies[proxy], host, site, &endpoint.key).await.map_err(|_| ())
    };
    let (first, second) = (site(host), site(host));
    let domain = claim(&gateway, &tenant, host).await;
    let certificate = format!("{domain}/certificate?wait=applied");

    // Given, but not proven to be the tenant's: nobody is shown it.
    let shown = tenant.admin.put(&certificate, first.body.clone()).await.unwrap();
    assert_eq!(shown["certificate"]["names"], json!([host]));
    assert!(at(0, host, &first).await.is_err());
    tenant.admin.post(&format!("{domain}/verify?wait=applied"), json!({})).await.unwrap();
    for proxy in 0..2 {
        assert_eq!(at(proxy, host, &first).await, Ok(200));
        assert!(at(proxy, host, &own).await.is_err(), "no other is shown");
        // The gateway's own name is its own still, and what nobody has is shown to nobody.
        assert_eq!(at(proxy, "gw.example.com", &own).await, Ok(404));
        assert!(at(proxy, "x.mcp.acme.example", &first).await.is_err());
    }
    let replaced = tenant.admin.put(&certificate, second.body.clone()).await.unwrap();
    assert_ne!(replaced["certificate"]["fingerprint"], shown["certificate"]["fingerprint"]);
    for proxy in 0..2 {
        assert_eq!(at(proxy, host, &second).await, Ok(200));
        assert!(at(proxy, host, &first).await.is_err());
    }
    // From its own disk a proxy shows it too.
    gateway.restart_proxy(0).await;
    let again = gateway.proxies[0].gateway_addr();
    assert_eq!(call(again, host, &second, &endpoint.key).await.unwrap(), 200);

    // Its key is nowhere to be seen.
    let secret = text(&second.body, "key");
    let line = secret.lines().nth(1).unwrap();
    for seen in
        [replaced, tenant.admin.get(&domain).await.unwrap(), tenant.admin.get(&tenant.base).await.unwrap()]
    {
        assert!(!seen.to_string().contains(line));
    }
    let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
    let key = PrivateKeyDer::from_pem_slice(secret.as_bytes()).unwrap();
    let (plain, rows): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE position($1::bytea IN sealed) > 0), count(*) FROM domain_certificates",
    )
    .bind(key.secret_der()[..32].to_vec())
    .fetch_one(&database)
    .await
    .unwrap();
    assert_eq!((plain, rows), (0, 1));

    tenant.admin.delete(&certificate).await.unwrap();
    assert!(call(again, host, &second, &endpoint.key).await.is_err());
    assert!(tenant.admin.delete(&certificate).await.unwrap_err().to_string().contains("404"));
}
