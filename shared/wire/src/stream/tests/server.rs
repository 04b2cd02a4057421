mod changes;

use bytes::Bytes;
use control_message::Body;
use errors::ErrorCode;

use super::*;
use crate::{
    stream::server::{CloseReason, Input, LoadFailure, Output, Server, Snapshot, Turn, WINDOW},
    v1::{self, control_message, proxy_message},
};

fn proxy(body: proxy_message::Body) -> Input {
    Input::Received(v1::ProxyMessage { body: Some(body) })
}

fn hello(have: &[(TenantId, Version)]) -> Input {
    let have = have.iter().map(|(tenant, version)| v1::Have {
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        rev: version.rev,
        digest: version.digest.to_vec(),
    });
    let hello = v1::Hello {
        boot: vec![1; 16],
        schema_min: 1,
        schema_max: 1,
        have: have.collect(),
        protocol: 1,
        ..Default::default()
    };
    proxy(proxy_message::Body::Hello(hello))
}

fn snapshot(tenant: TenantId, rev: u64) -> Input {
    let snapshot = Snapshot::new(stored(tenant, rev), Bytes::new(), Vec::new());
    Input::Loaded(tenant, snapshot)
}

fn ack(nonce: u64, tenant: TenantId, version: Option<Version>) -> Input {
    proxy(proxy_message::Body::Ack(v1::Ack {
        nonce,
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        rev: version.map_or(0, |version| version.rev),
        digest: version.map_or_else(Vec::new, |version| version.digest.to_vec()),
    }))
}

fn nack(nonce: u64, tenant: TenantId, rev: u64, code: ErrorCode) -> Input {
    proxy(proxy_message::Body::Nack(v1::Nack {
        nonce,
        tenant_id: tenant.uuid().as_bytes().to_vec(),
        rejected_rev: rev,
        code: code.slug().to_owned(),
        ..Default::default()
    }))
}

struct Bench {
    stage: Stage,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let stage = Stage::new(7);
        let server = Server::new("here".to_owned(), stage.context());
        Self { stage, server }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.server.handle(self.stage.context(), input, &mut out);
        out
    }

    /// Greeted, with these tenants stored, up to and without their loading.
    fn open(list: &[(TenantId, Version)]) -> (Self, Vec<Output>) {
        let mut bench = Self::new();
        bench.step(Input::Sources(list.to_vec()));
        let out = bench.step(hello(&[]));
        (bench, out)
    }
}

fn sent(out: &[Output]) -> Vec<&Body> {
    out.iter()
        .filter_map(|output| match output {
            Output::Send(message) => message.body.as_ref(),
            _ => None,
        })
        .collect()
}

fn loads(out: &[Output]) -> Vec<TenantId> {
    out.iter()
        .filter_map(|output| if let Output::Load(load) = output { Some(load.tenant) } else { None })
        .collect()
}

fn replaced(out: &[Output]) -> (u64, u64) {
    match sent(out)[..] {
        [Body::Replace(replace), ..] => (replace.nonce, replace.rev),
        _ => panic!("no Replace in {out:?}"),
    }
}

#[test]
fn an_empty_pool_is_synced_at_once() {
    let (_, out) = Bench::open(&[]);
    assert!(matches!(sent(&out)[..], [Body::Welcome(_), Body::Synced(_)]), "{out:?}");
}

#[test]
fn only_what_differs_is_sent_and_synced_comes_last() {
    let (a, b, gone) = (tenant(1), tenant(2), tenant(3));
    let mut bench = Bench::new();
    bench.step(hello(&[(a, stored(a, 4)), (gone, stored(gone, 1))]));
    let out = bench.step(Input::Sources(vec![(a, stored(a, 4)), (b, stored(b, 2))]));
    assert_eq!(loads(&out), [b]);
    assert!(matches!(sent(&out)[..], [Body::Welcome(_), Body::Remove(_)]), "{out:?}");
    let out = bench.step(snapshot(b, 2));
    assert!(matches!(sent(&out)[..], [Body::Replace(_), Body::Synced(_)]), "{out:?}");
}

