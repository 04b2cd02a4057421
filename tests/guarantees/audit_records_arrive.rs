//! R62: what a proxy recorded arrives, whatever lies between: a record that cannot be stored holds up none behind it, a hole
//! is seen, another proxy's spool is brought home, and many batches under way keep their order.

use std::time::Duration;

use harness::{Gateway, Tenant, Upstream, eventually, member::Member, text, tool};
use ids::{ProxyId, TenantId};
use portcullis_cli::up::demo;
use prost::Message as _;
use seams::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use wire::v1::{self, audit_client::AuditClient};

const BOOT: [u8; 16] = [4; 16];

fn record(tenant: &Tenant, proxy: ProxyId, seq: u64) -> v1::AuditRecord {
    let tenant: TenantId = tenant.id.parse().unwrap();
    let phase = if seq % 2 == 1 { v1::Phase::Intent } else { v1::Phase::Outcome };
    v1::AuditRecord {
        version: 1,
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        proxy_id: proxy.uuid().as_bytes().to_vec(),
        boot: BOOT.to_vec(),
        seq,
        at_micros: 1_780_000_000_000_000 + seq,
        phase: phase.into(),
        call_id: [&[0; 8][..], &(seq.div_ceil(2)).to_be_bytes()].concat(),
        client_id: vec![5; 16],
        tool_id: vec![6; 16],
        decision: v1::Decision::Allowed.into(),
        method: "tools/call".to_owned(),
        target: "by hand".to_owned(),
        sealed_arguments: vec![7; 120],
        response_digest: vec![8; 32],
        sealed_excerpt: vec![9; 160],
        ..v1::AuditRecord::default()
    }
}

fn batch(records: impl IntoIterator<Item = v1::AuditRecord>) -> v1::AuditBatch {
    let records: Vec<_> = records.into_iter().collect();
    let last_seq = records.last().map_or(0, |record| record.seq);
    let records = records.iter().map(|record| record.encode_to_vec().into()).collect();
    v1::AuditBatch { boot: BOOT.to_vec(), records, last_seq, spool_bytes: 4_096 }
}

async fn upload(gateway: &Gateway, member: &Member, batch: v1::AuditBatch) -> Result<u64, Code> {
    let mut client = AuditClient::new(member.channel(gateway));
    let stream = futures_util::stream::iter([batch]);
    let mut acks = client.upload(stream).await.map_err(|status| status.code())?.into_inner();
    let ack = acks.message().await.map_err(|status| status.code())?.expect("an acknowledgement");
    Ok(ack.seq)
}

async fn shown(gateway: &Gateway, proxy: ProxyId) -> Value {
    gateway.operator.get(&format!("/v1/proxies/{proxy}")).await.unwrap()
}

#[tokio::test]
async fn what_cannot_be_stored_is_set_aside_and_what_is_missing_shows() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let own = |seq| record(&tenant, member.proxy, seq);
    let mut mixed = batch([own(1), own(2), own(3), own(7)]);
    let altered = [&mixed.records[1][..], &[0xa0, 0x06, 0x01]].concat();
    mixed.records[1] = altered.clone().into();
    mixed.records.insert(3, bytes::Bytes::from_static(b"\xffnot a record"));
    for again in 0..2 {
        assert_eq!(upload(&gateway, &member, mixed.clone()).await, Ok(7), "{again}");
    }
    assert_eq!(tenant.audit("method=tools/call").await.len(), 3);
    let proxy = shown(&gateway, member.proxy).await;
    assert_eq!(
        (&proxy["audit_records_missing"], &proxy["audit_records_set_aside"], &proxy["spool_bytes"]),
        (&json!(3), &json!(2), &json!(4_096))
    );
    let gaps =
        gateway.operator.get(&format!("/v1/proxies/{}/audit-gaps?limit=1", member.proxy)).await.unwrap();
    let gap = &gaps["items"][0];
    assert_eq!(
        (&gap["from_seq"], &gap["to_seq"], &gaps["next_cursor"]),
        (&json!(4), &json!(6), &Value::Null)
    );

    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let aside: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT reason, body FROM audit_quarantine ORDER BY reason, body")
            .fetch_all(&database)
            .await
            .unwrap();
    assert!(aside.iter().all(|(reason, _)| reason == "not_canonical"));
    assert!(aside.iter().any(|(_, body)| *body == altered), "with its bytes");
}

#[tokio::test]
async fn a_newer_proxys_records_wait_for_a_control_plane_that_reads_them() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let newer = v1::AuditRecord { version: 99, ..record(&tenant, member.proxy, 2) };
    let both = batch([record(&tenant, member.proxy, 1), newer]);
    assert_eq!(upload(&gateway, &member, both).await, Err(Code::FailedPrecondition));
    assert_eq!(shown(&gateway, member.proxy).await["audit_records_set_aside"], 0);
    assert!(tenant.audit("method=tools/call").await.is_empty(), "none of the batch");
}

