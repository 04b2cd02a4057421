//! A control plane: what `publish/hub.rs` and `fleet/config.rs` do, on simulated connections.

use std::{collections::BTreeMap, net::Ipv4Addr, rc::Rc, time::Duration};

use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use ids::TenantId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};
use turmoil::net::{TcpListener, TcpStream};
use wire::{
    global::SCOPE,
    stream::{
        Version,
        server::{
            CloseReason, Delta, Input, Load, LoadFailure, Output, QUEUE, Server, Snapshot, Turn, WINDOW,
        },
    },
    v1,
};

use crate::{
    World,
    net::{CONFIG, split},
    proxy_name,
};

type Known = BTreeMap<TenantId, Version>;

/// Places for proxies that are given everything at once.
const FULL_SYNCS: usize = 1;

pub(crate) async fn host(world: Rc<World>) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, CONFIG)).await?;
    // What this replica last read of the store; it serves nobody before it has.
    while world.store.borrow().away {
        sleep(Duration::from_millis(300)).await;
    }
    let read = || -> Vec<Known> {
        let store = world.store.borrow();
        (0..world.proxies.len()).map(|number| store.current_for(number)).collect()
    };
    let mut known = read();
    // A channel for each session: a `watch` wakes those who wait in an order that is not the seed's.
    let mut told: Vec<(usize, mpsc::UnboundedSender<Known>)> = Vec::new();
    let places = std::sync::Arc::new(Semaphore::new(FULL_SYNCS));
    let mut sessions = FuturesUnordered::new();
    let mut poll = Box::pin(sleep(Duration::ZERO));
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => {
                let (stream, from) = accepted?;
                // As a certificate says.
                let number = (0..world.proxies.len()).find(|number| {
                    turmoil::lookup(proxy_name(*number)) == from.ip()
                });
                let number = number.expect("a proxy");
                let (sender, news) = mpsc::unbounded_channel();
                told.push((number, sender));
                sessions.push(Session::run(world.clone(), stream, known[number].clone(), news, places.clone()));
            }
            Some(()) = sessions.next(), if !sessions.is_empty() => {}
            () = &mut poll => {
                poll = Box::pin(sleep(world.dice.millis(50..1_200)));
                // Now and then it reads from a copy that lags behind.
                let lags = !world.calm.get() && world.dice.percent(15);
                let now = read();
                if !world.store.borrow().away && !lags && now != known {
                    known = now;
                    told.retain(|(number, session)| session.send(known[*number].clone()).is_ok());
                }
            }
        }
    }
}

struct Session {
    world: Rc<World>,
    machine: Server,
    clock_ahead: i64,
    told: Known,
    places: std::sync::Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    turn: Option<LocalBoxFuture<'static, OwnedSemaphorePermit>>,
    loading: FuturesUnordered<LocalBoxFuture<'static, Input>>,
    outbox: Vec<v1::ControlMessage>,
    closed: bool,
}

impl Session {
    async fn run(
        world: Rc<World>,
        stream: TcpStream,
        told: Known,
        mut news: mpsc::UnboundedReceiver<Known>,
        places: std::sync::Arc<Semaphore>,
    ) {
        let (mut inbound, mut outbound) = split(stream);
        let clock_ahead = world.dice.below(2_000_000) as i64;
        let machine = Server::new("simulated".to_owned(), world.context(clock_ahead))
            .with_schemas(world.offered.borrow().clone());
        let sources = told.iter().map(|(tenant, version)| (*tenant, *version)).collect();
        let live = world.proxies.len() as u32;
        let (loading, outbox) = (FuturesUnordered::new(), Vec::new());
        let mut session = Self {
            world,
            machine,
            clock_ahead,
            told,
            places,
            place: None,
            turn: None,
            loading,
            outbox,
            closed: false,
        };
        session.step(Input::Live(live));
        session.step(Input::Sources(sources));
        loop {
            assert!(session.outbox.len() <= QUEUE && session.loading.len() <= WINDOW);
            for message in std::mem::take(&mut session.outbox) {
                if outbound.send(&message).await.is_err() {
                    return;
                }
            }
            if session.closed {
                return;
            }
            let now = session.world.context(0).now;
            let tick = session.machine.wake_at().since(now);
            let input = tokio::select! {
                biased;
                message = inbound.next() => match message {
                    Some(message) => Input::Received(message),
                    None => return,
                },
                Some(loaded) = session.loading.next(), if !session.loading.is_empty() => loaded,
                Some(known) = news.recv() => {
                    session.news(known);
                    continue;
                }
                place = turn(&mut session.turn) => {
                    (session.turn, session.place) = (None, Some(place));
                    Input::FullSync(Turn::Now)
                }
                () = sleep(tick) => Input::Tick,
            };
            session.step(input);
        }
    }

