//! R48: a proxy that is out of the fleet, or whose certificate has ended, is neither told anything more nor listened to: every
//! stream that it has open ends, at every control plane, and it is told why.

use std::time::Duration;

use futures_util::StreamExt as _;
use harness::{Gateway, member::Member};
use portcullis_cli::up::demo;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wire::v1::{
    self, audit_client::AuditClient, commands_client::CommandsClient, config_client::ConfigClient,
    kill_client::KillClient, proxy_message, report_client::ReportClient,
};

/// Longer than a certificate of a proxy lasts.
const CERTIFICATE: Duration = Duration::from_secs(2 * 3600);

/// All that a proxy has open at one control plane.
struct Streams {
    configuration: Streaming<v1::ControlMessage>,
    kills: Streaming<v1::KillSet>,
    commands: Streaming<v1::Command>,
    audit: Streaming<v1::AuditAck>,
    reports: ReportClient<tonic::transport::Channel>,
}

impl Streams {
    async fn open(gateway: &Gateway, member: &Member) -> Self {
        let channel = member.channel(gateway);
        let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
        let hello = v1::ProxyMessage { body: Some(proxy_message::Body::Hello(hello)) };
        // Who has said all it will ever say is gone.
        let hello = futures_util::stream::iter([hello]).chain(futures_util::stream::pending());
        let acks =
            futures_util::stream::iter([v1::KillAck::default()]).chain(futures_util::stream::pending());
        let batches = futures_util::stream::pending();
        let watch = v1::WatchRequest::default();
        let mut streams = Self {
            configuration: ConfigClient::new(channel.clone()).stream(hello).await.unwrap().into_inner(),
            kills: KillClient::new(channel.clone()).watch(acks).await.unwrap().into_inner(),
            commands: CommandsClient::new(channel.clone()).watch(watch).await.unwrap().into_inner(),
            audit: AuditClient::new(channel.clone()).upload(batches).await.unwrap().into_inner(),
            reports: ReportClient::new(channel),
        };
        assert!(streams.configuration.message().await.unwrap().is_some());
        assert!(streams.kills.message().await.unwrap().is_some());
        streams
    }

    /// What each is told at its end, by name.
    async fn ends(mut self) -> Vec<(&'static str, Code, String)> {
        let told = |name, status: Status| (name, status.code(), status.message().to_owned());
        let mut ends = vec![
            told("configuration", end("configuration", self.configuration).await),
            told("kills", end("kills", self.kills).await),
            told("commands", end("commands", self.commands).await),
            told("audit", end("audit", self.audit).await),
        ];
        // On the connection that is there.
        let report = self.reports.catalogue(v1::CatalogueReport::default()).await;
        ends.push(told("report", report.unwrap_err()));
        ends
    }
}

async fn end<T>(name: &str, mut stream: Streaming<T>) -> Status {
    let ending = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{name} ended without a word"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ending).await.unwrap_or_else(|_| panic!("{name} goes on"))
}

async fn join(gateway: &Gateway) -> Member {
    Member::join(gateway, &demo::join_token(&gateway.operator).await.unwrap()).await
}

const NAMES: [&str; 5] = ["configuration", "kills", "commands", "audit", "report"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_is_revoked() {
    let gateway = Gateway::with_proxies(0).await;
    let replica = gateway.replica().await;
    let (member, other) = (join(&gateway).await, join(&gateway).await);
    // Of each proxy one configuration stream is the newest: so each is connected to one of the two.
    let here = Streams::open(&gateway, &member).await;
    let there = Streams::open(&replica, &other).await;
    for proxy in [member.proxy, other.proxy] {
        gateway.operator.delete(&format!("/v1/proxies/{proxy}")).await.unwrap();
    }
    for ends in [here.ends().await, there.ends().await] {
        let expected = NAMES.map(|name| (name, Code::PermissionDenied, "proxy_revoked".to_owned()));
        assert_eq!(ends, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_its_certificate_ends() {
    let gateway = Gateway::with_proxies(0).await;
    let member = join(&gateway).await;
    let streams = Streams::open(&gateway, &member).await;
    gateway.control_clock().set_forward(CERTIFICATE);
    let expected = NAMES.map(|name| (name, Code::Unauthenticated, "not an enrolled proxy".to_owned()));
    assert_eq!(streams.ends().await, expected);
}

/// Who is not told by the look for revocations is told by what it says itself, and why.
#[tokio::test]
async fn a_beat_of_a_proxy_that_is_out_ends_its_stream_with_the_reason() {
    use sqlx::Connection as _;
    let gateway = Gateway::with_proxies(0).await;
    let mut database = sqlx::PgConnection::connect(&gateway.database_url).await.unwrap();
    // Longer ago than revocations are looked for; and gone altogether.
    let ways = [
        (
            "UPDATE proxies SET revoked_at = now() - interval '3 hours' WHERE id = $1",
            Code::PermissionDenied,
            "proxy_revoked",
        ),
        ("DELETE FROM proxies WHERE id = $1", Code::Unauthenticated, "not an enrolled proxy"),
    ];
    for (way, code, message) in ways {
        let member = join(&gateway).await;
        let (says, said) = tokio::sync::mpsc::channel(4);
        // It may have ended by then.
        let say = async |body| says.send(v1::ProxyMessage { body: Some(body) }).await.is_ok();
        let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
        assert!(say(proxy_message::Body::Hello(hello)).await);
        let channel = member.channel(&gateway);
        let mut stream =
            ConfigClient::new(channel).stream(ReceiverStream::new(said)).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        sqlx::query("UPDATE join_tokens SET used_by = NULL").execute(&mut database).await.unwrap();
        sqlx::query(way).bind(member.proxy.uuid()).execute(&mut database).await.unwrap();
        let _gone = say(proxy_message::Body::Beat(v1::Beat::default())).await;
        let status = end("configuration", stream).await;
        assert_eq!((status.code(), status.message()), (code, message));
    }
}
