//! The connection: it comes back by itself, and nobody waits for it.

use harness::{
    Gateway, eventually,
    gateway::install_tls_provider,
    redis::{Redis, link, patient_link},
};
use redis_link::{Address, CallError, Link, redis::cmd};
use seams::SystemEntropy;
use std::{sync::Arc, time::Duration};

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    reqwest::get(format!("http://{address}{path}")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_paused_redis_is_down_and_comes_back_by_itself() {
    let redis = Redis::start();
    let (link, keeper) = link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    let set = async || link.call::<()>(cmd("SET").arg("a").arg(1)).await.is_ok();
    eventually("Redis answers in time", set).await;

    redis.pause();
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(link.call::<i64>(cmd("GET").arg("a")).await);
    }
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    let waited = answers.iter().filter(|answer| matches!(answer, Err(CallError::Late))).count();
    assert!(waited <= 2, "{waited} of 50 calls waited for a Redis known to be silent");
    assert!(!link.is_up());

    redis.go_on();
    eventually("the link is up again", async || link.is_up()).await;
    let get = async || link.call::<i64>(cmd("GET").arg("a")).await.is_ok_and(|value| value == 1);
    eventually("what was set is there", get).await;
}

#[tokio::test]
async fn a_restarted_redis_is_found_again() {
    let mut redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    redis.stop();
    eventually("the link is down", async || !link.is_up()).await;
    assert!(matches!(link.call::<()>(&cmd("PING")).await, Err(CallError::Away)));
    redis.start_again();
    eventually("the link is up again", async || link.is_up()).await;
}

#[tokio::test]
async fn an_error_of_one_command_does_not_take_the_link_down() {
    let redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    let refused = link.call::<()>(&cmd("NOSUCHCOMMAND")).await;
    assert!(matches!(refused, Err(CallError::Failed(_))), "{refused:?}");
    assert!(link.is_up());
    // A server that takes no writes is of no use, although it answers.
    link.call::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await.unwrap();
    let refused = link.call::<()>(cmd("SET").arg("a").arg(1)).await;
    assert!(refused.is_err() && !link.is_up(), "{refused:?}");
}

#[tokio::test]
async fn users_and_tls_are_part_of_the_url() {
    install_tls_provider();
    let redis = Redis::start();
    let (admin, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || admin.is_up()).await;
    let user = ["SETUSER", "proxy", "on", ">pass word/1", "~*", "+@all"];
    admin.call::<()>(cmd("ACL").arg(&user)).await.unwrap();

    let (with_user, keeper) =
        patient_link(&format!("redis://proxy:pass%20word%2F1@127.0.0.1:{}/0", redis.port()));
    tokio::spawn(keeper.run());
    eventually("the user's link is up", async || with_user.is_up()).await;
    let name: String = with_user.call(cmd("ACL").arg("WHOAMI")).await.unwrap();
    assert_eq!(name, "proxy");

    // TLS on a second port of the same server, with a CA nobody else knows.
    let dir = tempfile::tempdir().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::<String>::new()).map(|mut params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    });
    let (ca_key, leaf_key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let ca_params = ca.unwrap();
    let ca_certificate = ca_params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca_params, ca_key);
    let leaf =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&leaf_key, &issuer);
    for (name, text) in [
        ("ca.pem", ca_certificate.pem()),
        ("leaf.pem", leaf.unwrap().pem()),
        ("leaf.key", leaf_key.serialize_pem()),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let mut set = cmd("CONFIG");
    // Together: no part of it is valid without the others.
    set.arg("SET").arg("tls-cert-file").arg(file("leaf.pem")).arg("tls-key-file").arg(file("leaf.key"));
    set.arg("tls-ca-cert-file")
        .arg(file("ca.pem"))
        .arg("tls-auth-clients")
        .arg("no")
        .arg("tls-port")
        .arg(port);
    admin.call::<()>(&set).await.unwrap();
    let url = format!("rediss://proxy:pass%20word%2F1@localhost:{port}/");
    let pem = ca_certificate.pem().into_bytes();
    let known = Address::parse(url.clone().into(), Some(pem)).unwrap().with_budget(Duration::from_secs(10));
    let (tls, keeper) = Link::new(known, Arc::new(SystemEntropy));
    tokio::spawn(keeper.run());
    let (strict, keeper) = patient_link(&url);
    tokio::spawn(keeper.run());
    eventually("the link over TLS is up", async || tls.is_up()).await;
    assert!(!strict.is_up(), "a server that no public authority vouches for was told a password");
}

#[tokio::test]
async fn a_proxy_says_whether_it_has_redis_and_serves_without() {
    let redis = Redis::start();
    let gateway = Gateway::with_redis(1, Some(&redis.url())).await;
    let admin = gateway.proxies[0].admin_addr();
    let connected = async || get(admin, "/readyz").await.contains(r#""redis":"connected""#);
    eventually("the proxy has Redis", connected).await;
    assert!(get(admin, "/metrics").await.contains("portcullis_redis_up 1"));
    redis.stop();
    eventually("the proxy has lost Redis", async || !connected().await).await;
    assert!(gateway.proxies[0].is_ready());
    let alone = Gateway::start().await;
    assert!(get(alone.proxies[0].admin_addr(), "/readyz").await.contains(r#""redis":"none""#));
}
