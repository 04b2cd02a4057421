//! Options of `up`.

use std::{fs, net::TcpListener};

use serde_json::json;

use crate::run::{Place, shell};

#[test]
fn a_taken_port_is_named_before_anything_is_started() {
    let place = Place::new();
    let _taken = TcpListener::bind(("127.0.0.1", place.base + 20)).unwrap();
    let up = place.finish(place.up(&[]));
    assert!(!up.success);
    let expected = format!("port {} is taken; choose other ports with --port-base", place.base + 20);
    assert!(up.text.contains(&expected), "{up:?}");
    assert_eq!(place.recorded()["entries"], json!([]));
    // What is not to run needs no port.
    let _demo = TcpListener::bind(("127.0.0.1", place.base + 6)).unwrap();
    drop(_taken);
    assert!(place.start(&["--no-demo"]).stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_serve_the_same_and_bring_a_private_redis() {
    let place = Place::new();
    let running = place.start(&["--proxies", "2"]);
    let result = place.result();
    let proxies = result.0["proxies"].as_array().unwrap();
    assert_eq!(proxies.len(), 2);
    assert_ne!(proxies[0]["id"], proxies[1]["id"]);
    let path = result.text("endpoint_url").replace(&result.text("gateway_url"), "");
    for proxy in proxies {
        let url = format!("{}{path}", proxy["url"].as_str().unwrap());
        assert_eq!(result.sum_at(&url, 2, 3).await, "5", "{url}");
    }
    let redis = result.text("redis_url");
    assert!(
        redis.starts_with("redis://:") && redis.contains(&format!("@127.0.0.1:{}/", place.base + 5)),
        "{redis}"
    );
    let processes = place.processes();
    assert!(processes.iter().any(|(name, _)| name == "redis"));
    assert!(running.stop().success);
    assert!(processes.iter().all(|(_, process)| !process.is_alive()));
}

#[test]
fn a_private_redis_may_be_asked_for() {
    let place = Place::new();
    let running = place.start(&["--redis", "--no-demo"]);
    assert!(place.result().0["redis_url"].is_string());
    assert!(running.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_every_public_url_is_https_and_plain_http_is_refused() {
    let place = Place::new();
    let running = place.start(&["--tls"]);
    let result = place.result();
    for member in ["control_url", "auth_url", "gateway_url", "endpoint_url"] {
        assert!(result.text(member).starts_with("https://127.0.0.1:"), "{member}");
    }
    assert!(result.0["proxies"][0]["url"].as_str().unwrap().starts_with("https://"));
    let ca = result.text("ca_file");
    assert!(result.text("curl").contains(&format!("--cacert '{ca}'")));
    assert!(result.paste_curl().contains(r#""text":"5""#));
    for command in ["inspector", "mcp-remote"] {
        assert!(result.0["snippets"][command].as_str().unwrap().starts_with("NODE_EXTRA_CA_CERTS="));
    }
    assert!(result.operator().get("/v1/tenants").await.is_ok());

    let untrusted = shell(&result.text("curl").replace(&format!("--cacert '{ca}' "), ""));
    assert!(untrusted.contains("certificate"), "{untrusted}");
    for member in ["endpoint_url", "control_url"] {
        let plain = result.text(member).replace("https://", "http://");
        let answer = shell(&format!("curl -sS -o /dev/null -w '%{{http_code}}' '{plain}'"));
        assert!(!answer.ends_with("200") && !answer.ends_with("401"), "{member} over http: {answer}");
    }
    assert!(running.stop().success);

    // The same CA at the next start, and back to plain HTTP with the same key.
    let key = result.text("api_key");
    let before = fs::read(&ca).unwrap();
    let again = place.start(&["--tls"]);
    assert_eq!(fs::read(&ca).unwrap(), before);
    assert!(again.stop().success);
    let plain = place.start(&[]);
    assert_eq!((place.result().text("api_key"), place.result().0["ca_file"].is_null()), (key, true));
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    assert!(plain.stop().success);
}

#[test]
fn without_the_demo_there_is_no_tenant() {
    let place = Place::new();
    let running = place.start(&["--no-demo"]);
    let result = place.result();
    for member in
        ["endpoint_url", "tenant", "client_id", "key_id", "api_key", "admin_token", "curl", "snippets"]
    {
        assert!(result.0[member].is_null(), "{member}");
    }
    assert!(result.text("operator_token").starts_with("pop_"));
    assert!(!place.processes().iter().any(|(name, _)| name == "demo-server"));
    assert!(running.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_deletes_the_earlier_state() {
    let place = Place::new();
    assert!(place.start(&[]).stop().success);
    let kept = place.start(&[]);
    let old = place.result();
    assert!(kept.stop().success);
    let running = place.start(&["--fresh"]);
    let new = place.result();
    for member in ["api_key", "operator_token", "admin_token", "tenant"] {
        assert_ne!(old.text(member), new.text(member), "{member}");
    }
    assert_ne!(old.text("database_url"), new.text("database_url"), "another password");
    assert_eq!(old.caller().call("echo").await.status, 401);
    assert!(new.paste_curl().contains(r#""text":"5""#));
    assert!(running.stop().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ports_take_the_demo_along() {
    let mut place = Place::new();
    assert!(place.start(&[]).stop().success);
    place.base = Place::new().base;
    let running = place.start(&[]);
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    let result = place.result();
    let tenant = result.operator().get(&format!("/v1/tenants/{}", result.text("tenant"))).await.unwrap();
    assert_eq!(
        tenant["egress"],
        json!([{"network": "127.0.0.1/32", "port": place.base + 6}]),
        "only the new port"
    );
    assert!(running.stop().success);
}

#[test]
fn a_path_may_be_long_and_have_spaces() {
    let mut place = Place::new();
    place.dir = place.dir.join("it's a \"long\" path").join("d".repeat(100)).join("e".repeat(100));
    let running = place.start(&["--redis", "--tls"]);
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    assert!(running.stop().success);
}
