use std::collections::BTreeMap;

use bytes::Bytes;
use control_message::Body;
use errors::ErrorCode;

use super::*;
use crate::{
    stream::client::{Client, HangupReason, Input, Output, Refused, Ticket},
    v1::{self, control_message, proxy_message},
};

struct Bench {
    stage: Stage,
    client: Client,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self { stage: Stage::new(seed), client: Client::new([1; 16], "test".to_owned(), BTreeMap::new()) }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.client.handle(self.stage.context(), input, &mut out);
        out
    }

    fn receive(&mut self, body: Body) -> Vec<Output> {
        self.step(Input::Received(v1::ControlMessage { body: Some(body) }))
    }

    fn greet(&mut self) {
        self.stage.pass(Duration::from_secs(30));
        assert!(matches!(self.step(Input::Tick)[..], [Output::Connect]));
        assert!(matches!(said(&self.step(Input::Connected))[..], [proxy_message::Body::Hello(_)]));
        assert!(matches!(self.receive(Body::Welcome(v1::Welcome::default()))[..], [Output::Told(_)]));
    }

    fn offer(&mut self, tenant: TenantId, rev: u64, nonce: u64) -> Vec<Output> {
        self.receive(Body::Replace(v1::Replace {
            nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            rev,
            digest: stored(tenant, rev).digest.to_vec(),
            ..Default::default()
        }))
    }
}

fn said(out: &[Output]) -> Vec<&proxy_message::Body> {
    out.iter()
        .filter_map(|output| match output {
            Output::Send(message) => message.body.as_ref(),
            _ => None,
        })
        .collect()
}

fn ticket(out: &[Output]) -> Ticket {
    match out {
        [Output::Apply(ticket, _)] => *ticket,
        other => panic!("no Apply in {other:?}"),
    }
}

#[test]
fn ready_only_when_everything_before_synced_is_answered() {
    let (a, b) = (tenant(1), tenant(2));
    let mut bench = Bench::new(1);
    bench.greet();
    let first = ticket(&bench.offer(a, 1, 1));
    let second = ticket(&bench.offer(b, 1, 2));
    assert!(bench.receive(Body::Synced(v1::Synced { nonce: 3 })).is_empty());
    assert!(matches!(
        said(&bench.step(Input::Applied(first, stored(a, 1))))[..],
        [proxy_message::Body::Ack(_)]
    ));
    let refused = Refused { code: ErrorCode::SnapshotInvalid, detail: "ep_1: hosts".to_owned() };
    let out = bench.step(Input::Rejected(second, refused));
    assert!(matches!(out[..], [Output::Send(_), Output::Ready]), "{out:?}");
    assert_eq!(bench.client.at().keys().collect::<Vec<_>>(), [&a]);
}

#[test]
fn a_lower_revision_is_refused_without_being_applied() {
    let a = tenant(1);
    let mut bench = Bench::new(1);
    bench.greet();
    let first = ticket(&bench.offer(a, 5, 1));
    bench.step(Input::Applied(first, stored(a, 5)));
    let out = bench.offer(a, 4, 2);
    match said(&out)[..] {
        [proxy_message::Body::Nack(nack)] => {
            assert_eq!((nack.rejected_rev, nack.at_rev, nack.code.as_str()), (4, 5, "snapshot_invalid"));
        }
        _ => panic!("{out:?}"),
    }
}

