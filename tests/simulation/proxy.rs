//! A proxy: what `control/config.rs` and `snapshot/store.rs` do, on simulated connections.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use ids::TenantId;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;
use wire::{
    global::{self, SCOPE},
    snapshot::{decode_exact, delta, delta::Misfit, digest},
    stream::{
        Version,
        client::{Client, HangupReason, Input, Output, Refused, Ticket},
    },
    v1,
};

use crate::{
    World, control_name,
    definitions::Definitions,
    laws,
    net::{CONFIG, Inbound, Outbound, split},
};

enum Change {
    Apply(Ticket, v1::Replace),
    Amend(Ticket, v1::Delta),
    Remove(Ticket),
}

struct Driver {
    world: Rc<World>,
    number: usize,
    clock_ahead: i64,
    machine: Client,
    connecting: Option<LocalBoxFuture<'static, Option<TcpStream>>>,
    inbound: Option<Inbound>,
    outbound: Option<Outbound>,
    /// Connections hung up that nobody closed: the other end has to notice by itself.
    forgotten: Vec<(Inbound, Outbound)>,
    outbox: Vec<v1::ProxyMessage>,
    changes: VecDeque<Change>,
    changing: Option<LocalBoxFuture<'static, ()>>,
    definitions: Definitions,
}

pub(crate) async fn host(world: Rc<World>, number: usize) -> turmoil::Result {
    world.count(|outcome| outcome.boots += 1);
    let (at, schemas, protocol, clock_ahead) = {
        let mut proxy = world.proxies[number].borrow_mut();
        proxy.enforced = proxy.disk.clone();
        (proxy.running, proxy.ready) = (true, false);
        let at = proxy.enforced.iter().map(|(tenant, replace)| (*tenant, version(replace))).collect();
        (at, proxy.schemas.clone(), proxy.protocol, proxy.clock_ahead)
    };
    let definitions = Definitions::of(&world.proxies[number].borrow().disk, protocol < 3);
    let boot = world.entropy.bytes();
    let mut driver = Driver {
        machine: Client::new(boot, "simulated".to_owned(), at).with_schemas(schemas).with_protocol(protocol),
        world,
        number,
        clock_ahead,
        connecting: None,
        inbound: None,
        outbound: None,
        forgotten: Vec::new(),
        outbox: Vec::new(),
        changes: VecDeque::new(),
        changing: None,
        definitions,
    };
    let mut input = Input::Tick;
    loop {
        driver.step(input);
        if driver.changing.is_none() && !driver.changes.is_empty() {
            driver.changing = Some(Box::pin(sleep(driver.world.dice.millis(0..200))));
        }
        if let Some(lost) = driver.send().await {
            input = lost;
            continue;
        }
        let tick = driver.machine.wake_at().since(driver.world.context(0).now);
        input = tokio::select! {
            biased;
            connected = some(&mut driver.connecting) => driver.connected(connected),
            message = received(&mut driver.inbound) => message.map_or(Input::Disconnected, Input::Received),
            () = some(&mut driver.changing) => driver.change(),
            () = sleep(tick) => Input::Tick,
        };
    }
}

