//! Without configuration, or with one that is too old.

use std::time::Duration;

use seams::Timestamp;
use wire::v1::GlobalSnapshot;

use super::*;
use crate::{config::MAX_STALE, ready::Readiness, snapshot::samples};

#[tokio::test]
async fn without_configuration_nothing_is_answered_for_any_endpoint() {
    local(async {
        let mut rig = Rig::start(|_| {}).await;
        let worker = Rc::get_mut(&mut rig.worker).unwrap();
        let ready = Readiness::new(worker.shared.clock.clone(), MAX_STALE);
        Arc::get_mut(&mut worker.shared).unwrap().ready = Arc::new(ready);
        let got = rig.call(ADD).await;
        assert_eq!((got.status.as_u16(), got.refusal()), (503, "not_ready"));
    })
    .await;
}

#[tokio::test]
async fn configuration_that_nobody_has_confirmed_for_too_long_is_not_enforced() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let ready = Arc::clone(&rig.worker.shared.ready);
        ready.restore(
            Timestamp::from_secs(rig.worker.shared.clock.now().secs() - MAX_STALE.as_secs()),
            Duration::ZERO,
        );
        assert_eq!(rig.call(ADD).await.status.as_u16(), 200);
        ready.restore(
            Timestamp::from_secs(rig.worker.shared.clock.now().secs() - MAX_STALE.as_secs() - 1),
            Duration::ZERO,
        );
        let got = rig.call(ADD).await;
        assert_eq!((got.status.as_u16(), got.refusal()), (503, "config_stale"));
        assert!(!ready.is_ready());
        ready.confirm();
        assert_eq!(rig.call(ADD).await.status.as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_wants_less_is_refused_sooner() {
    local(async {
        let mut rig = Rig::start(|body| {
            if let Resource::Tenant(tenant) = body {
                tenant.max_stale_seconds = 60;
            }
        })
        .await;
        let age = |secs: u64| {
            let shared = &rig.worker.shared;
            shared.ready.restore(Timestamp::from_secs(shared.clock.now().secs() - secs), Duration::ZERO);
        };
        age(60);
        assert_eq!(rig.call(ADD).await.status.as_u16(), 200);
        age(61);
        let got = rig.call(ADD).await;
        assert_eq!((got.status.as_u16(), got.refusal()), (503, "config_stale"));
        assert!(rig.worker.shared.ready.is_ready(), "for the others");
        rig.world.edit(|body| {
            if let Resource::Tenant(tenant) = body {
                tenant.max_stale_seconds = 0;
            }
        });
        assert_eq!(rig.call(ADD).await.status.as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn the_fleets_configuration_bounds_what_a_tenant_configured_and_loosens_nothing() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let set = |rev: u64, bytes: u32| {
            let content = GlobalSnapshot {
                max_request_bytes: bytes,
                max_response_bytes: bytes,
                ..GlobalSnapshot::default()
            };
            rig.world.snapshots.apply(&samples::global(rev, content)).unwrap();
        };
        let padded = format!("{ADD}{}", " ".repeat(6_000));
        assert_eq!(rig.call(&padded).await.status.as_u16(), 200);
        set(1, 4_096);
        assert_eq!(rig.call(&padded).await.refusal(), "request_too_large");
        assert_eq!(rig.call(ADD).await.status.as_u16(), 200);
        assert_eq!(rig.world.place().max_response_bytes(), 4_096);
        // The sample's own bounds are a mebibyte.
        set(2, 8 << 20);
        assert_eq!(
            (rig.world.place().max_request_bytes(), rig.world.place().max_response_bytes()),
            (1 << 20, 1 << 20)
        );
        assert_eq!(rig.call(&padded).await.status.as_u16(), 200);
        let counts = rig.worker.shared.tallies.sum();
        assert_eq!((counts.answers, counts.refusals, counts.failures), (4, 1, 0));
    })
    .await;
}

#[tokio::test]
async fn how_much_an_address_may_fail_follows_the_fleets_configuration() {
    local(async {
        let rig = Rig::start(|_| {}).await;
        let content = GlobalSnapshot { address_per_minute: 1, address_burst: 1, ..GlobalSnapshot::default() };
        rig.world.snapshots.apply(&samples::global(1, content)).unwrap();
        let stranger = || Request::post(PATH).header("content-type", "application/json");
        assert_eq!(rig.send(stranger(), ADD).await.refusal(), "credential_missing");
        assert_eq!(rig.send(stranger(), ADD).await.refusal(), "address_limited", "it was started with three");
    })
    .await;
}
