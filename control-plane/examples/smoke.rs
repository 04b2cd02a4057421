use std::sync::Arc;
use control_plane::{app::ControlPlane, config::*, db::PoolSizes};
use portcullis_control_plane as control_plane;
#[tokio::main]
async fn main() {
    tracing_subscriber_init();
    let e: &dyn seams::Entropy = &seams::SystemEntropy;
    let url = std::env::args().nth(1).unwrap();
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let any = |p: u16| format!("127.0.0.1:{p}").parse().unwrap();
    let u = |s: &str| -> url::Url { s.parse().unwrap() };
    let token = crypto::key::mint(crypto::KeyKind::OperatorToken, e).text;
    use crypto::ExposeSecret;
    println!("{}", token.expose_secret());
    let kp = "/tmp/smoke.key";
    if !std::path::Path::new(kp).exists() { std::fs::write(kp, &*crypto::FileKek::generate_file(e)).unwrap(); }
    let config = Config { database_url: url.into(), pools: PoolSizes::default(), api_listen: any(18080), enrol_listen: any(0), grpc_listen: any(0), admin_listen: any(18081), api_tls: None,
        master_key: MasterKeyFile(std::fs::read(kp).unwrap().into()), operator_token: Some(token), urls: PublicUrls { control: u("http://127.0.0.1:18080"), auth: u("http://127.0.0.1:1"), gateway: u("http://127.0.0.1:2") } };
    let running = ControlPlane::start(config, Arc::new(seams::SystemClock), Arc::new(seams::SystemEntropy)).await.unwrap();
    println!("{:?}", running.api_addr);
    tokio::signal::ctrl_c().await.unwrap();
    running.shutdown().await;
}
fn tracing_subscriber_init() { let _ = std::mem::ManuallyDrop::new(telemetry::init(telemetry::TelemetryConfig { json_logs: false, filter: "debug,sqlx=warn,hyper=warn,h2=warn".into(), otlp_endpoint: None, service_name: "x".into() })); }
