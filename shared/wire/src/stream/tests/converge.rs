//! Many proxies, one source, streams that break at any point, replicas that lag, proxies and replicas that restart.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use control_message::Body;
use errors::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::{
    stream::{
        client::{self, Client, Refused},
        server::{self, Server, Snapshot},
    },
    v1::{self, control_message},
};

const PROXIES: usize = 3;
const TENANTS: u64 = 5;

/// This tenant's odd revisions cannot be applied.
const POISONED: u64 = 0;

#[derive(Debug, Clone)]
enum Event {
    Write(u64),
    Drop(u64),
    /// One replica learns of what is stored (by Changed or by a whole list).
    Notice(usize, bool),
    /// The oldest message of a direction arrives.
    ToProxy(usize),
    ToControl(usize),
    /// The oldest pending load or apply is answered.
    Load(usize),
    Apply(usize),
    Cut(usize),
    RestartProxy(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let proxy = 0..PROXIES;
    prop::collection::vec(
        prop_oneof![
            4 => (0..TENANTS).prop_map(Event::Write),
            1 => (0..TENANTS).prop_map(Event::Drop),
            4 => (proxy.clone(), any::<bool>()).prop_map(|(n, whole)| Event::Notice(n, whole)),
            12 => proxy.clone().prop_map(Event::ToProxy),
            12 => proxy.clone().prop_map(Event::ToControl),
            8 => proxy.clone().prop_map(Event::Load),
            8 => proxy.clone().prop_map(Event::Apply),
            1 => proxy.clone().prop_map(Event::Cut),
            1 => proxy.prop_map(Event::RestartProxy),
            3 => (1..4_000u64).prop_map(Event::Pass),
        ],
        0..300,
    )
}

struct Line {
    client: Client,
    server: Option<Server>,
    to_proxy: VecDeque<v1::ControlMessage>,
    to_control: VecDeque<v1::ProxyMessage>,
    loading: VecDeque<server::Load>,
    applying: VecDeque<client::Output>,
    /// What this replica was last told of.
    noticed: BTreeMap<TenantId, Version>,
    /// What the proxy enforces, kept by its driver.
    enforced: BTreeMap<TenantId, Version>,
    ready: bool,
}

struct World {
    stage: Stage,
    source: BTreeMap<TenantId, u64>,
    /// Revisions go on after a drop: ids are never used again, but a tenant may leave a pool and come back.
    last_rev: BTreeMap<TenantId, u64>,
    lines: Vec<Line>,
}

impl Line {
    fn new() -> Self {
        Self {
            client: Client::new([1; 16], "test".to_owned(), BTreeMap::new()),
            server: None,
            to_proxy: VecDeque::new(),
            to_control: VecDeque::new(),
            loading: VecDeque::new(),
            applying: VecDeque::new(),
            noticed: BTreeMap::new(),
            enforced: BTreeMap::new(),
            ready: false,
        }
    }

    fn cut(&mut self) {
        self.server = None;
        self.to_proxy.clear();
        self.to_control.clear();
        self.loading.clear();
    }

    fn tell_client(&mut self, stage: &Stage, source: &BTreeMap<TenantId, u64>, input: client::Input) {
        let mut out = Vec::new();
        self.client.handle(stage.context(), input, &mut out);
        for output in out {
            match output {
                client::Output::Connect => {
                    self.cut();
                    self.server = Some(Server::new("replica".to_owned(), stage.context()));
                    self.noticed =
                        source.iter().map(|(tenant, rev)| (*tenant, stored(*tenant, *rev))).collect();
                    let list = self.noticed.iter().map(|(tenant, version)| (*tenant, *version)).collect();
                    self.tell_server(stage, server::Input::Sources(list));
                    self.tell_client(stage, source, client::Input::Connected);
                }
                client::Output::Send(message) => self.to_control.push_back(message),
                client::Output::Apply(..) | client::Output::Amend(..) | client::Output::Remove(_) => {
                    self.applying.push_back(output);
                }
                client::Output::Told(_) | client::Output::Learn(_) => {}
                client::Output::Ready => {
                    self.ready = true;
                    assert!(self.applying.is_empty(), "ready before everything was applied");
                }
                client::Output::Hangup(_) => self.cut(),
            }
        }
    }