    fn news(&mut self, now: Known) {
        let before = std::mem::replace(&mut self.told, now.clone());
        if self.world.dice.percent(30) {
            return self.step(Input::Sources(now.into_iter().collect()));
        }
        for tenant in before.keys().filter(|tenant| !now.contains_key(tenant)) {
            self.step(Input::Vanished(*tenant));
        }
        for (tenant, version) in now {
            if before.get(&tenant) != Some(&version) {
                self.step(Input::Changed(tenant, version));
            }
        }
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.machine.handle(self.world.context(self.clock_ahead), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send(message) => self.outbox.push(message),
                Output::Load(what) => self.loading.push(Box::pin(load(self.world.clone(), what))),
                Output::FullSync => {
                    self.place = self.places.clone().try_acquire_owned().ok();
                    let place = match self.place {
                        Some(_) => Turn::Now,
                        None if self.world.dice.percent(50) => {
                            Turn::Nowhere(self.world.dice.millis(500..2_000))
                        }
                        None => {
                            let places = self.places.clone();
                            let taken = async move { places.acquire_owned().await.expect("never closed") };
                            self.turn = Some(Box::pin(taken));
                            self.world.count(|outcome| outcome.waited += 1);
                            Turn::Later
                        }
                    };
                    self.step(Input::FullSync(place));
                }
                Output::Synced => (self.place, self.turn) = (None, None),
                Output::Misfit { .. } => self.world.count(|outcome| outcome.misfits += 1),
                Output::Rejected { tenant, version, .. } => {
                    self.world.count(|outcome| {
                        outcome.refusals += 1;
                        outcome.global_refusals += u64::from(tenant == SCOPE);
                    });
                    let store = self.world.store.borrow();
                    if store.revision(tenant, version.rev).is_none_or(|stored| !stored.poisoned) {
                        self.world.broken(format!("{tenant} at {version:?} was refused and is not poisoned"));
                    }
                }
                Output::Repaired(tenant) => self.world.broken(format!("the ends came apart over {tenant}")),
                Output::Close(reason) => {
                    self.closed = true;
                    match reason {
                        CloseReason::SchemaUnsupported => {
                            self.world.count(|outcome| outcome.incompatible += 1);
                        }
                        CloseReason::Busy => self.world.count(|outcome| outcome.busy += 1),
                        CloseReason::Silent | CloseReason::Aged => {}
                        CloseReason::ProtocolViolation => {
                            self.world.broken("a proxy's message had no place".to_owned());
                        }
                    }
                }
                Output::Heard | Output::Claimed(..) | Output::Applied(..) => {}
            }
        }
    }
}

async fn turn(waiting: &mut Option<LocalBoxFuture<'static, OwnedSemaphorePermit>>) -> OwnedSemaphorePermit {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

async fn load(world: Rc<World>, what: Load) -> Input {
    sleep(world.dice.millis(0..250)).await;
    let Load { tenant, from, .. } = what;
    let troubled = !world.calm.get();
    let store = world.store.borrow();
    if store.away || (troubled && world.dice.percent(3)) {
        return Input::NotLoaded(tenant, LoadFailure::Unavailable);
    }
    if tenant == SCOPE {
        // The one that this proxy is to have.
        let Some(stored) = store.revision(SCOPE, what.target.rev) else {
            return Input::NotLoaded(tenant, LoadFailure::Broken);
        };
        let bytes = stored.bytes.clone();
        return Input::Loaded(tenant, Snapshot::new(stored.version, bytes, Vec::new()));
    }
    let newest = store.newest(tenant).filter(|_| store.current().contains_key(&tenant));
    let Some(newest) = newest.filter(|_| !troubled || !world.dice.percent(1)) else {
        return Input::NotLoaded(tenant, LoadFailure::Broken);
    };
    // Read from a copy that lags behind.
    let lags = troubled && world.dice.percent(6);
    let older = newest.version.rev.saturating_sub(1 + world.dice.below(3));
    if let Some(older) = store.revision(tenant, older).filter(|_| lags) {
        let bytes = older.bytes.clone();
        return Input::Loaded(tenant, Snapshot::new(older.version, bytes, Vec::new()));
    }
    if let Some(from) = from
        && let Some((version, changes)) = store.changes_since(tenant, from)
    {
        return Input::LoadedDelta(tenant, Delta::new(from, version, changes, Vec::new()));
    }
    let bytes = newest.bytes.clone();
    Input::Loaded(tenant, Snapshot::new(newest.version, bytes, Vec::new()))
}