#[test]
fn hello_waits_for_what_the_last_connection_left_unanswered() {
    let a = tenant(1);
    let mut bench = Bench::new(1);
    bench.greet();
    let late = ticket(&bench.offer(a, 5, 1));
    assert!(matches!(bench.step(Input::Disconnected)[..], [Output::Hangup(HangupReason::Lost)]));
    bench.stage.pass(Duration::from_secs(60));
    assert!(bench.step(Input::Tick).is_empty(), "what is enforced is not known yet");
    assert!(bench.step(Input::Applied(late, stored(a, 5))).is_empty());
    assert!(bench.client.wake_at() <= bench.stage.now);
    assert!(matches!(bench.step(Input::Tick)[..], [Output::Connect]));
    match said(&bench.step(Input::Connected))[..] {
        [proxy_message::Body::Hello(hello)] => assert_eq!(hello.have.len(), 1),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn waits_grow_to_half_a_minute_and_start_anew_after_a_healthy_minute() {
    let mut longest = Duration::ZERO;
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        bench.step(Input::Tick);
        for attempt in 0..12 {
            let before = bench.stage.now;
            bench.step(Input::Disconnected);
            let wait = bench.client.wake_at().since(before);
            assert!(wait <= Duration::from_millis(100 << attempt).min(Duration::from_secs(30)));
            longest = longest.max(wait);
            bench.stage.pass(wait);
            assert!(matches!(bench.step(Input::Tick)[..], [Output::Connect]));
        }
        bench.step(Input::Connected);
        bench.receive(Body::Welcome(v1::Welcome::default()));
        for _ in 0..12 {
            bench.stage.pass(BEAT);
            bench.receive(Body::Beat(v1::Beat::default()));
        }
        let before = bench.stage.now;
        bench.step(Input::Disconnected);
        assert!(bench.client.wake_at().since(before) <= Duration::from_millis(100));
    }
    assert!(longest > Duration::from_secs(25), "full jitter reaches up to the bound");
}

#[test]
fn a_new_identity_reconnects_at_once() {
    let mut bench = Bench::new(1);
    bench.greet();
    let out = bench.step(Input::IdentityRenewed);
    assert!(matches!(out[..], [Output::Hangup(HangupReason::IdentityRenewed)]), "{out:?}");
    assert!(matches!(bench.step(Input::Tick)[..], [Output::Connect]));
}

#[test]
fn silence_and_messages_out_of_place_hang_up() {
    let mut bench = Bench::new(1);
    bench.greet();
    bench.stage.pass(LEASE_TTL);
    assert!(matches!(bench.step(Input::Tick)[..], [Output::Hangup(HangupReason::Silent)]));

    let mut bench = Bench::new(1);
    bench.step(Input::Tick);
    bench.step(Input::Connected);
    let out = bench.receive(Body::Synced(v1::Synced { nonce: 1 }));
    assert!(matches!(out[..], [Output::Hangup(HangupReason::ProtocolViolation)]), "{out:?}");
}

#[test]
fn beats_are_sent() {
    let mut bench = Bench::new(1);
    bench.greet();
    bench.stage.pass(Duration::from_secs(6));
    assert!(matches!(said(&bench.step(Input::Tick))[..], [proxy_message::Body::Beat(_)]));
}

impl Bench {
    /// Holds revision `rev`.
    fn hold(&mut self, tenant: TenantId, rev: u64) {
        let ticket = ticket(&self.offer(tenant, rev, 100 + rev));
        self.step(Input::Applied(ticket, stored(tenant, rev)));
    }

    fn amend(&mut self, tenant: TenantId, from: u64, rev: u64, nonce: u64) -> Vec<Output> {
        self.receive(Body::Delta(v1::Delta {
            nonce,
            tenant_id: tenant.uuid().as_bytes().to_vec(),
            from_rev: from,
            from_digest: stored(tenant, from).digest.to_vec(),
            rev,
            digest: stored(tenant, rev).digest.to_vec(),
            changes: Some(v1::Changes::default()),
            ..Default::default()
        }))
    }
}

#[test]
fn a_change_of_what_is_enforced_is_applied_and_any_other_asked_for_whole() {
    let a = tenant(1);
    let mut bench = Bench::new(1);
    bench.greet();
    bench.hold(a, 2);
    for (from, to) in [(1, 3), (3, 4), (2, 2)] {
        let out = bench.amend(a, from, to, 7);
        assert!(
            matches!(said(&out)[..], [proxy_message::Body::Need(need)] if need.nonce == 7),
            "{from} to {to}: {out:?}"
        );
    }
    let out = bench.amend(a, 2, 5, 8);
    let [Output::Amend(ticket, _)] = out[..] else { panic!("{out:?}") };
    let out = bench.step(Input::Misfit(ticket, "base is missing".to_owned()));
    assert!(matches!(said(&out)[..], [proxy_message::Body::Need(need)] if need.detail == "base is missing"));
    assert_eq!(bench.client.at()[&a], stored(a, 2));
}

#[test]
fn parts_make_a_whole_and_one_too_large_is_cut_to_be_refused() {
    let a = tenant(1);
    let part = |n: u8, length: usize| Bytes::from(vec![n; length]);
    let begin = |nonce: u64, chunks: u32, snapshot: Bytes| {
        Body::Replace(v1::Replace {
            nonce,
            tenant_id: a.uuid().as_bytes().to_vec(),
            rev: 1,
            digest: vec![1; 32],
            snapshot,
            chunks,
            ..Default::default()
        })
    };
    let chunk = |nonce, index, bytes| Body::Chunk(v1::Chunk { nonce, index, bytes });
    let mut bench = Bench::new(1);
    bench.greet();
    assert!(bench.receive(begin(1, 2, part(1, 10))).is_empty());
    assert!(bench.receive(chunk(1, 1, part(2, 10))).is_empty());
    let out = bench.receive(chunk(1, 2, part(3, 5)));
    let [Output::Apply(_, replace)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(replace.snapshot, [&[1; 10][..], &[2; 10], &[3; 5]].concat());

    // Forty parts of a megabyte each: kept up to the bound, refused as any other that is too large.
    bench.receive(begin(2, 40, part(1, CHUNK)));
    for index in 1..40 {
        assert!(bench.receive(chunk(2, index, part(2, CHUNK))).is_empty());
    }
    let out = bench.receive(chunk(2, 40, part(2, CHUNK)));
    let [Output::Apply(_, replace)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(replace.snapshot.len(), crate::snapshot::MAX_BYTES + 1);
    assert!(crate::snapshot::decode_exact(&replace.snapshot).is_err());

    bench.receive(begin(3, 2, part(1, 1)));
    let out = bench.receive(chunk(3, 2, part(1, 1)));
    assert!(matches!(out[..], [Output::Hangup(HangupReason::ProtocolViolation)]), "{out:?}");
}

#[test]
fn what_a_beat_shows_to_differ_is_said_unless_an_answer_is_under_way() {
    let (a, b) = (tenant(1), tenant(2));
    let mut bench = Bench::new(1);
    bench.greet();
    bench.hold(a, 1);
    bench.hold(b, 1);
    let beat = |answered, held: &[TenantId]| {
        let held: Vec<_> = held.iter().map(|tenant| (*tenant, stored(*tenant, 1))).collect();
        let buckets = Buckets::of(held.iter().map(|(tenant, version)| (tenant, version))).to_bytes();
        Body::Beat(v1::Beat { buckets, answered, ..Default::default() })
    };
    assert!(said(&bench.receive(beat(2, &[a, b]))).is_empty());
    assert!(said(&bench.receive(beat(1, &[a]))).is_empty(), "one answer has not arrived there yet");
    let out = bench.receive(beat(2, &[a]));
    match said(&out)[..] {
        [proxy_message::Body::Holds(holds)] => {
            assert_eq!(holds.bucket, u32::from(Buckets::place(b)));
            assert_eq!(holds.have.len(), 1);
        }
        _ => panic!("{out:?}"),
    }
    let short = Body::Beat(v1::Beat { buckets: vec![0; 8], answered: 2, ..Default::default() });
    assert!(matches!(bench.receive(short)[..], [.., Output::Hangup(HangupReason::ProtocolViolation)]));
}

#[test]
fn a_busy_control_plane_is_left_alone_for_as_long_as_it_says() {
    let mut longest = Duration::ZERO;
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        bench.step(Input::Tick);
        bench.step(Input::Connected);
        let out = bench.receive(Body::Welcome(v1::Welcome { retry_after_ms: 2_000, ..Default::default() }));
        assert!(matches!(out[..], [Output::Told(_), Output::Hangup(HangupReason::Busy)]), "{out:?}");
        let wait = bench.client.wake_at().since(bench.stage.now);
        assert!((Duration::from_secs(2)..=Duration::from_secs(4)).contains(&wait), "{wait:?}");
        longest = longest.max(wait);
    }
    assert!(longest > Duration::from_secs(3), "spread");
}

#[test]
fn what_is_told_of_time_and_fleet_is_passed_on() {
    let mut bench = Bench::new(1);
    bench.step(Input::Tick);
    bench.step(Input::Connected);
    bench.stage.pass(Duration::from_millis(30));
    let welcome = v1::Welcome { server_time_micros: 77, live_proxies: 3, schema: 1, ..Default::default() };
    let out = bench.receive(Body::Welcome(welcome));
    let [Output::Told(told)] = out[..] else { panic!("{out:?}") };
    assert_eq!((told.server_time.micros(), told.live_proxies), (77, Some(3)));
    assert_eq!(told.round_trip, Some(Duration::from_millis(30)));
    let out = bench.receive(Body::Beat(v1::Beat { time_micros: 99, ..Default::default() }));
    let [Output::Told(told)] = out[..] else { panic!("{out:?}") };
    assert_eq!((told.server_time.micros(), told.live_proxies, told.round_trip), (99, None, None));
}

#[test]
fn a_schema_that_was_not_offered_ends_the_stream() {
    let mut bench = Bench::new(1);
    bench.step(Input::Tick);
    bench.step(Input::Connected);
    let out = bench.receive(Body::Welcome(v1::Welcome { schema: 9, ..Default::default() }));
    assert!(matches!(out[..], [Output::Hangup(HangupReason::ProtocolViolation)]), "{out:?}");
}
