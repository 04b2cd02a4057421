//! What the tests of the checks share: a tenant in memory, and evidence made by the checks themselves.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, request::Builder};
use http_body_util::Full;
use limits::Rate;
use seams::{ManualClock, Monotonic, SeededEntropy, Timestamp};
use wire::v1::{self, resource::Body};

use crate::{
    app::Shared,
    audit::testing::Log,
    checks::{
        Counted, EndpointEvidence, Exchange, Principal, Proofs, ReadBody, Tokens, address_limit,
        authenticate, edge, endpoint, endpoint::Hosts,
    },
    config::Bounds,
    drain::Drain,
    kills::Kills,
    limiter::Limiter,
    ready::Readiness,
    snapshot::{
        index::TenantIndex,
        samples::Sample,
        store::{Fleet, Snapshots},
    },
    upstream::{Watched, testing::Scripted},
};

pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
pub(crate) const HOST: &str = "gw.example.com";
/// The sample tenant's endpoint.
pub(crate) const PATH: &str = "/tenant-1/tools/mcp";
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A tenant with one endpoint, upstream, client, key and tool (`add`), in force.
pub(crate) struct World {
    pub(crate) sample: Sample,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With every resource as `change` leaves it.
    pub(crate) fn with(change: impl FnMut(&mut Body)) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        clock.advance(Duration::from_secs(60));
        let mut sample = Sample::new(1);
        sample.edit(change);
        let world = Self { sample, snapshots: Arc::new(Snapshots::new(clock.clone())), clock };
        world.apply();
        world
    }

    fn apply(&self) {
        self.snapshots.apply(&self.sample.replace()).expect("a valid snapshot");
    }

    /// Puts another revision in force.
    pub(crate) fn edit(&mut self, change: impl FnMut(&mut Body)) {
        self.sample.edit(change);
        self.sample.snapshot.rev += 1;
        self.apply();
    }

    /// Adds a resource, and puts the revision with it in force.
    pub(crate) fn add(&mut self, resources: impl IntoIterator<Item = (String, Body)>) {
        let added = resources.into_iter().map(|(id, body)| v1::Resource { id, body: Some(body) });
        self.sample.snapshot.resources.extend(added);
        self.sample.snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
        self.sample.snapshot.rev += 1;
        self.apply();
    }

    /// Adds a limit of the tenant or of every client.
    pub(crate) fn limit(&mut self, subject: v1::LimitSubject, per_minute: u32, burst: u32) {
        let id = ids::LimitId::from_parts(1, [9; 10]);
        let limit = v1::Limit {
            id: id.uuid().as_bytes().to_vec(),
            subject: subject.into(),
            per_minute,
            burst,
            ..Default::default()
        };
        self.add([(id.to_string(), Body::Limit(limit))]);
    }

    pub(crate) fn upstream(&self) -> ids::UpstreamId {
        *self.tenant().upstreams.keys().next().expect("the upstream")
    }

    pub(crate) fn client(&self) -> ids::ClientId {
        *self.tenant().clients.keys().next().expect("the client")
    }

    /// Gives the sample's client one more thing that is not a tool.
    pub(crate) fn grant(&mut self, effect: policy::Effect, action: policy::GrantedAction) {
        self.grant_with(None, effect, action);
    }

    /// The same, with a scope.
    pub(crate) fn grant_with(
        &mut self,
        scope: Option<&str>,
        effect: policy::Effect,
        action: policy::GrantedAction,
    ) {
        self.grant_to(policy::Subject::Client(self.client()), scope, effect, action);
    }

    /// The same, to anybody.
    pub(crate) fn grant_to(
        &mut self,
        subject: policy::Subject,
        scope: Option<&str>,
        effect: policy::Effect,
        action: policy::GrantedAction,
    ) {
        let number = u8::try_from(self.sample.snapshot.rev).expect("few revisions");
        let upstream = self.upstream();
        let wire_action = match action.action() {
            policy::Action::CallTool => panic!("tools have slices of their own"),
            policy::Action::GetPrompt => v1::GrantedAction::GetPrompt,
            policy::Action::ReadResource => v1::GrantedAction::ReadResource,
            policy::Action::Complete => v1::GrantedAction::Complete,
            policy::Action::Subscribe => v1::GrantedAction::Subscribe,
            policy::Action::UseTasks => v1::GrantedAction::UseTasks,
        };
        let compiled = policy::compile_grant(&policy::GrantSpec {
            id: ids::GrantId::from_parts(1, [number; 10]),
            subject,
            effect,
            scope: scope.map(|scope| scope.parse().expect("a scope")),
            actions: vec![action],
        })
        .expect("a grant");
        self.sample.edit(|body| {
            if let Body::Methods(methods) = body {
                let subject_id = subject.uuid().as_bytes().to_vec();
                let same = |slice: &&mut v1::MethodSlice| slice.action() == wire_action;
                if let Some(slice) = methods.slices.iter_mut().find(same) {
                    let own = |of: &&mut v1::Slice| of.subject_id == subject_id;
                    if let Some(own) = slice.slices.iter_mut().find(own) {
                        own.policies.push(compiled.id.clone());
                        own.policies.sort();
                    } else {
                        slice.slices.push(v1::Slice { subject_id, policies: vec![compiled.id.clone()] });
                        slice.slices.sort_by(|a, b| a.subject_id.cmp(&b.subject_id));
                    }
                } else {
                    methods.slices.push(v1::MethodSlice {
                        action: wire_action.into(),
                        upstream_id: upstream.uuid().as_bytes().to_vec(),
                        slices: vec![v1::Slice { subject_id, policies: vec![compiled.id.clone()] }],
                    });
                    methods.slices.sort_by_key(|slice| slice.action);
                }
            }
        });
        self.add([(compiled.id.clone(), Body::Policy(v1::Policy { id: compiled.id, text: compiled.text }))]);
    }

    pub(crate) fn fleet(&self) -> Arc<Fleet> {
        self.snapshots.load()
    }

    pub(crate) fn tenant(&self) -> Arc<TenantIndex> {
        self.fleet().tenant(self.sample.tenant).expect("the tenant").clone()
    }

    /// Row 2's evidence.
    pub(crate) fn place(&self) -> EndpointEvidence {
        let exchange = exchange(Request::post(PATH));
        endpoint::check(&exchange, &self.fleet(), &Hosts::new([HOST], false)).expect("the endpoint")
    }

    /// Row 6's evidence.
    pub(crate) fn principal(&self) -> Principal {
        let exchange = exchange(self.authorized(Request::post(PATH)));
        let known =
            authenticate::Known { tokens: &Tokens::default(), proofs: &Proofs::default(), shown: None };
        authenticate::check(&exchange, &self.place(), &counted(&addresses()), known, NOW).expect("the client")
    }

    /// With the sample's key.
    pub(crate) fn authorized(&self, request: Builder) -> Builder {
        request.header("authorization", format!("Bearer {}", self.sample.key_text))
    }
}

