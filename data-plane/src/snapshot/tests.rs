mod definitions;
mod delta;
mod domains;
mod global;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use crypto::KeyKind;
use errors::ErrorCode;
use limits::near::Terms;
use seams::{Clock, ManualClock, Timestamp};
use wire::v1::{self, resource::Body};

use super::{
    decode::DecodeError,
    index::SubjectLimit,
    samples::{HEADER_VALUE, Sample},
    store::Snapshots,
};

fn snapshots() -> Snapshots {
    Snapshots::new(Arc::new(ManualClock::at(Timestamp::from_secs(1))))
}

fn refused(change: impl FnOnce(&mut v1::Replace)) -> DecodeError {
    let snapshots = snapshots();
    let mut replace = Sample::new(1).replace();
    change(&mut replace);
    let error = snapshots.apply(&replace).expect_err("must be refused");
    assert!(snapshots.load().is_empty());
    error
}

#[test]
fn an_applied_tenant_is_found_by_the_names_a_request_brings() {
    let (snapshots, sample) = (snapshots(), Sample::new(1));
    let mut changed = snapshots.changed();
    let applied = snapshots.apply(&sample.replace()).expect("applies");
    assert_eq!((applied.tenant, applied.version.rev), (sample.tenant, 1));
    assert!(changed.has_changed().expect("store lives"));
    changed.mark_unchanged();
    assert_eq!(snapshots.versions().get(&sample.tenant), Some(&applied.version));

    let fleet = snapshots.load();
    let (tenant, endpoint) = fleet.endpoint(&sample.slug, "tools").expect("the endpoint");
    assert!(fleet.endpoint(&sample.slug, "other").is_none());
    assert!(fleet.endpoint("other", "tools").is_none());
    assert!(endpoint.admits("198.51.100.1".parse::<IpAddr>().expect("an address")));
    assert!(!endpoint.admits("192.0.2.9".parse::<IpAddr>().expect("an address")));

    let presented = crypto::key::parse(KeyKind::ApiKey, &sample.key_text).expect("a key");
    let key = tenant.key(presented.lookup).expect("the key");
    assert!(key.verify(&tenant.crypto, &presented));
    assert!(key.client.may_use(endpoint.id));
    let stranger = crypto::key::mint(KeyKind::ApiKey, &seams::SeededEntropy::new(99));
    assert!(tenant.key(&stranger.lookup).is_none());

    let upstream = &endpoint.attachments[0].upstream;
    let (name, value) = &upstream.headers.as_ref().expect("opens")[0];
    assert_eq!((name.as_str(), value.as_bytes()), ("authorization", HEADER_VALUE.as_bytes()));
    assert!(!format!("{tenant:?}{upstream:?}{:?}", tenant.crypto).contains("upstream-secret"));

    let tool = upstream.tools.get("add").expect("the tool");
    let ruling = tenant.policies.decide(
        &tool.slices,
        key.client.principal(),
        policy::Action::CallTool,
        tool.resource(),
    );
    let decision = ruling.with(policy::Held::All);
    assert!(decision.is_permit(), "{decision:?}");
}

#[test]
fn a_change_is_seen_whole_and_only_by_those_who_look_again() {
    let (snapshots, mut sample) = (snapshots(), Sample::new(1));
    snapshots.apply(&sample.replace()).expect("applies");
    let before = snapshots.load();
    sample.snapshot.rev = 2;
    sample.edit(|body| {
        if let Body::Endpoint(endpoint) = body {
            endpoint.slug = "renamed".to_owned();
        }
    });
    snapshots.apply(&sample.replace()).expect("applies");
    assert!(before.endpoint(&sample.slug, "tools").is_some());
    let after = snapshots.load();
    assert!(after.endpoint(&sample.slug, "tools").is_none());
    assert!(after.endpoint(&sample.slug, "renamed").is_some());
    assert_eq!(after.len(), 1);
}

