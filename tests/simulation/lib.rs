//! Deterministic simulation of the configuration stream: the two machines of `wire::stream` over simulated connections, an
//! in-memory store, several control planes, many proxies, in simulated time and in one thread.
//!
//! Everything that happens follows from one number. [`run`] draws from it a world and what is done to it (crashes, restarts from
//! what was stored, partitions, held messages, a store that is away, poisoned revisions, versions that have nothing in common),
//! lets it happen for a while, repairs everything, and waits for the world to come to rest. A run that breaks a law says which,
//! and its number; `SIMULATION_SEED=<number> cargo nextest run -p portcullis-simulation a_seed` repeats it exactly.
//!
//! | file | what |
//! |---|---|
//! | `dice.rs` | everything random |
//! | `store.rs` | Postgres: tenants, revisions, what changed between them, the rollout of the fleet's configuration |
//! | `control.rs`, `proxy.rs` | the two planes' drivers: what `fleet/config.rs` and `control/config.rs` do with real connections |
//! | `definitions.rs` | the definitions that a proxy holds, and what may be sent of them |
//! | `faults.rs` | what goes wrong, and when |
//! | `laws.rs` | what must hold at every moment, and at rest |
//!
//! **To add a stream** (kills): a port and a listener in `control.rs`, a connection in `proxy.rs`, its facts in [`World`], and its
//! laws in `laws.rs`. A law is a function of the world, so it needs nothing of the drivers.

mod control;
mod definitions;
mod dice;
mod faults;
mod laws;
mod net;
mod proxy;
mod store;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::RangeInclusive,
    rc::Rc,
    time::Duration,
};

use ids::TenantId;
use seams::{Entropy, Monotonic, Timestamp};
use wire::{stream::Context, v1};

use dice::Dice;
use store::Store;

/// Simulated time goes forward by so much at a time; messages are delivered in between.
const TICK: Duration = Duration::from_millis(50);
/// Faults are over after this.
const FAULTS_END: Duration = Duration::from_secs(25);
/// And after so much more everything is at rest: longer than the longest wait between two attempts to connect, and a lease.
const REST_WITHIN: Duration = Duration::from_secs(150);
/// How long it is looked at after that: a few beats, which must find nothing to repair.
const STAYS: Duration = Duration::from_secs(13);

/// What a run was like.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome {
    /// Simulated time from the end of the faults to rest.
    pub rested_after: Duration,
    /// Whole tenants, and changes, that were applied.
    pub wholes: u64,
    /// See `wholes`.
    pub deltas: u64,
    /// Changes that did not fit.
    pub misfits: u64,
    /// Definitions that came on their own, snapshots and changes that came without theirs, and those that leant on one which was not
    /// held.
    pub definitions: u64,
    /// See `definitions`.
    pub cut: u64,
    /// See `definitions`.
    pub missed: u64,
    /// Refusals of poisoned revisions.
    pub refusals: u64,
    /// Revisions of the fleet's configuration that were applied, and refusals of it.
    pub globals: u64,
    /// See `globals`.
    pub global_refusals: u64,
    /// Starts of proxies.
    pub boots: u64,
    /// Times a proxy was told to come back later.
    pub busy: u64,
    /// Times one waited for its turn to be given everything.
    pub waited: u64,
    /// Streams refused for want of a common schema.
    pub incompatible: u64,
    /// What the dice would have shown next: two runs with the same have thrown them equally often.
    pub next_throw: u64,
}

/// What a proxy is, beyond any run of its process.
#[derive(Debug)]
struct ProxyState {
    /// What would survive a crash.
    disk: BTreeMap<TenantId, v1::Replace>,
    /// What it enforces; empty while it does not run.
    enforced: BTreeMap<TenantId, v1::Replace>,
    running: bool,
    ready: bool,
    schemas: RangeInclusive<u32>,
    /// What it says and reads: some are of an earlier build.
    protocol: u32,
    /// Its clock against the simulation's, microseconds.
    clock_ahead: i64,
}

