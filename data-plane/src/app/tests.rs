//! A whole proxy whose control plane is not there.

use std::net::SocketAddr;

use errors::ErrorCode;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use listen::{
    files::{CertificateFiles, Tls},
    front::{Front, Tells},
    tls::Floor,
};
use seams::{SystemClock, SystemEntropy};
use tokio::net::TcpStream;

use super::*;
use crate::config::{Bounds, ConfigError};

fn config(state: &tempfile::TempDir) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        workers: 2,
        tls: None,
        front: None,
        state_dir: state.path().to_path_buf(),
        archive_key_file: None,
        max_stale: crate::config::MAX_STALE,
        kill_order_key: None,
        gateway_hosts: Vec::new(),
        control: control::Config {
            enrol_url: "https://127.0.0.1:9".parse().unwrap(),
            grpc_url: "https://127.0.0.1:9".parse().unwrap(),
            join_token: None,
            build: "test".to_owned(),
        },
        redis: None,
        trace_calls: false,
        bounds: Bounds::default(),
    }
}

fn start(config: Config) -> Result<Running, StartError> {
    Proxy::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy))
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = http::Request::get(path).header("host", address.to_string());
    let ask = async move {
        let response =
            sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    tokio::select! {
        answer = ask => answer,
        _ = async { connection.await.unwrap(); std::future::pending::<()>().await } => unreachable!(),
    }
}

#[tokio::test]
async fn without_configuration_it_is_alive_but_takes_no_call() {
    let state = tempfile::tempdir().unwrap();
    let running = start(config(&state)).unwrap();
    for (path, status) in [
        ("/livez", 200),
        ("/health", 200),
        ("/readyz", 503),
        ("/ready", 503),
        ("/startupz", 503),
        ("/metrics", 200),
        ("/other", 404),
    ] {
        assert_eq!(get(running.admin_addr(), path).await.0, status, "{path}");
    }
    let (_, report) = get(running.admin_addr(), "/readyz").await;
    assert!(report.contains(r#""configuration":"missing""#), "{report}");
    let (status, problem) = get(running.gateway_addr(), "/tenant-1/tools/mcp").await;
    assert_eq!(status, 503);
    assert!(problem.contains(r#""code":"not_ready""#), "{problem}");
    // The gateway listener has no health checks: it says the same to every path.
    assert_eq!(get(running.gateway_addr(), "/livez").await.0, 503);
    assert!(!running.is_ready());
    assert_eq!(running.proxy_id(), None);
    running.shutdown().await;
}

#[test]
fn plain_http_is_for_loopback_and_somebody_has_to_serve() {
    let state = tempfile::tempdir().unwrap();
    let outside = Config { listen: "0.0.0.0:0".parse().unwrap(), ..config(&state) };
    let refused = start(outside).unwrap_err();
    assert!(matches!(refused, StartError::Config(ConfigError::PlainHttp)));
    assert_eq!(refused.code(), ErrorCode::TlsRequired);
    // A balancer in front changes that only where TLS ends at it.
    for ends_tls in [false, true] {
        let network = "192.0.2.0/24".parse().unwrap();
        let front = Front::new(vec![network], Tells::ProxyProtocol, ends_tls).unwrap();
        let outside = Config { listen: "0.0.0.0:0".parse().unwrap(), front: Some(front), ..config(&state) };
        assert_eq!(outside.validate().is_ok(), ends_tls);
    }
    let nobody = Config { workers: 0, ..config(&state) };
    assert!(matches!(start(nobody), Err(StartError::Config(ConfigError::NoWorkers))));
}

#[test]
fn no_tenant_may_have_all_of_the_spool() {
    let state = tempfile::tempdir().unwrap();
    for (spool_bytes, spool_tenant_bytes, good) in [
        (64 << 20, 1 << 20, true),
        ((64 << 20) - 1, 1 << 20, false),
        (1 << 30, 1 << 30, false),
        (1 << 30, (1 << 30) - 1, true),
        (1 << 30, 0, false),
    ] {
        let bounds = Bounds { spool_bytes, spool_tenant_bytes, ..Bounds::default() };
        let checked = Config { bounds, ..config(&state) }.validate();
        assert_eq!(checked.is_ok(), good, "{spool_tenant_bytes} of {spool_bytes}");
        assert!(good || matches!(checked, Err(ConfigError::Spool)));
    }
}

#[test]
fn certificate_files_that_cannot_be_used_are_said_at_the_start() {
    let state = tempfile::tempdir().unwrap();
    let files = CertificateFiles { chain: state.path().join("no.pem"), key: state.path().join("no.key") };
    let tls = Tls { certificates: vec![files], floor: Floor::default() };
    let refused = start(Config { tls: Some(tls), ..config(&state) }).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::CertificateUnusable);
    assert!(refused.to_string().contains("no.pem"), "{refused}");
}

#[test]
fn an_address_that_is_taken_by_somebody_else_is_an_error() {
    let state = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { listen: taken.local_addr().unwrap(), ..config(&state) };
    assert!(matches!(start(config), Err(StartError::Bind(..))));
}