#[test]
fn limits_go_on_counting_across_revisions() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
    let snapshots = Snapshots::new(clock.clone());
    let mut sample = Sample::new(1);
    snapshots.apply(&sample.replace()).expect("applies");
    let limit = |snapshots: &Snapshots| {
        let fleet = snapshots.load();
        fleet
            .tenants()
            .next()
            .and_then(|tenant| tenant.clients.values().next())
            .expect("a client")
            .limit
            .clone()
    };
    let first = limit(&snapshots);
    assert!(first.buckets.calls.try_take(clock.monotonic().nanos(), first.rate, 60).admitted());
    sample.snapshot.rev = 2;
    snapshots.apply(&sample.replace()).expect("applies");
    let second = limit(&snapshots);
    assert!(Arc::ptr_eq(&first.buckets, &second.buckets));
    sample.snapshot.rev = 3;
    sample.edit(|body| {
        if let Body::Limit(limit) = body {
            (limit.per_minute, limit.burst) = (600, 10);
        }
    });
    snapshots.apply(&sample.replace()).expect("applies");
    let third = limit(&snapshots);
    assert_eq!(third.rate.burst, 10);
    assert!(
        !third.buckets.calls.try_take(clock.monotonic().nanos(), third.rate, 1).admitted(),
        "still empty"
    );
    assert!(Arc::ptr_eq(&first.buckets.in_flight, &third.buckets.in_flight));
}

#[test]
fn a_limit_that_was_deleted_and_is_made_again_goes_on_with_the_calls_that_run() {
    let snapshots = snapshots();
    let sample = |rev: u64, is_limited: bool| {
        let mut sample = Sample::new(1);
        sample.snapshot.rev = rev;
        sample.edit(|body| {
            if let Body::Limit(limit) = body {
                limit.subject = v1::LimitSubject::Tenant.into();
                limit.subject_id.clear();
                limit.concurrency = 1;
            }
        });
        sample.snapshot.resources.retain(|resource| is_limited || !resource.id.starts_with("lim_"));
        sample
    };
    let tenant = sample(1, true).tenant;
    let limit = || snapshots.load().tenant(tenant).and_then(|index| index.limit.clone());
    let apply = |rev, is_limited| snapshots.apply(&sample(rev, is_limited).replace()).expect("applies");
    apply(1, true);
    let first = limit().expect("a limit");
    assert!(first.buckets.in_flight.start_alone(1, 1, 1));
    apply(2, false);
    assert!(limit().is_none());
    apply(3, true);
    let second = limit().expect("a limit");
    assert!(Arc::ptr_eq(&first.buckets.in_flight, &second.buckets.in_flight), "one end of one limit");
    assert!(!second.buckets.in_flight.start_alone(1, 1, 1), "one call runs");
    // The tenant leaves this proxy's pool and comes back.
    snapshots.remove(tenant);
    apply(3, true);
    let third = limit().expect("a limit");
    assert!(Arc::ptr_eq(&first.buckets.in_flight, &third.buckets.in_flight));
    // Nothing is kept of what nobody uses.
    first.buckets.in_flight.end();
    let gone = Arc::downgrade(&first.buckets.in_flight);
    drop((first, second, third));
    snapshots.remove(tenant);
    assert_eq!(gone.strong_count(), 0);
}

#[test]
fn a_changed_limit_keeps_what_a_proxy_admitted_without_redis() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
    let snapshots = Snapshots::new(clock.clone());
    let mut sample = Sample::new(1);
    let mut limit = |rev: u64, burst: u32| {
        sample.snapshot.rev = rev;
        sample.edit(|body| {
            if let Body::Limit(limit) = body {
                (limit.per_minute, limit.burst) = (1, burst);
            }
        });
        snapshots.apply(&sample.replace()).expect("applies");
        let fleet = snapshots.load();
        let tenant = fleet.tenants().next().expect("a tenant");
        tenant.clients.values().next().expect("a client").limit.clone()
    };
    let spend = |limit: &SubjectLimit| {
        let near = limit.buckets.near.get_or_init(Box::default);
        let terms = Terms { rate: limit.rate.storable(), proxies: 4 };
        (0..100).filter(|_| near.calls.spend_alone(clock.monotonic().nanos(), terms, 1).is_ok()).count()
    };
    let first = limit(1, 40);
    assert_eq!(spend(&first), 10, "a share");
    let second = limit(2, 41);
    assert!(spend(&second) <= 1, "a changed limit opened the share again");
    let near = second.buckets.near.get().expect("carried over");
    let terms = Terms { rate: second.rate.storable(), proxies: 4 };
    let debt = near.calls.ask(clock.monotonic().nanos(), terms, 0).ask.debt;
    assert!((10..=11).contains(&debt), "Redis is told of {debt}");
}