    fn tell_server(&mut self, stage: &Stage, input: server::Input) {
        let Some(server) = &mut self.server else { return };
        let mut out = Vec::new();
        server.handle(stage.context(), input, &mut out);
        for output in out {
            match output {
                server::Output::Send(message) => self.to_proxy.push_back(message),
                server::Output::Load(load) => self.loading.push_back(load),
                server::Output::FullSync => {
                    self.tell_server(stage, server::Input::FullSync(server::Turn::Now))
                }
                server::Output::Close(reason) => {
                    assert!(
                        matches!(reason, server::CloseReason::Silent | server::CloseReason::Aged),
                        "closed: {reason:?}"
                    );
                    self.server = None;
                }
                server::Output::Heard
                | server::Output::Claimed(..)
                | server::Output::Applied(..)
                | server::Output::Misfit { .. }
                | server::Output::Synced
                | server::Output::Rejected { .. } => {}
                server::Output::Repaired(tenant) => panic!("{tenant} came apart"),
            }
        }
        assert!(self.loading.len() <= server::WINDOW);
        assert!(self.to_proxy.len() <= server::QUEUE);
        let mut unacknowledged = BTreeMap::new();
        for message in &self.to_proxy {
            let tenant = match &message.body {
                Some(Body::Replace(replace)) => &replace.tenant_id,
                Some(Body::Delta(delta)) => &delta.tenant_id,
                _ => continue,
            };
            let count = unacknowledged.entry(tenant.clone()).or_insert(0);
            *count += 1;
            assert_eq!(*count, 1, "two changes of one tenant under way");
        }
    }

    fn load(&mut self, stage: &Stage, source: &BTreeMap<TenantId, u64>) {
        let Some(server::Load { tenant, from, .. }) = self.loading.pop_front() else { return };
        let input = match (source.get(&tenant), from) {
            (Some(rev), Some(from)) if from.rev < *rev => {
                let delta =
                    server::Delta::new(from, stored(tenant, *rev), v1::Changes::default(), Vec::new());
                server::Input::LoadedDelta(tenant, delta)
            }
            (Some(rev), _) => {
                server::Input::Loaded(tenant, Snapshot::new(stored(tenant, *rev), Bytes::new(), Vec::new()))
            }
            (None, _) => server::Input::NotLoaded(tenant, server::LoadFailure::Broken),
        };
        self.tell_server(stage, input);
    }

    fn apply(&mut self, stage: &Stage, source: &BTreeMap<TenantId, u64>) {
        let input = match self.applying.pop_front() {
            None => return,
            Some(client::Output::Remove(ticket)) => {
                self.enforced.remove(&ticket.tenant);
                client::Input::Removed(ticket)
            }
            Some(client::Output::Apply(ticket, replace)) => self.enforce(ticket, replace.rev),
            // This proxy's memory of what it enforces fails it now and then.
            Some(client::Output::Amend(ticket, delta)) if (delta.rev + delta.nonce) % 5 == 0 => {
                client::Input::Misfit(ticket, "base is missing".to_owned())
            }
            Some(client::Output::Amend(ticket, delta)) => {
                let at = self.enforced.get(&ticket.tenant).map(|at| at.rev);
                assert_eq!(at, Some(delta.from_rev), "changes of another revision");
                self.enforce(ticket, delta.rev)
            }
            Some(other) => panic!("{other:?}"),
        };
        self.tell_client(stage, source, input);
    }

    fn enforce(&mut self, ticket: client::Ticket, rev: u64) -> client::Input {
        let tenant = ticket.tenant;
        if tenant == super::tenant(POISONED) && rev % 2 == 1 {
            let refused = Refused { code: ErrorCode::SnapshotInvalid, detail: String::new() };
            return client::Input::Rejected(ticket, refused);
        }
        let version = stored(tenant, rev);
        let before = self.enforced.insert(tenant, version);
        assert!(before.is_none_or(|before| before.rev <= version.rev), "a revision went back");
        client::Input::Applied(ticket, version)
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            stage: Stage::new(seed),
            source: BTreeMap::new(),
            last_rev: BTreeMap::new(),
            lines: (0..PROXIES).map(|_| Line::new()).collect(),
        }
    }

