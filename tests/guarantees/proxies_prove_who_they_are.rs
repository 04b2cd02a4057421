//! R24, R48: what is told to a proxy, and what is believed of it, follows from its certificate alone.

use harness::{
    Gateway,
    member::{Member, enrol, request},
};
use ids::{ProxyId, TenantId};
use portcullis_cli::up::demo;
use prost::Message as _;
use rcgen::KeyPair;
use secrecy::SecretString;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tonic::{Code, Status};
use wire::v1::{
    self, audit_client::AuditClient, config_client::ConfigClient, control_message, proxy_message,
    report_client::ReportClient,
};

async fn token(gateway: &Gateway) -> SecretString {
    demo::join_token(&gateway.operator).await.unwrap()
}

/// Opens a configuration stream and says hello; gives what comes first.
async fn greet(channel: tonic::transport::Channel) -> Result<Option<control_message::Body>, Status> {
    let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
    let hello = v1::ProxyMessage { body: Some(proxy_message::Body::Hello(hello)) };
    let hello = futures_util::stream::iter([hello]);
    // Who has said all it will ever say is gone.
    let open = futures_util::StreamExt::chain(hello, futures_util::stream::pending());
    let mut stream = ConfigClient::new(channel).stream(open).await?.into_inner();
    Ok(stream.message().await?.and_then(|message| message.body))
}

#[tokio::test]
async fn a_join_token_works_once_and_only_with_a_request_that_its_key_signed() {
    let gateway = Gateway::with_proxies(0).await;
    let token = token(&gateway).await;
    let (_, mut forged) = request();
    let last = forged.len() - 4;
    forged[last] ^= 1;
    assert_eq!(enrol(&gateway, &token, forged).await.unwrap_err().code(), Code::InvalidArgument);
    enrol(&gateway, &token, request().1).await.unwrap();
    let used = enrol(&gateway, &token, request().1).await.unwrap_err();
    let unknown = crypto::join::mint(&[7; 32], &seams::SystemEntropy).text;
    let unknown = enrol(&gateway, &unknown, request().1).await.unwrap_err();
    assert_eq!((used.code(), used.message()), (unknown.code(), unknown.message()));
    assert_eq!((used.code(), used.message()), (Code::Unauthenticated, "join_token_refused"));
}

#[tokio::test]
async fn a_stream_needs_a_certificate_of_a_proxy_that_is_not_revoked() {
    let gateway = Gateway::with_proxies(0).await;
    let member = Member::join(&gateway, &token(&gateway).await).await;
    assert!(matches!(greet(member.channel(&gateway)).await, Ok(Some(control_message::Body::Welcome(_)))));
    assert!(greet(member.anonymous_channel(&gateway)).await.is_err(), "no certificate");

    let other = Gateway::with_proxies(0).await;
    let foreign = Member::join(&other, &token(&other).await).await;
    let posing = Member { ca: member.ca.clone(), ..foreign };
    assert!(greet(posing.channel(&gateway)).await.is_err(), "another installation's certificate");

    gateway.operator.delete(&format!("/v1/proxies/{}", member.proxy)).await.unwrap();
    let told = [
        greet(member.channel(&gateway)).await.unwrap_err(),
        member.renew(&gateway, &member.key).await.unwrap_err(),
    ];
    for status in told {
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "proxy_revoked"));
    }
    let thief = KeyPair::generate().unwrap();
    let refused = member.renew(&gateway, &thief).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "others are not told");
}