#[test]
fn same_revision_with_another_digest_is_sent_again() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 4))]));
    let out = bench.step(hello(&[(a, Version { rev: 4, digest: [9; 32] })]));
    assert_eq!(loads(&out), [a]);
}

#[test]
fn newer_revisions_coalesce_behind_the_unacknowledged_one() {
    let a = tenant(1);
    let (mut bench, out) = Bench::open(&[(a, stored(a, 1))]);
    assert_eq!(loads(&out), [a]);
    let out = bench.step(snapshot(a, 1));
    let (nonce, _) = replaced(&out);
    for rev in 2..=9 {
        assert!(bench.step(Input::Changed(a, stored(a, rev))).is_empty());
    }
    let out = bench.step(ack(nonce, a, Some(stored(a, 1))));
    assert_eq!(loads(&out), [a]);
    assert_eq!(replaced(&bench.step(snapshot(a, 9))).1, 9);
}

#[test]
fn a_refused_revision_waits_for_the_next_and_delays_nobody() {
    let (a, b) = (tenant(1), tenant(2));
    let (mut bench, _) = Bench::open(&[(a, stored(a, 1)), (b, stored(b, 1))]);
    let (nonce_a, _) = replaced(&bench.step(snapshot(a, 1)));
    let out = bench.step(nack(nonce_a, a, 1, ErrorCode::SnapshotUndecodable));
    assert!(matches!(out[..], [Output::Rejected { code: ErrorCode::SnapshotUndecodable, .. }]), "{out:?}");
    let out = bench.step(snapshot(b, 1));
    assert!(matches!(sent(&out)[..], [Body::Replace(_), Body::Synced(_)]), "{out:?}");
    bench.stage.pass(Duration::from_secs(5));
    assert!(loads(&bench.step(Input::Tick)).is_empty());
    assert_eq!(loads(&bench.step(Input::Changed(a, stored(a, 2)))), [a]);
}

#[test]
fn a_damaged_delivery_is_repeated() {
    let a = tenant(1);
    let (mut bench, _) = Bench::open(&[(a, stored(a, 1))]);
    let (nonce, _) = replaced(&bench.step(snapshot(a, 1)));
    let out = bench.step(nack(nonce, a, 1, ErrorCode::SnapshotDigestMismatch));
    assert!(loads(&out).is_empty());
    bench.stage.pass(Duration::from_secs(1));
    assert_eq!(loads(&bench.step(Input::Tick)), [a]);
}

#[test]
fn an_unavailable_store_holds_synced_back_and_a_broken_tenant_does_not() {
    let (a, b) = (tenant(1), tenant(2));
    let (mut bench, _) = Bench::open(&[(a, stored(a, 1)), (b, stored(b, 1))]);
    assert!(bench.step(Input::NotLoaded(a, LoadFailure::Unavailable)).is_empty());
    assert!(bench.step(Input::NotLoaded(b, LoadFailure::Broken)).is_empty());
    bench.stage.pass(Duration::from_secs(1));
    assert_eq!(loads(&bench.step(Input::Tick)), [a, b]);
    let out = bench.step(snapshot(a, 1));
    assert!(matches!(sent(&out)[..], [Body::Replace(_), Body::Synced(_)]), "{out:?}");
}

#[test]
fn at_most_a_window_is_in_flight() {
    let list: Vec<_> = (0..3 * WINDOW as u64).map(|n| (tenant(n), stored(tenant(n), 1))).collect();
    let (mut bench, out) = Bench::open(&list);
    assert!(matches!(out[..], [Output::Heard, Output::FullSync]), "{out:?}");
    let first = loads(&bench.step(Input::FullSync(Turn::Now)));
    assert_eq!(first.len(), WINDOW);
    let (nonce, _) = replaced(&bench.step(snapshot(first[0], 1)));
    let out = bench.step(ack(nonce, first[0], Some(stored(first[0], 1))));
    assert_eq!(loads(&out).len(), 1);
}

