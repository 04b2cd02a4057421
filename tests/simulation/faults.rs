//! What goes wrong, and its repair.

use std::{ops::RangeInclusive, time::Duration};

use ids::TenantId;
use turmoil::Sim;

use crate::{FAULTS_END, World, control_name, proxy_name};

#[derive(Debug)]
pub(crate) enum Fault {
    Publish(TenantId),
    Toggle(TenantId),
    /// The fleet's configuration changes, or its rollout ends one way or the other.
    PublishGlobal,
    /// Its rollout reaches one more proxy.
    PromoteGlobal,
    CrashProxy(usize),
    StartProxy(usize),
    /// It loses some of what it stored.
    LoseDisk(usize),
    CrashControl(usize),
    StartControl(usize),
    Partition(usize, usize),
    PartitionTowardsProxy(usize, usize),
    Repair(usize, usize),
    Hold(usize, usize),
    Release(usize, usize),
    StoreAway(bool),
    /// From its next start on, a proxy reads these schemas.
    Reads(usize, RangeInclusive<u32>),
    /// From their next streams on, control planes offer these.
    Offer(RangeInclusive<u32>),
}

/// Drawn at the beginning, in order of time.
pub(crate) fn plan(world: &World) -> Vec<(Duration, Fault)> {
    let dice = &world.dice;
    let tenants = world.store.borrow().tenants();
    let span = FAULTS_END.as_millis() as u64;
    let mut plan = Vec::new();
    for _ in 0..5 + dice.below(40) {
        plan.push((dice.millis(0..span), Fault::Publish(*dice.pick(&tenants))));
    }
    for _ in 0..dice.below(4) {
        plan.push((dice.millis(0..span), Fault::Toggle(*dice.pick(&tenants))));
    }
    for _ in 0..dice.below(6) {
        plan.push((dice.millis(0..span), Fault::PublishGlobal));
        plan.push((dice.millis(0..span), Fault::PromoteGlobal));
    }
    for _ in 0..dice.below(14) {
        let (at, lasts) = (dice.millis(0..span), dice.millis(50..8_000));
        let proxy = dice.below(world.proxies.len() as u64) as usize;
        let control = dice.below(world.controls as u64) as usize;
        let pair = match dice.below(9) {
            0 => (Fault::CrashProxy(proxy), Fault::StartProxy(proxy)),
            1 => {
                plan.push((at, Fault::LoseDisk(proxy)));
                (Fault::CrashProxy(proxy), Fault::StartProxy(proxy))
            }
            2 => (Fault::CrashControl(control), Fault::StartControl(control)),
            3 => (Fault::Partition(control, proxy), Fault::Repair(control, proxy)),
            4 => (Fault::PartitionTowardsProxy(control, proxy), Fault::Repair(control, proxy)),
            5 => (Fault::Hold(control, proxy), Fault::Release(control, proxy)),
            6 => (Fault::StoreAway(true), Fault::StoreAway(false)),
            7 => {
                plan.push((at, Fault::CrashProxy(proxy)));
                (Fault::Reads(proxy, 2..=3), Fault::StartProxy(proxy))
            }
            _ => (Fault::Offer(2..=2), Fault::Offer(1..=2)),
        };
        plan.push((at, pair.0));
        plan.push((at + lasts, pair.1));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

pub(crate) fn inflict(sim: &mut Sim<'_>, world: &World, fault: &Fault) {
    match fault {
        Fault::Publish(tenant) => world.store.borrow_mut().publish(*tenant, &world.dice),
        Fault::Toggle(tenant) => world.store.borrow_mut().toggle(*tenant),
        Fault::PublishGlobal => world.store.borrow_mut().publish_global(&world.dice),
        Fault::PromoteGlobal => world.store.borrow_mut().promote_global(),
        Fault::CrashProxy(number) => {
            sim.crash(proxy_name(*number));
            let mut proxy = world.proxies[*number].borrow_mut();
            (proxy.running, proxy.ready) = (false, false);
            proxy.enforced.clear();
        }
        Fault::StartProxy(number) => sim.bounce(proxy_name(*number)),
        Fault::LoseDisk(number) => {
            world.proxies[*number].borrow_mut().disk.retain(|_, _| world.dice.percent(50));
        }
        Fault::CrashControl(number) => sim.crash(control_name(*number)),
        Fault::StartControl(number) => sim.bounce(control_name(*number)),
        Fault::Partition(control, proxy) => sim.partition(control_name(*control), proxy_name(*proxy)),
        Fault::PartitionTowardsProxy(control, proxy) => {
            sim.partition_oneway(control_name(*control), proxy_name(*proxy));
        }
        Fault::Repair(control, proxy) => sim.repair(control_name(*control), proxy_name(*proxy)),
        Fault::Hold(control, proxy) => sim.hold(control_name(*control), proxy_name(*proxy)),
        Fault::Release(control, proxy) => sim.release(control_name(*control), proxy_name(*proxy)),
        Fault::StoreAway(away) => world.store.borrow_mut().away = *away,
        Fault::Reads(number, schemas) => world.proxies[*number].borrow_mut().schemas = schemas.clone(),
        Fault::Offer(schemas) => *world.offered.borrow_mut() = schemas.clone(),
    }
}

/// Everything works again, and what does not run is started.
pub(crate) fn repair(sim: &mut Sim<'_>, world: &World) {
    world.calm.set(true);
    *world.offered.borrow_mut() = 1..=1;
    {
        let mut store = world.store.borrow_mut();
        store.away = false;
        store.serve_all();
        store.end_rollout(world.dice.percent(50));
    }
    for control in 0..world.controls {
        for proxy in 0..world.proxies.len() {
            sim.release(control_name(control), proxy_name(proxy));
            sim.repair(control_name(control), proxy_name(proxy));
        }
        if !sim.is_host_running(control_name(control)) {
            sim.bounce(control_name(control));
        }
    }
    for (number, proxy) in world.proxies.iter().enumerate() {
        let upgraded = {
            let mut proxy = proxy.borrow_mut();
            std::mem::replace(&mut proxy.schemas, 1..=1) != (1..=1)
        };
        if upgraded && sim.is_host_running(proxy_name(number)) {
            inflict(sim, world, &Fault::CrashProxy(number));
        }
        if !sim.is_host_running(proxy_name(number)) {
            sim.bounce(proxy_name(number));
        }
    }
}