/// Everything there is, shared by all hosts and the laws.
#[derive(Debug)]
struct World {
    dice: Dice,
    store: RefCell<Store>,
    proxies: Vec<RefCell<ProxyState>>,
    controls: usize,
    /// Schemas that the control planes offer.
    offered: RefCell<RangeInclusive<u32>>,
    /// From here on nothing more goes wrong.
    calm: Cell<bool>,
    outcome: RefCell<Outcome>,
    broken: RefCell<Vec<String>>,
    entropy: Rc<dyn Entropy>,
}

impl World {
    fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        // Now and then so many tenants that a proxy which lacks them all needs a place for a full synchronisation.
        let tenants = if dice.percent(8) { 40 } else { 2 + dice.below(6) };
        let proxies: Vec<_> = (0..1 + dice.below(5))
            .map(|_| {
                RefCell::new(ProxyState {
                    disk: BTreeMap::new(),
                    enforced: BTreeMap::new(),
                    running: false,
                    ready: false,
                    schemas: 1..=1,
                    protocol: if dice.percent(20) { 2 } else { 3 },
                    clock_ahead: dice.below(20_000_000) as i64 - 10_000_000,
                })
            })
            .collect();
        Self {
            store: RefCell::new(Store::new(tenants, proxies.len(), &dice)),
            proxies,
            controls: 1 + dice.below(3) as usize,
            offered: RefCell::new(1..=1),
            calm: Cell::new(false),
            outcome: RefCell::default(),
            broken: RefCell::default(),
            entropy: dice.entropy(),
            dice,
        }
    }

    /// A law does not hold.
    fn broken(&self, law: String) {
        self.broken.borrow_mut().push(law);
    }

    fn count(&self, count: impl FnOnce(&mut Outcome)) {
        count(&mut self.outcome.borrow_mut());
    }

    /// Time for one step of a machine whose clock is `ahead` microseconds ahead.
    fn context(&self, ahead: i64) -> Context<'_> {
        let now = now();
        let wall = 1_800_000_000_000_000_u64 + now.as_micros() as u64;
        Context {
            now: Monotonic::from_nanos(now.as_nanos() as u64),
            wall: Timestamp::from_micros(wall.saturating_add_signed(ahead)),
            entropy: &*self.entropy,
        }
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn control_name(number: usize) -> String {
    format!("control-{number}")
}

fn proxy_name(number: usize) -> String {
    format!("proxy-{number}")
}

/// Runs the world of this number to its end.
///
/// # Panics
/// When a law was broken, or the world did not come to rest; the message names the seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let world = Rc::new(World::new(seed));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(FAULTS_END + REST_WITHIN + STAYS + Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1 + world.dice.below(600)))
        .tcp_capacity(1 << 16)
        .enable_random_order()
        .build();
    for number in 0..world.controls {
        let world = world.clone();
        sim.host(control_name(number), move || control::host(world.clone()));
    }
    for number in 0..world.proxies.len() {
        let world = world.clone();
        sim.host(proxy_name(number), move || proxy::host(world.clone(), number));
    }
    let step = |sim: &mut turmoil::Sim<'_>| {
        if let Err(error) = sim.step() {
            panic!("seed {seed}: {error}");
        }
        laws::always(&world);
        let broken = world.broken.borrow();
        assert!(broken.is_empty(), "seed {seed} at {:?}: {broken:#?}", sim.elapsed());
    };
    let mut faults = faults::plan(&world).into_iter().peekable();
    while sim.elapsed() < FAULTS_END {
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= sim.elapsed()) {
            faults::inflict(&mut sim, &world, &fault);
        }
        step(&mut sim);
    }
    faults::repair(&mut sim, &world);
    let repaired = sim.elapsed();
    loop {
        match laws::at_rest(&world) {
            Ok(()) => break,
            Err(why) if sim.elapsed() > repaired + REST_WITHIN => panic!("seed {seed}: not at rest: {why}"),
            Err(_) => step(&mut sim),
        }
    }
    let rested = sim.elapsed();
    while sim.elapsed() < rested + STAYS {
        step(&mut sim);
    }
    if let Err(why) = laws::at_rest(&world) {
        panic!("seed {seed}: came to rest and did not stay so: {why}");
    }
    let next_throw = world.dice.below(u64::MAX);
    Outcome { rested_after: rested - repaired, next_throw, ..*world.outcome.borrow() }
}
