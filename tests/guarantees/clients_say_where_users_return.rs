//! R3: a client says beforehand where its users are sent back to (RFC 9700 section 2.1, RFC 8252 sections 7.1 to 7.3), and whether it can
//! keep a secret.

use harness::{Gateway, text};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_redirect_uris_are_narrow_bounded_and_told_back() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let own = json!(["https://app.example/cb", "http://127.0.0.1/cb", "com.example.app:/cb"]);
    let made = tenant.post("/clients", json!({"name": "app", "redirect_uris": own})).await;
    assert_eq!((&made["redirect_uris"], &made["public"]), (&own, &json!(false)), "{made}");
    // It will be given tokens without ever having had a secret.
    let keys = tenant.admin.get(&format!("{}/signing-keys", tenant.base)).await.unwrap();
    assert_eq!(keys["items"][0]["state"], "active", "{keys}");

    let path = format!("{}/clients/{}", tenant.base, text(&made, "id"));
    let many: Vec<_> = (0..21).map(|n| format!("https://app.example/{n}")).collect();
    for wrong in [
        json!(["http://app.example/cb"]),
        json!(["https://app.example/cb#part"]),
        json!(["https://user@app.example/cb"]),
        json!(["javascript:alert(1)"]),
        json!(["app:/cb"]),
        json!([format!("https://app.example/{}", "x".repeat(2048))]),
        json!(["https://app.example/cb", "https://app.example/cb"]),
        json!(many),
    ] {
        let refused = tenant.admin.patch(&path, json!({"redirect_uris": wrong})).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("422"), "{wrong}: {refused}");
    }
    assert_eq!(tenant.admin.get(&path).await.unwrap()["redirect_uris"], own);
    tenant.admin.patch(&path, json!({"redirect_uris": []})).await.unwrap();
    assert_eq!(tenant.admin.get(&path).await.unwrap()["redirect_uris"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_client_has_no_secret_and_one_with_a_secret_is_not_public() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let public = text(&tenant.post("/clients", json!({"name": "cli", "public": true})).await, "id");
    let key = json!({"name": "n", "key": crate::tenants_are_isolated::ed25519("one")});
    for (what, body) in [("secrets", json!({"name": "n"})), ("public-keys", key.clone())] {
        let path = format!("{}/clients/{public}/{what}", tenant.base);
        let refused = tenant.admin.post(&path, body).await.unwrap_err().to_string();
        assert!(refused.contains("409") && refused.contains("public"), "{what}: {refused}");
    }
    let keeps = text(&tenant.post("/clients", json!({"name": "server"})).await, "id");
    let path = format!("{}/clients/{keeps}", tenant.base);
    for (what, body) in [("secrets", json!({"name": "n"})), ("public-keys", key)] {
        let made = text(&tenant.post(&format!("/clients/{keeps}/{what}"), body).await, "id");
        let refused = tenant.admin.patch(&path, json!({"public": true})).await.unwrap_err().to_string();
        assert!(refused.contains("409"), "{what}: {refused}");
        tenant.admin.delete(&format!("{path}/{what}/{made}")).await.unwrap();
    }
    tenant.admin.patch(&path, json!({"public": true})).await.unwrap();
}
