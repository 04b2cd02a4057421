use std::time::Duration;

use crypto::Aad;
use errors::ErrorCode;
use seams::Monotonic;
use wire::v1::{AuditRecord, Decision, Phase};

use super::super::testing::{Log, facts};
use crate::{
    audit::{CallFacts, End, ResponseDigest, spool::SpoolError},
    snapshot::{samples::Sample, store::Snapshots},
    testing::World,
};

const ARGUMENTS: &[u8] = br#"{"a":1,"b":2}"#;

fn open(world: &World, record: &AuditRecord, column: &str, sealed: &[u8]) -> Vec<u8> {
    let tenant = world.tenant();
    let keys = tenant.crypto.current().unwrap();
    assert_eq!(record.data_key_id, keys.id.uuid().as_bytes());
    let aad = Aad { tenant: tenant.id, table: "audit_records", column, row: &record.call_id };
    keys.sealer.open(&aad, sealed).unwrap().to_vec()
}

#[tokio::test]
async fn intent_comes_first_and_outcome_closes_it() {
    let (world, log) = (World::new(), Log::new());
    let intent = log.pen().intent(facts(&world, ARGUMENTS), false).await.unwrap();
    let record = log.last();
    assert_eq!((record.phase(), record.decision(), record.seq), (Phase::Intent, Decision::Allowed, 1));
    assert_eq!((&*record.method, &*record.target), ("tools/call", "add"));
    assert_eq!(open(&world, &record, "sealed_arguments", &record.sealed_arguments), ARGUMENTS);
    let tenant = world.tenant();
    assert_eq!(record.arguments_hash, tenant.crypto.current().unwrap().audit_mac.mac(&[ARGUMENTS]));
    assert_eq!(record.rev, tenant.rev);

    let body = vec![b'x'; 5000];
    intent.finish_now(End { code: None, status: 200, body: &body, cut: false });
    let outcome = log.last();
    assert_eq!((outcome.phase(), outcome.seq, outcome.status, outcome.cut), (Phase::Outcome, 2, 200, false));
    assert_eq!(outcome.call_id, record.call_id);
    assert_eq!(outcome.response_digest, crypto::digest::sha256(&body));
    assert_eq!(outcome.bytes_out, 5000);
    assert_eq!(open(&world, &outcome, "sealed_excerpt", &outcome.sealed_excerpt), body[..2048]);
    assert!(outcome.sealed_arguments.is_empty());
}

#[tokio::test]
async fn a_call_that_is_dropped_is_recorded_as_cut() {
    let (world, log) = (World::new(), Log::new());
    drop(log.pen().intent(facts(&world, ARGUMENTS), false).await.unwrap());
    let outcome = log.last();
    assert_eq!((outcome.phase(), outcome.cut), (Phase::Outcome, true));
    let intent = log.pen().intent(facts(&world, b""), false).await.unwrap();
    assert!(log.last().arguments_hash.is_empty());
    let mut sent = ResponseDigest::default();
    sent.update(b"data: 1\n\n");
    intent.finish_stream(Some(ErrorCode::Draining), 200, sent, true);
    let outcome = log.last();
    assert_eq!((&*outcome.code, outcome.cut, outcome.bytes_out), ("draining", true, 9));
    assert_eq!(log.records().len(), 4);
}

#[tokio::test]
async fn a_refusal_is_one_record_with_its_arguments() {
    let (world, log) = (World::new(), Log::new());
    log.recorder.refused(&facts(&world, ARGUMENTS), ErrorCode::ToolNotGranted, 200, b"{}");
    let record = log.last();
    assert_eq!((record.phase(), record.decision()), (Phase::Outcome, Decision::Refused));
    assert_eq!(record.code, "tool_not_granted");
    assert_eq!(open(&world, &record, "sealed_arguments", &record.sealed_arguments), ARGUMENTS);
}

