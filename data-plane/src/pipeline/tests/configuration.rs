//! Without configuration, or with one that is too old.

use std::time::Duration;

use seams::Timestamp;

use super::*;
use crate::{config::MAX_STALE, ready::Readiness};

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