/// Row 1's evidence, as the request is.
pub(crate) fn raw_exchange(request: Builder) -> Exchange {
    let head = request.body(()).expect("a request").into_parts().0;
    edge::check(head, ADDRESS, &Bounds::default()).expect("within bounds")
}

/// Row 1's evidence of a request that names the gateway.
pub(crate) fn exchange(request: Builder) -> Exchange {
    raw_exchange(request.header("host", HOST))
}

/// A body as row 7 reads it.
pub(crate) async fn body(text: &str) -> ReadBody {
    edge::read(
        Full::new(Bytes::copy_from_slice(text.as_bytes())),
        1 << 20,
        &Arc::default(),
        &Bounds::default(),
    )
    .await
    .expect("within bounds")
}

pub(crate) fn addresses() -> address_limit::Addresses {
    address_limit::Addresses::new(Rate { per_minute: 60, burst: 60 }, [1, 2, 3, 4])
}

/// Row 5's evidence.
pub(crate) fn counted(addresses: &address_limit::Addresses) -> Counted<'_> {
    let exchange = exchange(Request::post(PATH));
    address_limit::check(addresses, None, &exchange, Monotonic::from_nanos(0)).expect("not limited")
}

/// The tool of a body, for [`World::with`].
pub(crate) fn tool(body: &mut Body) -> Option<&mut v1::Tool> {
    match body {
        Body::Tool(tool) => Some(tool),
        _ => None,
    }
}

/// The endpoint of a body.
pub(crate) fn endpoint_of(body: &mut Body) -> Option<&mut v1::Endpoint> {
    match body {
        Body::Endpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

/// Nothing is killed; what will be is kept beside the log's records, and goes with them.
pub(crate) fn kills(log: &Log) -> Kills {
    Kills::load(log.dir().join("kills"), None, Arc::new(ManualClock::at(NOW)))
}

/// What the workers of a proxy share, ready, over this world and log. An address may fail three times.
pub(crate) fn shared(world: &World, log: &Log) -> Shared {
    let ready = Arc::new(Readiness::new(world.clock.clone(), crate::config::MAX_STALE));
    ready.set();
    Shared {
        clock: world.clock.clone(),
        entropy: Arc::new(SeededEntropy::new(11)),
        snapshots: Arc::clone(&world.snapshots),
        kills: Arc::new(kills(log)),
        watched: Watched::new().0,
        recorder: log.recorder.clone(),
        addresses: address_limit::Addresses::new(Rate { per_minute: 60, burst: 3 }, [1, 2, 3, 4]),
        hosts: Hosts::new([HOST], false),
        bounds: Bounds::default(),
        tls: None,
        front: None,
        drain: Arc::new(Drain::new()),
        ready,
        trace_calls: true,
        resolver: Scripted::new(&[&["127.0.0.1"]]),
        redis: None,
        limiter: Arc::new(Limiter::alone()),
        proofs: Proofs::default(),
        tallies: Arc::default(),
    }
}