    fn notice(&mut self, line: usize, whole: bool) {
        let line = &mut self.lines[line];
        let list: BTreeMap<_, _> =
            self.source.iter().map(|(tenant, rev)| (*tenant, stored(*tenant, *rev))).collect();
        let before = std::mem::replace(&mut line.noticed, list.clone());
        if whole {
            return line.tell_server(&self.stage, server::Input::Sources(list.into_iter().collect()));
        }
        for tenant in before.keys().filter(|tenant| !list.contains_key(tenant)) {
            line.tell_server(&self.stage, server::Input::Vanished(*tenant));
        }
        for (tenant, version) in list {
            if before.get(&tenant) != Some(&version) {
                line.tell_server(&self.stage, server::Input::Changed(tenant, version));
            }
        }
    }

    fn step(&mut self, event: &Event) {
        match *event {
            Event::Write(n) => {
                let rev = self.last_rev.entry(tenant(n)).or_insert(0);
                *rev += 1;
                self.source.insert(tenant(n), *rev);
            }
            Event::Drop(n) => {
                self.source.remove(&tenant(n));
            }
            Event::Notice(line, whole) => self.notice(line, whole),
            Event::ToProxy(line) => self.deliver_to_proxy(line),
            Event::ToControl(line) => self.deliver_to_control(line),
            Event::Load(line) => self.lines[line].load(&self.stage, &self.source),
            Event::Apply(line) => self.lines[line].apply(&self.stage, &self.source),
            Event::Cut(line) => {
                let line = &mut self.lines[line];
                line.cut();
                line.tell_client(&self.stage, &self.source, client::Input::Disconnected);
            }
            Event::RestartProxy(line) => self.lines[line] = Line::new(),
            Event::Pass(millis) => {
                self.stage.pass(Duration::from_millis(millis));
                for line in &mut self.lines {
                    line.tell_client(&self.stage, &self.source, client::Input::Tick);
                    line.tell_server(&self.stage, server::Input::Tick);
                }
            }
        }
    }

    fn deliver_to_proxy(&mut self, line: usize) {
        let line = &mut self.lines[line];
        if let Some(message) = line.to_proxy.pop_front() {
            line.tell_client(&self.stage, &self.source, client::Input::Received(message));
        }
    }

    fn deliver_to_control(&mut self, line: usize) {
        let line = &mut self.lines[line];
        if let Some(message) = line.to_control.pop_front() {
            line.tell_server(&self.stage, server::Input::Received(message));
        }
    }

    /// No more writes and no more faults: everything that can happen happens.
    fn settle(&mut self) {
        for round in 0..200 {
            for line in 0..PROXIES {
                self.notice(line, round % 2 == 0);
                for _ in 0..40 {
                    self.deliver_to_proxy(line);
                    self.deliver_to_control(line);
                    self.lines[line].load(&self.stage, &self.source);
                    self.lines[line].apply(&self.stage, &self.source);
                }
            }
            self.step(&Event::Pass(900));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_converge(seed in any::<u64>(), events in events()) {
        let mut world = World::new(seed);
        for event in &events {
            world.step(event);
        }
        world.settle();
        for line in &world.lines {
            prop_assert!(line.ready);
            prop_assert_eq!(line.client.at(), &line.enforced);
            let at = |tenant: &TenantId| line.enforced.get(tenant).copied();
            for (tenant, rev) in &world.source {
                if *tenant == super::tenant(POISONED) && rev % 2 == 1 {
                    prop_assert!(at(tenant).is_none_or(|at| at.rev < *rev && at.rev % 2 == 0));
                } else {
                    prop_assert_eq!(at(tenant), Some(stored(*tenant, *rev)));
                }
            }
            prop_assert!(line.enforced.keys().all(|tenant| world.source.contains_key(tenant)));
        }
    }
}