#[test]
fn a_proxy_is_never_taken_back_by_a_lagging_read() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 3))]));
    let out = bench.step(hello(&[(a, stored(a, 5))]));
    assert!(loads(&out).is_empty(), "the replica's list lags behind what the proxy has");
    assert_eq!(loads(&bench.step(Input::Changed(a, stored(a, 6)))), [a]);
    assert!(sent(&bench.step(snapshot(a, 4))).is_empty());
    bench.stage.pass(Duration::from_secs(1));
    assert_eq!(loads(&bench.step(Input::Tick)), [a]);
    assert_eq!(replaced(&bench.step(snapshot(a, 6))).1, 6);
}

#[test]
fn silence_age_and_messages_out_of_place_end_the_stream() {
    let closed = |out: &[Output]| match out {
        [.., Output::Close(reason)] => Some(*reason),
        _ => None,
    };
    let (mut bench, _) = Bench::open(&[]);
    bench.stage.pass(LEASE_TTL);
    assert_eq!(closed(&bench.step(Input::Tick)), Some(CloseReason::Silent));
    assert!(bench.step(hello(&[])).is_empty(), "closed is closed");

    let (mut bench, _) = Bench::open(&[]);
    bench.stage.pass(Duration::from_secs(36 * 60));
    bench.step(proxy(proxy_message::Body::Beat(v1::Beat::default())));
    assert_eq!(closed(&bench.step(Input::Tick)), Some(CloseReason::Aged));

    let mut bench = Bench::new();
    let early = bench.step(proxy(proxy_message::Body::Beat(v1::Beat::default())));
    assert_eq!(closed(&early), Some(CloseReason::ProtocolViolation));

    let (mut bench, _) = Bench::open(&[]);
    assert_eq!(closed(&bench.step(hello(&[]))), Some(CloseReason::ProtocolViolation));

    let a = tenant(1);
    let (mut bench, _) = Bench::open(&[(a, stored(a, 1))]);
    let (nonce, _) = replaced(&bench.step(snapshot(a, 1)));
    let forged = bench.step(ack(nonce, a, Some(stored(a, 2))));
    assert_eq!(closed(&forged), Some(CloseReason::ProtocolViolation));

    let mut bench = Bench::new();
    let nameless = v1::Hello { boot: vec![1; 17], schema_min: 1, schema_max: 1, ..Default::default() };
    let out = bench.step(proxy(proxy_message::Body::Hello(nameless)));
    assert_eq!(closed(&out), Some(CloseReason::ProtocolViolation));

    let mut bench = Bench::new();
    let newer = v1::Hello { schema_min: 2, schema_max: 3, ..Default::default() };
    let out = bench.step(proxy(proxy_message::Body::Hello(newer)));
    assert_eq!(closed(&out), Some(CloseReason::SchemaUnsupported));
}

#[test]
fn what_hello_says_is_a_claim_and_an_acknowledgement_is_not() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 2))]));
    let out = bench.step(hello(&[(a, stored(a, 1))]));
    assert!(matches!(out[0], Output::Claimed(of, held) if of == a && held == stored(a, 1)), "{out:?}");
    assert!(!out.iter().any(|output| matches!(output, Output::Applied(..))), "{out:?}");
    let (nonce, _) = replaced(&bench.step(snapshot(a, 2)));
    let out = bench.step(ack(nonce, a, Some(stored(a, 2))));
    assert!(matches!(out[0], Output::Applied(of, Some(held)) if of == a && held == stored(a, 2)), "{out:?}");
}

#[test]
fn beats_go_out_and_come_in() {
    let (mut bench, _) = Bench::open(&[]);
    bench.stage.pass(Duration::from_secs(6));
    let out = bench.step(proxy(proxy_message::Body::Beat(v1::Beat::default())));
    assert!(matches!(out[..], [Output::Heard]));
    assert!(matches!(sent(&bench.step(Input::Tick))[..], [Body::Beat(_)]));
    assert!(bench.server.wake_at() > bench.stage.now);
}
