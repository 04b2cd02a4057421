//! Definitions between the two machines: what goes over one stream, and what comes out at the other end.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use control_message::Body;
use ids::{ToolId, UpstreamId};
use prost::Message as _;

use super::*;
use crate::{
    snapshot::{
        MAX_BYTES, MAX_DEFINITION,
        definitions::{Address, address, restore, restore_changed},
        delta,
        delta::Misfit,
    },
    stream::{
        client::{self, Client, HangupReason},
        server::{self, CloseReason, Server, Snapshot},
    },
    v1::{self, control_message, proxy_message, resource},
};

/// Both machines with nothing between them, and a proxy that keeps what it learns.
struct Pair {
    stage: Stage,
    client: Client,
    server: Server,
    /// All that the control plane said, in order.
    said: Vec<Body>,
    held: HashMap<Address, Bytes>,
    /// What arrived whole in the end.
    applied: BTreeMap<TenantId, Bytes>,
    misfits: usize,
    stored: BTreeMap<TenantId, (Version, Bytes)>,
    /// What is stored of the way to it.
    steps: BTreeMap<TenantId, (Version, v1::Changes)>,
}

impl Pair {
    fn new(protocol: u32, told: &[&str]) -> Self {
        let stage = Stage::new(3);
        let client = Client::new([1; 16], "test".to_owned(), BTreeMap::new()).with_protocol(protocol);
        let server = Server::new("here".to_owned(), stage.context());
        let held = told.iter().map(|text| (address(&definition(text)), definition(text))).collect();
        let mut pair = Self {
            stage,
            client,
            server,
            said: Vec::new(),
            held,
            applied: BTreeMap::new(),
            misfits: 0,
            stored: BTreeMap::new(),
            steps: BTreeMap::new(),
        };
        pair.tell_server(server::Input::Sources(Vec::new()));
        pair.tell_client(client::Input::Tick);
        pair
    }

    fn tell_client(&mut self, input: client::Input) {
        let mut out = Vec::new();
        self.client.handle(self.stage.context(), input, &mut out);
        for output in out {
            match output {
                client::Output::Connect => self.tell_client(client::Input::Connected),
                client::Output::Send(mut message) => {
                    if let Some(proxy_message::Body::Hello(hello)) = &mut message.body {
                        hello.definitions =
                            self.held.keys().flat_map(|address| address[..ADDRESS_SHOWN].to_vec()).collect();
                    }
                    self.tell_server(server::Input::Received(message));
                }
                client::Output::Learn(new) => {
                    self.held.extend(new.definitions.into_iter().map(|bytes| (address(&bytes), bytes)));
                }
                client::Output::Apply(ticket, replace) => {
                    let whole =
                        restore(&replace.snapshot, &replace.cuts, |address| self.held.get(address).cloned());
                    self.ended(ticket, whole, replace.rev, &replace.digest);
                }
                client::Output::Amend(ticket, change) => {
                    let get = |address: &Address| self.held.get(address).cloned();
                    let changes = restore_changed(change.changes.as_ref().unwrap(), &change.cuts, get);
                    let base = &self.applied[&ticket.tenant];
                    let whole =
                        changes.map(|changes| delta::apply(base, &changes, change.rev).unwrap().into());
                    self.ended(ticket, whole, change.rev, &change.digest);
                }
                client::Output::Remove(_) => panic!("nothing is removed"),
                client::Output::Hangup(reason) => panic!("{reason:?}"),
                client::Output::Ready | client::Output::Told(_) => {}
            }
        }
    }

    fn ended(&mut self, ticket: client::Ticket, whole: Result<Bytes, Misfit>, rev: u64, digest: &[u8]) {
        let input = match whole {
            Ok(whole) => {
                self.applied.insert(ticket.tenant, whole);
                client::Input::Applied(ticket, version(rev, digest).unwrap())
            }
            Err(misfit) => {
                self.misfits += 1;
                client::Input::Misfit(ticket, misfit.to_string())
            }
        };
        self.tell_client(input);
    }

    fn tell_server(&mut self, input: server::Input) {
        let mut out = Vec::new();
        self.server.handle(self.stage.context(), input, &mut out);
        for output in out {
            match output {
                server::Output::Send(message) => {
                    self.said.extend(message.body.clone());
                    self.tell_client(client::Input::Received(message));
                }
                server::Output::Load(load) => {
                    let (version, bytes) = self.stored[&load.tenant].clone();
                    let input = match self.steps.get(&load.tenant) {
                        Some((from, changes)) if load.from == Some(*from) => {
                            let changes = server::Delta::new(*from, version, changes.clone(), Vec::new());
                            server::Input::LoadedDelta(load.tenant, changes)
                        }
                        _ => server::Input::Loaded(load.tenant, Snapshot::new(version, bytes, Vec::new())),
                    };
                    self.tell_server(input);
                }
                server::Output::Close(reason) => panic!("{reason:?}"),
                _ => {}
            }
        }
    }