#[tokio::test]
async fn strict_intents_are_on_disk_and_counts_come_within_a_second() {
    let (world, log) = (World::new(), Log::new());
    let facts = facts(&world, ARGUMENTS);
    let (tenant, endpoint) = (facts.tenant.id, facts.endpoint);
    let pen = log.pen();
    let strict = pen.intent(facts, true);
    let intent = tokio::time::timeout(Duration::from_secs(5), strict).await.unwrap().unwrap();
    intent.finish(End { code: None, status: 200, body: b"", cut: false }, Monotonic::from_nanos(0)).await;
    for _ in 0..5 {
        let address = "203.0.113.9".parse().unwrap();
        log.recorder.count(tenant, 3, endpoint, address, ErrorCode::CredentialInvalid);
    }
    let mut last = log.last();
    for _ in 0..100 {
        if last.phase() == Phase::Aggregate {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = log.last();
    }
    assert_eq!(last.phase(), Phase::Aggregate);
    assert_eq!((&*last.code, last.count, last.rev), ("credential_invalid", 5, 3));
    assert_eq!(last.address, "203.0.113.0/24");
    assert_eq!(last.endpoint_id, endpoint.uuid().as_bytes());
}

#[tokio::test]
async fn a_drain_ends_when_everything_is_acknowledged() {
    let (world, log) = (World::new(), Log::new());
    drop(log.pen().intent(facts(&world, b""), false).await.unwrap());
    assert!(!log.recorder.flush(Duration::from_millis(30)).await);
    log.spool.acknowledge([7; 16], 2);
    assert!(log.recorder.flush(Duration::from_secs(5)).await);
}

/// Of one more tenant.
fn of_another(world: &World) -> CallFacts {
    let (mut sample, snapshots) = (Sample::new(2), Snapshots::new(world.clock.clone()));
    sample.edit(|_| {});
    let applied = snapshots.apply(&sample.replace()).unwrap();
    let tenant = snapshots.load().tenant(applied.tenant).unwrap().clone();
    CallFacts { tenant, ..facts(world, b"") }
}

#[tokio::test]
async fn what_is_ready_together_is_written_together_and_in_order() {
    let (world, log) = (World::new(), Log::new());
    let pen = log.pen();
    let intents: Vec<_> = (0..5).map(|_| pen.intent(facts(&world, ARGUMENTS), false)).collect();
    let intents: Vec<_> =
        futures_util::future::join_all(intents).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(log.records().iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let end = || End { code: None, status: 200, body: b"{}", cut: false };
    futures_util::future::join_all(
        intents.into_iter().map(|intent| intent.finish(end(), Monotonic::from_nanos(0))),
    )
    .await;
    let phases: Vec<_> = log.records().iter().map(AuditRecord::phase).collect();
    assert_eq!(phases, [[Phase::Intent; 5], [Phase::Outcome; 5]].concat());
}

#[tokio::test]
async fn a_call_that_ends_while_it_waits_has_its_intent_and_is_cut() {
    let (world, log) = (World::new(), Log::new());
    let pen = log.pen();
    // The first writes for all; here it never gets its turn.
    let mut first = Box::pin(pen.intent(facts(&world, ARGUMENTS), false));
    let mut second = Box::pin(pen.intent(facts(&world, b""), false));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    assert!(log.records().is_empty());
    drop(first);
    let phases =
        |log: &Log| log.records().iter().map(|record| (record.phase(), record.cut)).collect::<Vec<_>>();
    assert_eq!(phases(&log), [(Phase::Intent, false), (Phase::Intent, false), (Phase::Outcome, true)]);
    second
        .await
        .unwrap()
        .finish(End { code: None, status: 200, body: b"", cut: false }, Monotonic::from_nanos(0))
        .await;
    assert_eq!(phases(&log)[3..], [(Phase::Outcome, false)]);
}

#[tokio::test]
async fn one_tenants_full_share_refuses_nobody_else() {
    let (world, log) = (World::new(), Log::new());
    let pen = log.pen();
    let mut filled = 0;
    while pen.intent(facts(&world, &[b'x'; 4096]), false).await.is_ok_and(|intent| {
        intent.finish_now(End { code: None, status: 200, body: &[b'x'; 2048], cut: false });
        true
    }) {
        filled += 1;
        assert!(filled < 10_000, "the share has an end");
    }
    let before = log.records().len();
    let (full, other) =
        futures_util::join!(pen.intent(facts(&world, b""), false), pen.intent(of_another(&world), false));
    assert!(matches!(full, Err(SpoolError::TenantFull)));
    assert!(other.is_ok());
    assert_eq!(log.records().len(), before + 1);
}
