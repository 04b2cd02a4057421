//! R24, R48: the fleet's certificate authority is replaced while it serves: no call fails, no proxy is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use harness::{Gateway, Upstream, eventually, member::Member, text, tool};
use portcullis_cli::{rest::RestError, up::demo};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

const PATH: &str = "/v1/certificate-authorities";

async fn authorities(gateway: &Gateway) -> Vec<Value> {
    gateway.operator.get(PATH).await.unwrap()["items"].as_array().unwrap().clone()
}

async fn status(answer: Result<Value, RestError>) -> u16 {
    match answer {
        Err(RestError::Refused { status, .. }) => status.as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_fails_no_call_and_loses_no_proxy() {
    let mut gateway = Gateway::with_proxies(2).await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let limit =
        json!({"subject": "every_client", "per_minute": 10_000_000, "burst": 1_000_000, "concurrency": 0});
    tenant.post("/limits", limit).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let old = text(&authorities(&gateway).await[0], "id");
    // The second proxy is away when it begins.
    let away = gateway.proxies.remove(1);
    away.drain().await;
    away.shutdown().await;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let calling = {
        let (stop, answered, caller) = (Arc::clone(&stop), Arc::clone(&answered), endpoint.caller());
        tokio::task::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let answer = caller.call("echo").await;
                assert_eq!(answer.tool_text(), "ok: echo", "{answer:?}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let early = demo::join_token(&gateway.operator).await.unwrap();
    let new = text(&gateway.operator.post(PATH, json!({})).await.unwrap(), "id");
    assert_eq!(status(gateway.operator.post(PATH, json!({})).await).await, 409, "two at a time");
    let retire = |id: &str| format!("{PATH}/{id}");
    assert_eq!(
        status(gateway.operator.delete(&retire(&old)).await).await,
        409,
        "the new one does not issue yet"
    );
    eventually("the proxy that is there has moved", async || {
        authorities(&gateway).await[1]["proxies"] == json!(1)
    })
    .await;
    assert_eq!(
        status(gateway.operator.delete(&retire(&old)).await).await,
        409,
        "a proxy would be locked out"
    );

    // Tokens made before and after are both good.
    let late = demo::join_token(&gateway.operator).await.unwrap();
    for token in [&early, &late] {
        let member = Member::join(&gateway, token).await;
        gateway.operator.delete(&format!("/v1/proxies/{}", member.proxy)).await.unwrap();
    }
    let named = [early, late].map(|token| {
        let parsed = crypto::join::parse(token.expose_secret()).unwrap();
        crypto::digest::hex(&parsed.ca_key_hash)
    });
    let hashes: Vec<_> = authorities(&gateway).await.iter().map(|ca| text(ca, "key_sha256")).collect();
    assert_eq!(named[..], hashes[..], "each names the authority that issued when it was made");
    // A real proxy finds the authority that its token names, and one that was away finds the one that it knows.
    gateway.start_again(1).await;
    gateway.add_proxy().await;
    eventually("every proxy has moved", async || {
        let authorities = authorities(&gateway).await;
        (authorities[0]["proxies"].as_u64(), authorities[1]["proxies"].as_u64()) == (Some(0), Some(3))
    })
    .await;
    gateway.operator.delete(&retire(&old)).await.unwrap();
    assert!(authorities(&gateway).await[0]["retired_at"].is_string());
    assert_eq!(status(gateway.operator.delete(&retire(&new)).await).await, 409, "the only one");
    // Nobody trusts it any more, and everybody is still there.
    let before = answered.load(Ordering::SeqCst);
    tenant.grant(&endpoint, &["echo"]).await;
    eventually("calls go on", async || answered.load(Ordering::SeqCst) > before + 20).await;
    stop.store(true, Ordering::SeqCst);
    calling.await.unwrap();
    for proxy in &gateway.proxies {
        let id = proxy.proxy_id().unwrap();
        assert_eq!(gateway.operator.get(&format!("/v1/proxies/{id}")).await.unwrap()["live"], json!(true));
    }
}
