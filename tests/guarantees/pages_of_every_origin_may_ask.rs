//! R5: pages of other origins, such as the Inspector, may call what clients call at a tenant's issuer, where no cookie counts.

use harness::Gateway;

use crate::clients_register_themselves::acme;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_every_origin_may_call_what_clients_call_and_no_cookie_counts() {
    let gateway = Gateway::with_proxies(0).await;
    acme(&gateway, "acme", "open").await;
    let http = reqwest::Client::new();
    for path in [
        "/t/acme/register",
        "/t/acme/token",
        "/.well-known/oauth-authorization-server/t/acme",
        "/t/acme/jwks.json",
    ] {
        let url = format!("{}{path}", gateway.auth_url);
        let asked = http
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type, mcp-protocol-version");
        let asked = asked.send().await.unwrap();
        assert_eq!(asked.status(), 204, "{path}");
        assert_eq!(asked.headers()["access-control-allow-origin"], "*", "{path}");
        let allowed = asked.headers()["access-control-allow-headers"].to_str().unwrap();
        assert!(allowed.contains("mcp-protocol-version") && allowed.contains("authorization"), "{path}");
        assert!(asked.headers().get("access-control-allow-credentials").is_none(), "{path}");
        let request = if path.ends_with("/register") || path.ends_with("/token") {
            http.post(&url)
        } else {
            http.get(&url)
        };
        let answered = request.header("origin", "https://inspector.example").send().await.unwrap();
        assert_eq!(answered.headers()["access-control-allow-origin"], "*", "{path}: errors too");
    }
}