#[tokio::test]
async fn a_renewal_needs_the_old_key() {
    let gateway = Gateway::with_proxies(0).await;
    let member = Member::join(&gateway, &token(&gateway).await).await;
    let renewed = member.renew(&gateway, &member.key).await.unwrap();
    assert_eq!(renewed.proxy_id, member.proxy.uuid().as_bytes());
    let stolen = KeyPair::generate().unwrap();
    assert_eq!(member.renew(&gateway, &stolen).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_that_was_replaced_gets_no_certificate_once_its_successor_is_in_use() {
    let gateway = Gateway::with_proxies(0).await;
    let first = Member::join(&gateway, &token(&gateway).await).await;
    let lost = first.renewed(&gateway).await.unwrap();
    let second = first.renewed(&gateway).await.expect("the answer to a renewal can get lost");
    let refused = lost.renewed(&gateway).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "join_token_refused"));
    let third = second.renewed(&gateway).await.unwrap();
    assert_eq!(first.renewed(&gateway).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(third.renewed(&gateway).await.is_ok());
}

fn record(tenant: TenantId, proxy: ProxyId, boot: [u8; 16], seq: u64) -> bytes::Bytes {
    let record = v1::AuditRecord {
        version: 1,
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        proxy_id: proxy.uuid().as_bytes().to_vec(),
        boot: boot.to_vec(),
        seq,
        at_micros: 1_780_000_000_000_000 + seq,
        phase: v1::Phase::Outcome.into(),
        decision: v1::Decision::Allowed.into(),
        method: "tools/call".to_owned(),
        target: "by hand".to_owned(),
        ..v1::AuditRecord::default()
    };
    record.encode_to_vec().into()
}

async fn upload(
    gateway: &Gateway,
    member: &Member,
    boot: [u8; 16],
    records: Vec<bytes::Bytes>,
) -> Result<u64, Status> {
    let batch = v1::AuditBatch { boot: boot.to_vec(), records, ..v1::AuditBatch::default() };
    let mut client = AuditClient::new(member.channel(gateway));
    let mut acks = client.upload(futures_util::stream::iter([batch])).await?.into_inner();
    acks.message().await?.map(|ack| ack.seq).ok_or_else(|| Status::aborted("no acknowledgement"))
}

#[tokio::test]
async fn a_proxy_records_its_own_calls_only_and_gaps_are_noticed() {
    const BOOT: [u8; 16] = [4; 16];
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let id: TenantId = tenant.id.parse().unwrap();
    let member = Member::join(&gateway, &token(&gateway).await).await;
    let other = Member::join(&gateway, &token(&gateway).await).await;

    let foreign = upload(&gateway, &member, BOOT, vec![record(id, other.proxy, BOOT, 1)]).await.unwrap_err();
    assert_eq!(foreign.code(), Code::Unavailable, "that proxy lives");
    let mut altered = record(id, member.proxy, [5; 16], 1).to_vec();
    altered.extend_from_slice(&[0xa0, 0x06, 0x01]);
    upload(&gateway, &member, [5; 16], vec![altered.into()]).await.unwrap();
    assert_eq!(tenant.audit("phase=outcome").await.len(), 0);

    let own = |seq| record(id, member.proxy, BOOT, seq);
    assert_eq!(upload(&gateway, &member, BOOT, vec![own(1), own(2)]).await.unwrap(), 2);
    assert_eq!(
        upload(&gateway, &member, BOOT, vec![own(2), own(5)]).await.unwrap(),
        5,
        "sent again and then on"
    );
    assert_eq!(tenant.audit("phase=outcome").await.len(), 3);
    let mut database = PgConnection::connect(&gateway.database_url).await.unwrap();
    let gaps: Vec<(i64, i64)> =
        sqlx::query_as("SELECT from_seq, to_seq FROM audit_gaps").fetch_all(&mut database).await.unwrap();
    assert_eq!(gaps, [(3, 4)]);
}

#[tokio::test]
async fn a_pool_hears_and_speaks_of_its_own_tenants_only() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let id: TenantId = tenant.id.parse().unwrap();
    gateway.operator.post("/v1/pools", json!({"slug": "apart"})).await.unwrap();
    let apart = gateway.operator.post("/v1/join-tokens", json!({"pool": "apart"})).await.unwrap();
    let apart = Member::join(&gateway, &SecretString::from(harness::text(&apart, "token"))).await;
    let shared = Member::join(&gateway, &token(&gateway).await).await;

    let told = async |member: &Member| {
        let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
        let hello = v1::ProxyMessage { body: Some(proxy_message::Body::Hello(hello)) };
        let hello = futures_util::stream::iter([hello]);
        let open = futures_util::StreamExt::chain(hello, futures_util::stream::pending());
        let mut stream = ConfigClient::new(member.channel(&gateway)).stream(open).await.unwrap().into_inner();
        let mut tenants = Vec::new();
        loop {
            match stream.message().await.unwrap().unwrap().body.unwrap() {
                control_message::Body::Replace(replace) => tenants.push(replace.tenant_id),
                control_message::Body::Synced(_) => return tenants,
                _ => {}
            }
        }
    };
    assert_eq!(told(&shared).await, [id.uuid().as_bytes().to_vec()]);
    assert!(told(&apart).await.is_empty());

    let report = v1::CatalogueReport {
        tenant_id: id.uuid().as_bytes().to_vec(),
        upstream_id: id.uuid().as_bytes().to_vec(),
        complete: true,
        ..v1::CatalogueReport::default()
    };
    let refused = ReportClient::new(apart.channel(&gateway)).catalogue(report.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let unknown = ReportClient::new(shared.channel(&gateway)).catalogue(report).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "its own tenant, which has no such upstream");
    let records = vec![record(id, apart.proxy, [4; 16], 1)];
    upload(&gateway, &apart, [4; 16], records).await.unwrap();
    assert!(tenant.audit("phase=outcome").await.is_empty(), "another pool's tenant: set aside");
}

