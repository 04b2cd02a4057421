//! Permits of many tenants are renewed together.

use std::sync::{Arc, atomic::AtomicU32};

use harness::{
    eventually,
    redis::{Redis, patient_link},
};
use ids::TenantId;
use limits::running::Permits;
use redis_link::counters::{Counters, PermitsKey, Running, Subject, running::Runs};
use smallvec::smallvec;

/// More tenants than are asked about at once.
const TENANTS: u64 = 100;
const AT_ONCE: u64 = 64;

#[derive(Debug, Clone)]
struct OfTenant(u64, Arc<Permits>);

impl Runs for OfTenant {
    fn key(&self) -> PermitsKey {
        PermitsKey { tenant: TenantId::from_parts(1 + self.0, [9; 10]), subject: Subject::Tenant }
    }
    fn permits(&self) -> &Permits {
        &self.1
    }
    fn max(&self) -> u32 {
        50
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_waits_for_another_to_be_renewed_but_for_the_bound() {
    let redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    let (running, _settled) = Running::new(Counters::new(link.clone()), Arc::new(AtomicU32::new(1)), 1);
    let mut permits = Vec::new();
    for tenant in 0..TENANTS {
        let started = running.start(smallvec![OfTenant(tenant, Arc::default())], 1).await;
        permits.push(started.expect("there is room"));
    }
    let before = running.calls();
    redis.pause();
    // Every lease is old by now.
    let (does, now) = (running.clone(), 5_000_000_000);
    let settling = tokio::spawn(async move { does.settle_all(now).await });
    eventually("as many as may are asked about", async || running.calls() - before == AT_ONCE).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
        assert_eq!(running.calls() - before, AT_ONCE, "and no more");
    }
    redis.go_on();
    settling.await.expect("settles");
    assert_eq!(running.calls() - before, TENANTS);
    // Nothing of it is lost: each is renewed the next time too.
    running.settle_all(2 * now).await;
    assert_eq!(running.calls() - before, 2 * TENANTS);
}