    /// `tenant` has tools with these definitions from now on; what changed is stored where it has been asked for.
    fn publish(&mut self, tenant: TenantId, texts: &[&str], step: bool) {
        let former = self.stored.get(&tenant).cloned();
        let rev = former.as_ref().map_or(0, |(version, _)| version.rev) + 1;
        let bytes = snapshot(tenant, rev, texts);
        let version = Version { rev, digest: delta::digest(&bytes).unwrap() };
        let changes = former.filter(|_| step).map(|(from, old)| (from, delta::diff(&old, &bytes).unwrap()));
        match changes {
            Some(changes) => drop(self.steps.insert(tenant, changes)),
            None => drop(self.steps.remove(&tenant)),
        }
        self.stored.insert(tenant, (version, bytes));
        self.said.clear();
        self.tell_server(server::Input::Changed(tenant, version));
        assert_eq!(
            self.applied[&tenant], self.stored[&tenant].1,
            "what is enforced is what is stored, byte for byte"
        );
        assert_eq!(self.client.at()[&tenant], version);
    }

    /// How often a definition lies in what was said since the last publication.
    fn times(&self, text: &str) -> usize {
        let encoded =
            self.said.iter().map(|body| v1::ControlMessage { body: Some(body.clone()) }.encode_to_vec());
        let all = encoded.collect::<Vec<_>>().concat();
        all.windows(definition(text).len()).filter(|window| **window == *definition(text)).count()
    }
}

fn definition(text: &str) -> Bytes {
    text.repeat(100).into()
}

fn snapshot(tenant: TenantId, rev: u64, texts: &[&str]) -> Bytes {
    let tool = |(n, text): (u8, &&str)| {
        let id = ToolId::from_parts(1, [n; 10]);
        let tool = v1::Tool {
            id: id.uuid().as_bytes().to_vec(),
            upstream_id: UpstreamId::from_parts(1, [1; 10]).uuid().as_bytes().to_vec(),
            name: format!("tool {n}"),
            digest: vec![n; 32],
            definition: definition(text),
            cost: 1,
            ..Default::default()
        };
        v1::Resource { id: id.to_string(), body: Some(resource::Body::Tool(tool)) }
    };
    let resources = (0..).zip(texts).map(tool).collect();
    let tenant_id = tenant.uuid().as_bytes().to_vec();
    crate::snapshot::encode(&v1::TenantSnapshot { schema: 1, tenant_id, rev, resources }).into()
}

#[test]
fn a_definition_goes_over_a_stream_once_whoever_has_it() {
    let (a, b) = (tenant(1), tenant(2));
    let mut pair = Pair::new(PROTOCOL, &[]);
    // Twice in one tenant.
    pair.publish(a, &["one", "two", "one"], false);
    assert_eq!((pair.times("one"), pair.times("two")), (1, 1));
    // Of another tenant, with one that is new.
    pair.publish(b, &["two", "six", "one"], false);
    assert_eq!((pair.times("one"), pair.times("two"), pair.times("six")), (0, 0, 1));
    // Again, whole and as a change.
    pair.publish(b, &["one", "two"], false);
    assert!(matches!(pair.said[..], [Body::Replace(_)]), "{:?}", pair.said);
    pair.publish(b, &["six", "two", "ten", "ten"], true);
    assert!(matches!(pair.said[..], [Body::Definitions(_), Body::Delta(_)]), "{:?}", pair.said);
    assert_eq!((pair.times("one"), pair.times("six"), pair.times("ten")), (0, 0, 1));
    assert_eq!(pair.misfits, 0);
}

#[test]
fn what_the_proxy_says_that_it_holds_is_not_sent() {
    let mut pair = Pair::new(PROTOCOL, &["one", "two"]);
    pair.publish(tenant(1), &["one", "six", "two"], false);
    assert_eq!((pair.times("one"), pair.times("two"), pair.times("six")), (0, 0, 1));
}