/// A configuration stream that stays open, greeted with `hello`.
async fn stay(gateway: &Gateway, member: &Member, hello: v1::Hello) -> tonic::Streaming<v1::ControlMessage> {
    let hello = v1::ProxyMessage { body: Some(proxy_message::Body::Hello(hello)) };
    let hello = futures_util::stream::iter([hello]);
    let open = futures_util::StreamExt::chain(hello, futures_util::stream::pending());
    ConfigClient::new(member.channel(gateway)).stream(open).await.unwrap().into_inner()
}

async fn lives(gateway: &Gateway, member: &Member) {
    harness::eventually("the proxy lives", async || {
        let proxy = gateway.operator.get(&format!("/v1/proxies/{}", member.proxy)).await.unwrap();
        proxy["live"] == json!(true)
    })
    .await;
}

#[tokio::test]
async fn what_a_proxy_claims_to_hold_gives_it_no_tenant_and_proves_no_revision() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let id: TenantId = tenant.id.parse().unwrap();
    gateway.operator.post("/v1/pools", json!({"slug": "apart"})).await.unwrap();
    let apart = gateway.operator.post("/v1/join-tokens", json!({"pool": "apart"})).await.unwrap();
    let apart = Member::join(&gateway, &SecretString::from(harness::text(&apart, "token"))).await;
    let shared = Member::join(&gateway, &token(&gateway).await).await;

    let claim = |rev| v1::Hello {
        boot: vec![1; 16],
        schema_min: 1,
        schema_max: 1,
        have: vec![v1::Have { tenant_id: id.uuid().as_bytes().to_vec(), rev, digest: vec![9; 32] }],
        ..v1::Hello::default()
    };
    let _streams = (stay(&gateway, &apart, claim(1)).await, stay(&gateway, &shared, claim(1_000_000)).await);
    lives(&gateway, &apart).await;
    lives(&gateway, &shared).await;
    upload(&gateway, &apart, [4; 16], vec![record(id, apart.proxy, [4; 16], 1)]).await.unwrap();
    assert!(tenant.audit("phase=outcome").await.is_empty(), "another pool's tenant: set aside");
    let report = gateway.operator.get(&format!("{}/revisions/2", tenant.base)).await.unwrap();
    assert_eq!(report["convergence"]["applied"], 0, "a revision that was never made: {report}");
    assert_eq!(
        upload(&gateway, &shared, [4; 16], vec![record(id, shared.proxy, [4; 16], 1)]).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn a_revoked_proxy_is_not_listened_to_on_streams_it_has_open() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let id: TenantId = tenant.id.parse().unwrap();
    let member = Member::join(&gateway, &token(&gateway).await).await;
    let (batches, queued) = tokio::sync::mpsc::channel(4);
    let batch = |seq| v1::AuditBatch {
        boot: vec![4; 16],
        records: vec![record(id, member.proxy, [4; 16], seq)],
        ..v1::AuditBatch::default()
    };
    let mut audit = AuditClient::new(member.channel(&gateway));
    batches.send(batch(1)).await.unwrap();
    let mut acks =
        audit.upload(tokio_stream::wrappers::ReceiverStream::new(queued)).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().seq, 1);
    let mut commands = v1::commands_client::CommandsClient::new(member.channel(&gateway))
        .watch(v1::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();

    // On every replica, without a word from the proxy: the streams end by themselves.
    let replica = gateway.replica().await;
    let hello = v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, ..v1::Hello::default() };
    let mut configuration = stay(&replica, &member, hello).await;
    assert!(matches!(
        configuration.message().await.unwrap().unwrap().body,
        Some(control_message::Body::Welcome(_))
    ));

    gateway.operator.delete(&format!("/v1/proxies/{}", member.proxy)).await.unwrap();
    let mut ends = vec![acks.message().await.unwrap_err()];
    ends.push(loop {
        match commands.message().await {
            Ok(Some(command)) => assert!(matches!(command.body, Some(v1::command::Body::Authorities(_)))),
            Ok(None) => panic!("ended without a word"),
            Err(status) => break status,
        }
    });
    ends.push(loop {
        match configuration.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a word"),
            Err(status) => break status,
        }
    });
    // Whether the stream was looked after first, or what it was about to store.
    let told = (Code::PermissionDenied, "proxy_revoked");
    for end in ends {
        assert_eq!((end.code(), end.message()), told);
    }
    let mut again = v1::commands_client::CommandsClient::new(member.channel(&gateway));
    let again = again.watch(v1::WatchRequest::default()).await.unwrap_err();
    assert_eq!((again.code(), again.message()), told);
    let refused = upload(&gateway, &member, [4; 16], vec![record(id, member.proxy, [4; 16], 2)]).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(tenant.audit("phase=outcome").await.len(), 1);
}

