//! What changed since what a proxy holds, parts of what is large, and what is repaired.

use super::*;
use crate::global::SCOPE;
use crate::stream::server::Delta;

fn delta(tenant: TenantId, from: u64, to: u64) -> Input {
    let (from, version) = (stored(tenant, from), stored(tenant, to));
    Input::LoadedDelta(tenant, Delta::new(from, version, v1::Changes::default(), Vec::new()))
}

fn froms(out: &[Output]) -> Vec<Option<u64>> {
    out.iter()
        .filter_map(|output| match output {
            Output::Load(load) => Some(load.from.map(|from| from.rev)),
            _ => None,
        })
        .collect()
}

fn amended(out: &[Output]) -> (u64, u64, u64) {
    match sent(out)[..] {
        [Body::Delta(delta), ..] => (delta.nonce, delta.from_rev, delta.rev),
        _ => panic!("no Delta in {out:?}"),
    }
}

#[test]
fn a_proxy_that_holds_a_revision_is_sent_what_changed_since() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 3))]));
    let out = bench.step(hello(&[(a, stored(a, 1))]));
    assert_eq!(froms(&out), [Some(1)]);
    let (nonce, from, to) = amended(&bench.step(delta(a, 1, 3)));
    assert_eq!((from, to), (1, 3));
    bench.step(ack(nonce, a, Some(stored(a, 3))));
    assert_eq!(froms(&bench.step(Input::Changed(a, stored(a, 4)))), [Some(3)]);
    // The store may always answer with the whole.
    assert_eq!(replaced(&bench.step(snapshot(a, 4))).1, 4);
}

#[test]
fn what_does_not_fit_is_sent_whole_and_the_next_change_is_a_change_again() {
    let (a, b) = (tenant(1), tenant(2));
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 2)), (b, stored(b, 2))]));
    bench.step(hello(&[(a, stored(a, 1)), (b, stored(b, 1))]));
    let (nonce, ..) = amended(&bench.step(delta(a, 1, 2)));
    let need =
        v1::Need { nonce, tenant_id: a.uuid().as_bytes().to_vec(), detail: "base is missing".to_owned() };
    let out = bench.step(proxy(proxy_message::Body::Need(need.clone())));
    assert!(matches!(&out[0], Output::Misfit { tenant, version, .. } if *tenant == a && version.rev == 2));
    assert_eq!((loads(&out), froms(&out)), (vec![a], vec![None]));
    let (nonce, _) = replaced(&bench.step(snapshot(a, 2)));
    bench.step(ack(nonce, a, Some(stored(a, 2))));
    assert_eq!(froms(&bench.step(Input::Changed(a, stored(a, 3)))), [Some(2)]);
    // A whole snapshot has nothing to fit, so nobody may say that it did not.
    let (nonce, _) = replaced(&bench.step(snapshot(a, 3)));
    let out = bench.step(proxy(proxy_message::Body::Need(v1::Need { nonce, ..need })));
    assert!(matches!(out[..], [Output::Close(CloseReason::ProtocolViolation)]), "{out:?}");
}

#[test]
fn a_refused_change_waits_for_the_next_which_leads_from_what_is_enforced() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 2))]));
    bench.step(hello(&[(a, stored(a, 1))]));
    let (nonce, ..) = amended(&bench.step(delta(a, 1, 2)));
    assert!(froms(&bench.step(nack(nonce, a, 2, ErrorCode::SnapshotInvalid))).is_empty());
    assert_eq!(froms(&bench.step(Input::Changed(a, stored(a, 3)))), [Some(1)]);
}

#[test]
fn an_older_proxy_is_sent_whole_tenants_in_one_message() {
    let a = tenant(1);
    let mut bench = Bench::new();
    bench.step(Input::Sources(vec![(a, stored(a, 2))]));
    let hello = v1::Hello {
        boot: vec![1; 16],
        schema_min: 1,
        schema_max: 1,
        have: vec![v1::Have {
            tenant_id: a.uuid().as_bytes().to_vec(),
            rev: 1,
            digest: stored(a, 1).digest.to_vec(),
        }],
        ..Default::default()
    };
    let out = bench.step(proxy(proxy_message::Body::Hello(hello)));
    assert_eq!(froms(&out), [None]);
    let large = Snapshot::new(stored(a, 2), vec![0; 3 * CHUNK].into(), Vec::new());
    let out = bench.step(Input::Loaded(a, large));
    assert!(
        matches!(sent(&out)[..], [Body::Replace(replace), Body::Synced(_)] if replace.snapshot.len() == 3 * CHUNK)
    );
}