#[test]
fn what_is_not_held_after_all_costs_its_tenant_one_whole_snapshot() {
    let (a, b) = (tenant(1), tenant(2));
    let mut pair = Pair::new(PROTOCOL, &[]);
    pair.publish(a, &["one", "two"], false);
    for step in [false, true] {
        pair.held.clear();
        let before = pair.misfits;
        pair.publish(b, &["one", "six"], false);
        assert_eq!(pair.misfits, before + 1);
        let cut_out = |body: &Body| matches!(body, Body::Replace(replace) if !replace.cuts.is_empty());
        let whole = |body: &Body| matches!(body, Body::Replace(replace) if replace.cuts.is_empty());
        assert!(cut_out(&pair.said[usize::from(!step)]), "{step}: {:?}", pair.said);
        assert!(whole(pair.said.last().unwrap()), "{:?}", pair.said);
        assert_eq!((pair.times("one"), pair.times("two")), (1, 0));
        // A proxy keeps what it applies.
        pair.held.extend(["one", "six"].map(|text| (address(&definition(text)), definition(text))));
        pair.publish(b, &["six", "one"], step);
        assert_eq!((pair.misfits, pair.times("one"), pair.times("six")), (before + 1, 0, 0));
    }
    // A change, too.
    pair.held.clear();
    let before = pair.misfits;
    pair.publish(b, &["two", "one"], true);
    assert_eq!((pair.misfits, pair.times("two")), (before + 1, 1));
}

#[test]
fn a_proxy_of_an_earlier_build_is_given_what_it_knows() {
    for protocol in 0..KEEPS_DEFINITIONS {
        let mut pair = Pair::new(protocol, &["two"]);
        for n in 1..4 {
            pair.publish(tenant(n), &["one", "one", "two"], false);
            assert!(matches!(&pair.said[..], [Body::Replace(replace)] if replace.cuts.is_empty()));
            assert_eq!((pair.times("one"), pair.times("two")), (2, 1));
        }
    }
}

#[test]
fn nothing_that_no_snapshot_has_is_taken() {
    let large =
        |length: usize, count: usize| v1::Definitions { definitions: vec![vec![b'a'; length].into(); count] };
    let most = MAX_BYTES / MAX_DEFINITION;
    for (new, is_taken) in [
        (large(MAX_DEFINITION, most), true),
        (large(MAX_DEFINITION, most + 1), false),
        (large(MAX_DEFINITION + 1, 1), false),
    ] {
        let stage = Stage::new(3);
        let mut client = Client::new([1; 16], "test".to_owned(), BTreeMap::new());
        let mut step = |input| {
            let mut out = Vec::new();
            client.handle(stage.context(), input, &mut out);
            out
        };
        let mut receive = |body| step(client::Input::Received(v1::ControlMessage { body: Some(body) }));
        // Not before there is a stream.
        assert!(receive(Body::Definitions(large(1, 1))).is_empty());
        step(client::Input::Tick);
        step(client::Input::Connected);
        let mut receive = |body| step(client::Input::Received(v1::ControlMessage { body: Some(body) }));
        receive(Body::Welcome(v1::Welcome::default()));
        let out = receive(Body::Definitions(new));
        let taken = matches!(out[..], [client::Output::Learn(_)]);
        let refused = matches!(out[..], [client::Output::Hangup(HangupReason::ProtocolViolation)]);
        assert_eq!((taken, refused), (is_taken, !is_taken), "{out:?}");
    }
}

#[test]
fn a_whole_snapshot_has_nothing_to_miss() {
    let a = tenant(1);
    let mut server = Server::new("here".to_owned(), Stage::new(3).context());
    let stage = Stage::new(3);
    let mut step = |input| {
        let mut out = Vec::new();
        server.handle(stage.context(), input, &mut out);
        out
    };
    let stored = stored(a, 1);
    step(server::Input::Sources(vec![(a, stored)]));
    let hello = v1::Hello {
        boot: vec![1; 16],
        schema_min: 1,
        schema_max: 1,
        protocol: PROTOCOL,
        ..Default::default()
    };
    let said = |body| server::Input::Received(v1::ProxyMessage { body: Some(body) });
    step(said(proxy_message::Body::Hello(hello)));
    step(server::Input::Loaded(a, Snapshot::new(stored, snapshot(a, 1, &[]), Vec::new())));
    let need = v1::Need { nonce: 1, tenant_id: a.uuid().as_bytes().to_vec(), detail: String::new() };
    let out = step(said(proxy_message::Body::Need(need)));
    assert!(matches!(out[..], [server::Output::Close(CloseReason::ProtocolViolation)]), "{out:?}");
}