#[tokio::test]
async fn names_of_builds_cannot_hurt() {
    let gateway = Gateway::with_proxies(0).await;
    let join = token(&gateway).await;
    let join = crypto::join::parse(secrecy::ExposeSecret::expose_secret(&join)).unwrap();
    let (_, csr_der) = request();
    let request =
        v1::EnrolRequest { join_token: join.token_text().to_owned(), csr_der, build: "a\0b".to_owned() };
    let channel = harness::member::enrol_channel(&gateway);
    v1::enrol_client::EnrolClient::new(channel).enrol(request).await.unwrap();

    let member = Member::join(&gateway, &token(&gateway).await).await;
    let hello = v1::Hello {
        boot: vec![1; 16],
        schema_min: 1,
        schema_max: 1,
        build: "\0".to_owned(),
        ..v1::Hello::default()
    };
    let _stream = stay(&gateway, &member, hello).await;
    lives(&gateway, &member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_join_tokens_is_slowed_down() {
    let gateway = Gateway::with_proxies(0).await;
    let mut enrol = v1::enrol_client::EnrolClient::new(harness::member::enrol_channel(&gateway));
    let (_, csr_der) = request();
    let mut limited = None;
    for guess in 0..1_500 {
        let join_token = crypto::key::mint(crypto::KeyKind::JoinToken, &seams::SystemEntropy).text;
        let join_token = secrecy::ExposeSecret::expose_secret(&join_token).to_owned();
        let request = v1::EnrolRequest { join_token, csr_der: csr_der.clone(), build: String::new() };
        let refused = enrol.enrol(request).await.unwrap_err();
        if refused.code() == Code::ResourceExhausted {
            limited = Some(guess);
            break;
        }
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let limited = limited.expect("every guess is looked up");
    assert!(limited >= 600, "after {limited}");
}
