//! What listens where, and with what protection.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use control_plane::{
    app::{ControlPlane, Running, StartError},
    config::{ApiLimits, Config, MasterKeyFile, PublicUrls},
    db::PoolSizes,
};
use crypto::{FileKek, Zeroizing};
use harness::{eventually, gateway::install_tls_provider, servers::Servers};
use listen::{
    files::{CertificateFiles, Tls},
    front::{Front, Tells},
    tls::Floor,
};
use reqwest::StatusCode;
use seams::{SystemClock, SystemEntropy};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) async fn start(adjust: impl FnOnce(&mut Config)) -> Result<Running, StartError> {
    install_tls_provider();
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let origin = || "http://127.0.0.1:1".parse().unwrap();
    let mut config = Config {
        database_url: SecretString::from(Servers::of_this_run().new_database().await),
        redis: None,
        notified: true,
        pools: PoolSizes::default(),
        api_listen: any,
        auth_listen: any,
        enrol_listen: any,
        grpc_listen: any,
        admin_listen: any,
        api_tls: None,
        api_front: None,
        master_key: MasterKeyFile(Zeroizing::new(FileKek::generate_file(&SystemEntropy).to_vec())),
        operator_token: None,
        api_limits: ApiLimits::default(),
        dns_server: None,
        fetch_roots: Vec::new(),
        fetch_networks: egress::Networks::default(),
        state_dir: None,
        urls: PublicUrls { control: origin(), auth: origin(), gateway: origin() },
    };
    adjust(&mut config);
    ControlPlane::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

#[tokio::test]
async fn plain_http_off_loopback_does_not_start() {
    let refused = start(|config| config.api_listen = (Ipv4Addr::UNSPECIFIED, 0).into()).await;
    assert!(matches!(refused, Err(StartError::Listen(_))));
}

#[tokio::test]
async fn an_unusable_master_key_does_not_start() {
    let refused =
        start(|config| config.master_key = MasterKeyFile(Zeroizing::new(b"nonsense".to_vec()))).await;
    assert!(matches!(refused, Err(StartError::MasterKey(_))));
    let refused = start(|config| config.operator_token = Some("pop_short".into())).await;
    assert!(matches!(refused, Err(StartError::OperatorToken(_))));
}

#[tokio::test]
async fn health_and_metrics_are_on_the_admin_listener_alone() {
    let running = start(|_| {}).await.unwrap();
    let status = async |address: std::net::SocketAddr, path: &str| {
        reqwest::get(format!("http://{address}{path}")).await.unwrap().status()
    };
    for path in ["/livez", "/readyz", "/startupz", "/health", "/ready", "/metrics"] {
        assert_eq!(status(running.admin_addr, path).await, StatusCode::OK, "{path}");
        assert_eq!(status(running.api_addr, path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(status(running.admin_addr, "/v1/tenants").await, StatusCode::NOT_FOUND);
    status(running.api_addr, "/v1/tenants").await;
    let metrics =
        reqwest::get(format!("http://{}/metrics", running.admin_addr)).await.unwrap().text().await.unwrap();
    let route =
        "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/v1/tenants\"";
    assert!(metrics.contains(route), "{metrics}");
    running.shutdown().await;
}

#[tokio::test]
async fn with_a_certificate_the_api_speaks_tls_alone() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = CertificateFiles { chain: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls { certificates: vec![files], floor: Floor::Tls13 };
    let running = start(|config| config.api_tls = Some(tls)).await.unwrap();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let url = format!("https://localhost:{}/v1/openapi.json", running.api_addr.port());
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000; includeSubDomains");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.headers()[name], value);
    }
    assert!(reqwest::get(format!("http://{}/v1/openapi.json", running.api_addr)).await.is_err());
    running.shutdown().await;
}

/// What a browser is told of every answer: of data, pages and refusals, whoever makes them.
#[tokio::test]
async fn every_answer_of_the_api_protects_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = CertificateFiles { chain: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls { certificates: vec![files], floor: Floor::Tls13 };
    let token = crypto::key::mint(crypto::KeyKind::OperatorToken, &SystemEntropy).text;
    let operator = token.clone();
    let running = start(|config| {
        config.api_tls = Some(tls);
        config.operator_token = Some(operator);
    })
    .await
    .unwrap();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let base = format!("https://localhost:{}", running.api_addr.port());
    let ask = |method: &str, path: &str| client.request(method.parse().unwrap(), format!("{base}{path}"));
    let as_operator = |method: &str, path: &str| ask(method, path).bearer_auth(token.expose_secret());
    let json = "application/json";
    for (status, request) in [
        (200, ask("GET", "/v1/openapi.json")),
        (200, ask("HEAD", "/v1/openapi.json")),
        (200, ask("GET", "/errors/not_found")),
        (200, as_operator("GET", "/v1/tenants")),
        (201, as_operator("POST", "/v1/pools").header("content-type", json).body(r#"{"slug":"other"}"#)),
        (400, as_operator("POST", "/v1/pools").header("content-type", json).body("{")),
        (401, ask("GET", "/v1/tenants")),
        (404, ask("GET", "/")),
        (404, as_operator("GET", "/v1/tenants/nobody")),
        (405, ask("PUT", "/v1/tenants")),
        (409, as_operator("POST", "/v1/pools").header("content-type", json).body(r#"{"slug":"other"}"#)),
        (
            413,
            as_operator("POST", "/v1/pools").header("content-type", json).body(" ".repeat(1024 * 1024 + 1)),
        ),
        (415, as_operator("POST", "/v1/pools").header("content-type", "text/plain").body("{}")),
        (422, as_operator("POST", "/v1/pools").header("content-type", json).body("{}")),
    ] {
        let answer = request.send().await.unwrap();
        let what = answer.url().path().to_owned();
        assert_eq!(answer.status().as_u16(), status, "{what}");
        for (name, value) in [
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("x-xss-protection", "0"),
        ] {
            let found = answer.headers().get(name).and_then(|found| found.to_str().ok());
            assert_eq!(found, Some(value), "{status} {what}: {name}");
        }
        assert!(answer.headers().contains_key("content-security-policy"), "{status} {what}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn the_api_shows_a_certificate_that_takes_the_place_of_its_own() {
    install_tls_provider();
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles { chain: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&files.chain, made.cert.pem()).unwrap();
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    };
    let before = renew();
    let tls = Tls { certificates: vec![files.clone()], floor: Floor::Tls13 };
    let running = start(|config| config.api_tls = Some(tls)).await.unwrap();
    let url = format!("https://localhost:{}/v1/openapi.json", running.api_addr.port());
    assert!(before.get(&url).send().await.is_ok());
    let after = renew();
    harness::eventually("the new certificate is shown", async || after.get(&url).send().await.is_ok()).await;
    running.shutdown().await;
}

#[tokio::test]
async fn behind_a_balancer_the_api_knows_whose_a_request_is() {
    let front = |tells| Front::new(vec!["127.0.0.0/8".parse().unwrap()], tells, true).unwrap();
    let running = start(|config| config.api_front = Some(front(Tells::XForwardedFor))).await.unwrap();
    let url = format!("http://{}/v1/openapi.json", running.api_addr);
    let asked = async |source: &str, proto: &str| {
        let request = reqwest::Client::new().get(&url).header("x-forwarded-for", source);
        let answer = request.header("x-forwarded-proto", proto).send().await.unwrap();
        let hsts = answer.headers().contains_key("strict-transport-security");
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.unwrap();
        (status, hsts, body["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(asked("203.0.113.9", "https").await, (200, true, String::new()));
    assert_eq!(asked("203.0.113.9", "http").await, (403, false, "tls_required".to_owned()));
    assert_eq!(asked("unknown", "https").await, (400, true, "client_address_unknown".to_owned()));
    running.shutdown().await;

    let running = start(|config| config.api_front = Some(front(Tells::ProxyProtocol))).await.unwrap();
    for (before, served) in [("PROXY TCP4 203.0.113.9 192.0.2.1 4000 443\r\n", true), ("", false)] {
        let mut stream = tokio::net::TcpStream::connect(running.api_addr).await.unwrap();
        let request = "GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{before}{request}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), served, "{before}");
    }
    running.shutdown().await;

    // Nobody gets past a balancer at which TLS ends; a listener that is not on loopback may then be without it.
    let elsewhere = Front::new(vec!["192.0.2.0/24".parse().unwrap()], Tells::Forwarded, true).unwrap();
    let running = start(|config| {
        config.api_listen = "0.0.0.0:0".parse().unwrap();
        config.api_front = Some(elsewhere);
    })
    .await
    .unwrap();
    assert!(
        reqwest::get(format!("http://127.0.0.1:{}/v1/openapi.json", running.api_addr.port())).await.is_err()
    );
    running.shutdown().await;
}

/// Whoever opens connections without end leaves places for others.
#[tokio::test]
async fn one_address_has_256_connections_and_no_more() {
    let running = start(|_| {}).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(TcpStream::connect(running.api_addr).await.unwrap());
    }
    eventually("those above the bound are closed", async || {
        let mut closed = 0;
        for stream in &mut open {
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut byte)).await;
            closed += usize::from(read.is_ok());
        }
        closed == 44
    })
    .await;
    drop(open);
    // Their places are free again.
    eventually("a place is free", async || {
        reqwest::get(format!("http://{}/v1/openapi.json", running.api_addr)).await.is_ok()
    })
    .await;
    running.shutdown().await;
}
