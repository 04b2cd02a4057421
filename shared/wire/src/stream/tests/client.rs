use std::collections::BTreeMap;

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
        assert!(self.receive(Body::Welcome(v1::Welcome::default())).is_empty());
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