#[test]
fn a_large_snapshot_goes_in_parts_and_one_that_is_too_large_not_at_all() {
    let (a, b) = (tenant(1), tenant(2));
    let (mut bench, _) = Bench::open(&[(a, stored(a, 1)), (b, stored(b, 1))]);
    let large = |tenant, bytes| {
        let bytes = Bytes::from(vec![7; bytes]);
        Input::Loaded(tenant, Snapshot::new(stored(tenant, 1), bytes, Vec::new()))
    };
    let out = bench.step(large(a, 2 * CHUNK + 1));
    let lengths: Vec<_> = sent(&out)
        .iter()
        .map(|body| match body {
            Body::Replace(replace) => (replace.chunks, replace.snapshot.len()),
            Body::Chunk(chunk) => (chunk.index, chunk.bytes.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [(2, CHUNK), (1, CHUNK), (2, 1)]);
    let out = bench.step(large(b, crate::snapshot::MAX_BYTES + 1));
    assert!(matches!(sent(&out)[..], [Body::Synced(_)]), "{out:?}");
}

#[test]
fn the_newest_common_schema_is_chosen() {
    let a = tenant(1);
    for (reads, writes, chosen) in
        [((1, 2), 1..=3, Some(2)), ((2, 5), 1..=3, Some(3)), ((4, 5), 1..=3, None), ((1, 1), 2..=3, None)]
    {
        let mut bench = Bench::new();
        bench.server = Server::new("here".to_owned(), bench.stage.context()).with_schemas(writes);
        bench.step(Input::Sources(vec![(a, stored(a, 1))]));
        let hello = v1::Hello {
            boot: vec![1; 16],
            schema_min: reads.0,
            schema_max: reads.1,
            protocol: 1,
            ..Default::default()
        };
        let out = bench.step(proxy(proxy_message::Body::Hello(hello)));
        match chosen {
            Some(chosen) => {
                assert!(matches!(sent(&out)[..], [Body::Welcome(welcome)] if welcome.schema == chosen));
                assert_eq!(loads(&out), [a]);
            }
            None => assert!(matches!(out[..], [Output::Close(CloseReason::SchemaUnsupported)]), "{out:?}"),
        }
    }
}

#[test]
fn without_a_place_for_everything_at_once_the_proxy_is_told_to_come_back() {
    let list: Vec<_> = (0..=WINDOW as u64).map(|n| (tenant(n), stored(tenant(n), 1))).collect();
    let (mut bench, _) = Bench::open(&list);
    let out = bench.step(Input::FullSync(Turn::Nowhere(Duration::from_millis(7_500))));
    assert!(
        matches!(&out[..], [Output::Send(_), Output::Close(CloseReason::Busy)]),
        "nothing is loaded: {out:?}"
    );
    assert!(matches!(sent(&out)[..], [Body::Welcome(welcome)] if welcome.retry_after_ms == 7_500));
    let (mut bench, _) = Bench::open(&list);
    let out = bench.step(Input::FullSync(Turn::Nowhere(Duration::ZERO)));
    assert!(
        matches!(sent(&out)[..], [Body::Welcome(welcome)] if welcome.retry_after_ms > 0),
        "not a welcome"
    );
    // Who lacks a window's worth or less needs no place.
    let (_, out) = Bench::open(&list[1..]);
    assert_eq!(loads(&out).len(), WINDOW);
}

#[test]
fn who_waits_for_a_place_is_welcome_and_given_nothing_before_its_turn() {
    let list: Vec<_> = (0..=WINDOW as u64).map(|n| (tenant(n), stored(tenant(n), 1))).collect();
    let (mut bench, _) = Bench::open(&list);
    let out = bench.step(Input::FullSync(Turn::Later));
    assert!(matches!(sent(&out)[..], [Body::Welcome(welcome)] if welcome.retry_after_ms == 0), "{out:?}");
    assert!(loads(&bench.step(Input::Changed(tenant(0), stored(tenant(0), 2)))).is_empty());
    let out = bench.step(Input::FullSync(Turn::Now));
    assert!(sent(&out).is_empty(), "it was welcomed before: {out:?}");
    assert_eq!(loads(&out).len(), WINDOW);
    // What it is to hold no longer does not wait.
    let gone = tenant(99);
    let mut bench = Bench::new();
    bench.step(Input::Sources(list));
    bench.step(hello(&[(gone, stored(gone, 1))]));
    let out = bench.step(Input::FullSync(Turn::Later));
    assert!(matches!(sent(&out)[..], [Body::Welcome(_), Body::Remove(_)]), "{out:?}");
}

#[test]
fn where_the_ends_have_come_apart_only_what_differs_is_sent_again() {
    let (a, b) = (tenant(1), tenant(2));
    let held = [(a, stored(a, 1)), (b, stored(b, 1))];
    let mut bench = Bench::new();
    bench.step(Input::Sources(held.to_vec()));
    bench.step(hello(&held));
    let beat = |held: &[(TenantId, Version)]| {
        let buckets = Buckets::of(held.iter().map(|(tenant, version)| (tenant, version))).to_bytes();
        proxy(proxy_message::Body::Beat(v1::Beat { buckets, ..Default::default() }))
    };
    assert!(matches!(bench.step(beat(&held))[..], [Output::Heard]));
    // The proxy has lost one of them: it is shown what is believed, and says what is so.
    let out = bench.step(beat(&held[..1]));
    assert!(matches!(sent(&out)[..], [Body::Beat(beat)] if beat.buckets.len() == 8 * BUCKETS), "{out:?}");
    let holds = v1::Holds { bucket: u32::from(Buckets::place(b)), have: Vec::new() };
    let out = bench.step(proxy(proxy_message::Body::Holds(holds)));
    assert!(matches!(out[0], Output::Repaired(tenant) if tenant == b), "{out:?}");
    assert_eq!((loads(&out), froms(&out)), (vec![b], vec![None]));
    let (nonce, _) = replaced(&bench.step(snapshot(b, 1)));
    bench.step(ack(nonce, b, Some(stored(b, 1))));
    assert!(matches!(bench.step(beat(&held))[..], [Output::Heard]));

    let foreign = v1::Holds {
        bucket: u32::from(Buckets::place(b)),
        have: vec![v1::Have {
            tenant_id: a.uuid().as_bytes().to_vec(),
            rev: 1,
            digest: stored(a, 1).digest.to_vec(),
        }],
    };
    let out = bench.step(proxy(proxy_message::Body::Holds(foreign)));
    assert!(matches!(out[..], [Output::Close(CloseReason::ProtocolViolation)]), "{out:?}");
}

#[test]
fn live_proxies_are_told_on_greeting_and_with_beats() {
    let mut bench = Bench::new();
    bench.step(Input::Live(4));
    bench.step(Input::Sources(Vec::new()));
    let out = bench.step(hello(&[]));
    assert!(matches!(sent(&out)[0], Body::Welcome(welcome) if welcome.live_proxies == 4), "{out:?}");
    bench.step(Input::Live(3));
    bench.stage.pass(Duration::from_secs(6));
    let out = bench.step(Input::Tick);
    assert!(matches!(sent(&out)[..], [Body::Beat(beat)] if beat.live_proxies == 3), "{out:?}");
}

#[test]
fn a_proxy_of_an_earlier_build_is_not_sent_the_global_scope() {
    for (protocol, is_sent) in [(1, false), (2, true)] {
        let mut bench = Bench::new();
        bench.step(Input::Sources(vec![(SCOPE, stored(SCOPE, 1)), (tenant(1), stored(tenant(1), 1))]));
        let hello =
            v1::Hello { boot: vec![1; 16], schema_min: 1, schema_max: 1, protocol, ..Default::default() };
        let out = bench.step(proxy(proxy_message::Body::Hello(hello)));
        let loads = out.iter().filter_map(|output| match output {
            Output::Load(load) => Some(load.tenant),
            _ => None,
        });
        let loads: Vec<_> = loads.collect();
        let expected = if is_sent { vec![SCOPE, tenant(1)] } else { vec![tenant(1)] };
        assert_eq!(loads, expected, "protocol {protocol}");
        if !is_sent {
            let out = bench.step(snapshot(tenant(1), 1));
            assert!(out.iter().any(|output| matches!(output, Output::Synced)), "and does not wait for it");
        }
    }
}