impl Driver {
    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.machine.handle(self.world.context(self.clock_ahead), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect => {
                    let control = control_name(self.world.dice.below(self.world.controls as u64) as usize);
                    self.connecting = Some(Box::pin(async move {
                        let connecting = TcpStream::connect((control, CONFIG));
                        timeout(Duration::from_secs(5), connecting).await.ok()?.ok()
                    }));
                }
                Output::Send(mut message) => {
                    self.definitions.says(&mut message);
                    self.outbox.push(message);
                }
                Output::Learn(new) => self.definitions.learn(&self.world, new),
                Output::Apply(ticket, replace) => self.changes.push_back(Change::Apply(ticket, replace)),
                Output::Amend(ticket, delta) => self.changes.push_back(Change::Amend(ticket, delta)),
                Output::Remove(ticket) => self.changes.push_back(Change::Remove(ticket)),
                Output::Ready => {
                    if !self.changes.is_empty() || self.changing.is_some() {
                        self.world.broken(format!("proxy {} is ready too early", self.number));
                    }
                    self.world.proxies[self.number].borrow_mut().ready = true;
                }
                Output::Told(told) => {
                    if told.live_proxies != Some(self.world.proxies.len() as u32) {
                        self.world.broken(format!("proxy {} was told of {told:?}", self.number));
                    }
                }
                Output::Hangup(reason) => {
                    if reason == HangupReason::ProtocolViolation {
                        self.world.broken("a control plane's message had no place".to_owned());
                    }
                    self.connecting = None;
                    self.outbox.clear();
                    let ends = self.inbound.take().zip(self.outbound.take());
                    self.forgotten.extend(ends.filter(|_| self.world.dice.percent(30)));
                }
            }
        }
    }

    fn connected(&mut self, stream: Option<TcpStream>) -> Input {
        self.connecting = None;
        let Some(stream) = stream else { return Input::Disconnected };
        let (inbound, outbound) = split(stream);
        (self.inbound, self.outbound) = (Some(inbound), Some(outbound));
        Input::Connected
    }

    async fn send(&mut self) -> Option<Input> {
        let outbound = self.outbound.as_mut()?;
        for message in self.outbox.drain(..) {
            if outbound.send(&message).await.is_err() {
                return Some(Input::Disconnected);
            }
        }
        None
    }

    fn change(&mut self) -> Input {
        self.changing = None;
        match self.changes.pop_front() {
            None => Input::Tick,
            Some(Change::Remove(ticket)) => {
                let mut proxy = self.world.proxies[self.number].borrow_mut();
                proxy.enforced.remove(&ticket.tenant);
                proxy.disk.remove(&ticket.tenant);
                Input::Removed(ticket)
            }
            Some(Change::Apply(ticket, replace)) => {
                self.world.count(|outcome| outcome.wholes += 1);
                match self.definitions.whole(&self.world, ticket.tenant, replace) {
                    Ok(replace) => self.enforce(ticket, replace),
                    Err(misfit) => Input::Misfit(ticket, misfit.to_string()),
                }
            }
            Some(Change::Amend(ticket, delta)) => match self.amended(ticket.tenant, &delta) {
                Ok(replace) => {
                    self.world.count(|outcome| outcome.deltas += 1);
                    self.enforce(ticket, replace)
                }
                Err(misfit) => Input::Misfit(ticket, misfit.to_string()),
            },
        }
    }

    fn amended(&mut self, tenant: TenantId, change: &v1::Delta) -> Result<v1::Replace, Misfit> {
        let change = &self.definitions.change(&self.world, change)?;
        let proxy = self.world.proxies[self.number].borrow();
        let mut base = proxy.disk.get(&tenant).ok_or(Misfit::Missing)?.clone();
        if !self.world.calm.get() && self.world.dice.percent(4) {
            let mut damaged = base.snapshot.to_vec();
            let at = self.world.dice.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << self.world.dice.below(8);
            base.snapshot = damaged.into();
        }
        delta::amend(&base, change)
    }

    fn enforce(&mut self, ticket: Ticket, replace: v1::Replace) -> Input {
        let tenant = ticket.tenant;
        if tenant == SCOPE {
            return self.enforce_global(ticket, replace);
        }
        let snapshot = match decode_exact(&replace.snapshot) {
            Ok(snapshot) => snapshot,
            Err(invalid) => {
                let refused = Refused { code: invalid.code(), detail: invalid.to_string() };
                return Input::Rejected(ticket, refused);
            }
        };
        let addressed = snapshot.tenant_id == replace.tenant_id && snapshot.rev == replace.rev;
        if !addressed || digest(&snapshot)[..] != replace.digest[..] {
            self.world.broken(format!("what came is not what was said: {replace:?}"));
        }
        self.definitions.keep(&replace);
        self.swap(ticket, replace)
    }

    fn enforce_global(&self, ticket: Ticket, replace: v1::Replace) -> Input {
        match global::decode_exact(&replace.snapshot) {
            Ok(snapshot) => {
                if snapshot.rev != replace.rev || global::digest(&snapshot)[..] != replace.digest[..] {
                    self.world.broken(format!("what came is not what was said: {replace:?}"));
                }
                self.world.count(|outcome| outcome.globals += 1);
                self.swap(ticket, replace)
            }
            Err(invalid) => {
                Input::Rejected(ticket, Refused { code: invalid.code(), detail: invalid.to_string() })
            }
        }
    }

    fn swap(&self, ticket: Ticket, replace: v1::Replace) -> Input {
        let tenant = ticket.tenant;
        let mut proxy = self.world.proxies[self.number].borrow_mut();
        laws::on_change(&self.world, self.number, proxy.enforced.get(&tenant), &replace);
        // What is written is not always kept.
        if self.world.calm.get() || !self.world.dice.percent(12) {
            proxy.disk.insert(tenant, replace.clone());
        }
        let version = version(&replace);
        proxy.enforced.insert(tenant, replace);
        Input::Applied(ticket, version)
    }
}

fn version(replace: &v1::Replace) -> Version {
    Version { rev: replace.rev, digest: replace.digest.as_slice().try_into().expect("32 bytes") }
}

async fn some<F: Future + Unpin>(pending: &mut Option<F>) -> F::Output {
    match pending {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn received(inbound: &mut Option<Inbound>) -> Option<v1::ControlMessage> {
    match inbound {
        Some(inbound) => inbound.next().await,
        None => std::future::pending().await,
    }
}