#[tokio::test]
async fn another_proxys_records_are_taken_once_it_lives_no_more() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let former = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let heir = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let found = batch([record(&tenant, former.proxy, 1), record(&tenant, former.proxy, 2)]);
    assert_eq!(
        upload(&gateway, &heir, found.clone()).await,
        Err(Code::Unavailable),
        "it may yet bring them itself"
    );
    gateway.operator.delete(&format!("/v1/proxies/{}", former.proxy)).await.unwrap();
    assert_eq!(upload(&gateway, &heir, found).await, Ok(2));
    assert_eq!(tenant.audit("method=tools/call").await.len(), 2);
    // Of a proxy that never was.
    let nobody = ProxyId::from_parts(1, [9; 10]);
    let invented = batch([record(&tenant, nobody, 3)]);
    assert_eq!(upload(&gateway, &heir, invented).await, Ok(3));
    assert_eq!(tenant.audit("method=tools/call").await.len(), 2);
    assert_eq!(shown(&gateway, heir.proxy).await["audit_records_set_aside"], 1);
}

/// A machine whose identity was lost joins anew, over the spool that its former self could not upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_joins_anew_uploads_the_spool_it_finds() {
    let mut gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;
    let former = text(&gateway.operator.get("/v1/proxies").await.unwrap()["items"][0], "id");
    gateway.stop_control().await;
    for _ in 0..3 {
        assert_eq!(endpoint.caller().call("echo").await.tool_text(), "ok: echo");
    }
    // As a crash: nothing is uploaded.
    drop(gateway.proxies.remove(0));
    for entry in std::fs::read_dir(gateway.state_dir(0)).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("spool") && path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    gateway.start_control().await;
    gateway.operator.delete(&format!("/v1/proxies/{former}")).await.unwrap();
    gateway.add_proxy().await;
    eventually("the former proxy's records are stored", async || {
        let calls = tenant.audit("phase=outcome&method=tools/call").await;
        calls.len() == 3 && calls.iter().all(|call| call["proxy_id"] == json!(former))
    })
    .await;
    eventually("the spool is empty", async || harness::site::spooled_segments(&gateway.state_dir(0)) == 0)
        .await;
}

/// Many batches under way on one stream: each record is stored once, and acknowledgements come in order. Says how fast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_under_way_together_are_stored_whole_and_acknowledged_in_order() {
    const OF_BATCH: u64 = 2_000;
    let batches = std::env::var("PORTCULLIS_BATCHES").map_or(10, |count| count.parse::<u64>().unwrap());
    let gateway = Gateway::with_proxies(0).await;
    let tenants = [gateway.tenant("acme").await, gateway.tenant("other").await];
    let member = Member::join(&gateway, &demo::join_token(&gateway.operator).await.unwrap()).await;
    let made: Vec<_> = (0..batches)
        .map(|number| {
            let seqs = number * OF_BATCH + 1..=(number + 1) * OF_BATCH;
            batch(seqs.map(|seq| record(&tenants[(seq / 500 % 2) as usize], member.proxy, seq)))
        })
        .collect();
    let bytes: usize = made.iter().flat_map(|batch| &batch.records).map(bytes::Bytes::len).sum();
    let started = SystemClock.monotonic();
    let (sender, queued) = mpsc::channel(4);
    let mut client = AuditClient::new(member.channel(&gateway)).max_encoding_message_size(64 << 20);
    let sending = tokio::spawn(async move {
        for batch in made {
            sender.send(batch).await.unwrap();
        }
    });
    let mut acks = client.upload(ReceiverStream::new(queued)).await.unwrap().into_inner();
    for number in 0..batches {
        let ack = tokio::time::timeout(Duration::from_secs(60), acks.message()).await.unwrap().unwrap();
        assert_eq!(ack.unwrap().seq, (number + 1) * OF_BATCH);
    }
    sending.await.unwrap();
    let took = SystemClock.monotonic().since(started).as_secs_f64();
    let records = batches * OF_BATCH;
    println!(
        "{records} records of {} bytes stored, {:.0} a second",
        bytes as u64 / records,
        records as f64 / took
    );
    let database = PgPool::connect(&gateway.database_url).await.unwrap();
    let (count, distinct): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT seq) FROM audit_records WHERE method = 'tools/call'")
            .fetch_one(&database)
            .await
            .unwrap();
    assert_eq!((count as u64, distinct as u64), (records, records));
    let proxy = shown(&gateway, member.proxy).await;
    assert_eq!((&proxy["audit_records_missing"], &proxy["audit_records_set_aside"]), (&json!(0), &json!(0)));
}