#[test]
fn what_is_wrong_is_refused_with_its_code() {
    let digest = refused(|replace| replace.digest[0] ^= 1);
    assert_eq!((&digest, digest.code()), (&DecodeError::Digest, ErrorCode::SnapshotDigestMismatch));
    assert_eq!(refused(|replace| replace.rev = 2), DecodeError::Envelope("rev"));
    let foreign = Sample::new(2).snapshot.tenant_id;
    assert_eq!(refused(|replace| replace.tenant_id = foreign), DecodeError::Envelope("tenant_id"));
    assert_eq!(refused(|replace| replace.keys.clear()), DecodeError::Keys("current"));
    assert_eq!(refused(|replace| replace.keys[0].material.truncate(31)), DecodeError::Keys("material"));
    // Field 15, a varint: what a newer control plane might add.
    let newer = refused(|replace| {
        let mut bytes = replace.snapshot.to_vec();
        bytes.extend_from_slice(&[0x78, 1]);
        replace.snapshot = Bytes::from(bytes);
    });
    assert_eq!(newer.code(), ErrorCode::SnapshotUndecodable);
    let junk = refused(|replace| replace.snapshot = Bytes::from_static(&[0xff; 40]));
    assert_eq!(junk.code(), ErrorCode::SnapshotUndecodable);
}

#[test]
fn a_refused_revision_leaves_the_former_one_in_force() {
    let (snapshots, mut sample) = (snapshots(), Sample::new(1));
    let applied = snapshots.apply(&sample.replace()).expect("applies");
    sample.snapshot.rev = 2;
    let mut damaged = sample.replace();
    damaged.digest[5] ^= 1;
    snapshots.apply(&damaged).expect_err("refused");
    assert_eq!(snapshots.versions().get(&sample.tenant), Some(&applied.version));
}

#[test]
fn a_credential_that_does_not_open_spoils_its_upstream_only() {
    let (snapshots, mut sample) = (snapshots(), Sample::new(1));
    sample.edit(|body| {
        if let Body::Upstream(upstream) = body {
            let last = upstream.headers[0].sealed.len() - 1;
            upstream.headers[0].sealed[last] ^= 1;
        }
    });
    snapshots.apply(&sample.replace()).expect("applies");
    let fleet = snapshots.load();
    let upstream = fleet.tenants().flat_map(|tenant| tenant.upstreams.values()).next().expect("the upstream");
    assert!(upstream.headers.is_err());
}

#[test]
fn a_name_is_held_by_one_tenant_and_free_after_its_removal() {
    let (snapshots, first, mut second) = (snapshots(), Sample::new(1), Sample::new(2));
    snapshots.apply(&first.replace()).expect("applies");
    second.edit(|body| {
        if let Body::Tenant(tenant) = body {
            tenant.slug = first.slug.clone();
        }
    });
    assert_eq!(snapshots.apply(&second.replace()), Err(DecodeError::SlugTaken));
    snapshots.remove(first.tenant);
    assert!(snapshots.load().is_empty());
    snapshots.apply(&second.replace()).expect("applies");
    assert!(snapshots.load().endpoint(&first.slug, "tools").is_some());
}

/// Applying asks it for the time; it panics instead, once told to.
#[derive(Debug, Default)]
struct BrokenClock(std::sync::atomic::AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1)
    }

    fn monotonic(&self) -> seams::Monotonic {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "broken");
        seams::Monotonic::default()
    }
}

#[test]
fn a_panic_while_applying_is_a_refusal_and_the_store_works_on() {
    let clock = Arc::new(BrokenClock::default());
    let snapshots = Snapshots::new(clock.clone());
    let mut sample = Sample::new(1);
    snapshots.apply(&sample.replace()).expect("applies");
    clock.0.store(true, std::sync::atomic::Ordering::SeqCst);
    sample.snapshot.rev = 2;
    let refused = snapshots.apply(&sample.replace()).expect_err("refused");
    assert_eq!((&refused, refused.code()), (&DecodeError::Panicked, ErrorCode::ApplyPanicked));
    assert_eq!(snapshots.versions()[&sample.tenant].rev, 1);
    clock.0.store(false, std::sync::atomic::Ordering::SeqCst);
    snapshots.apply(&sample.replace()).expect("applies");
    assert_eq!(snapshots.versions()[&sample.tenant].rev, 2);
}
