use policy::{Effect, GrantedAction, Held, NameSelector};
use seams::Clock as _;
use tokio::task::{JoinHandle, LocalSet};
use wire::v1::resource::Body;

use super::*;
use crate::{
    audit::testing::Log,
    checks::session,
    snapshot::samples::Sample,
    testing::{self, World},
};

struct Watch {
    worker: Rc<Worker>,
    world: World,
    _log: Log,
}

impl Watch {
    fn new(world: World) -> Self {
        let log = Log::new();
        let worker = Rc::new(Worker::new(Arc::new(testing::shared(&world, &log))));
        tokio::task::spawn_local(follow(Rc::clone(&worker)));
        Self { worker, world, _log: log }
    }

    fn cut(&self, grounds: Grounds, keeps_open: bool) -> Cut {
        let place = self.world.place();
        let standing = Standing {
            tenant: Arc::clone(place.tenant()),
            endpoint: Arc::clone(place.endpoint()),
            upstream: session::attachment(&place).unwrap().upstream.id,
            principal: self.world.principal(),
            address: testing::ADDRESS,
            grounds,
            keeps_open,
        };
        Cut::new(Rc::clone(&self.worker), standing)
    }

    fn tool(&self) -> Grounds {
        let tenant = self.world.tenant();
        Grounds::Tool(Arc::clone(tenant.upstreams.values().next().unwrap().tools.values().next().unwrap()))
    }

    /// Watches on a task of its own; the first poll has happened when this returns.
    async fn watched(&self, grounds: Grounds, keeps_open: bool) -> JoinHandle<ErrorCode> {
        let watching = tokio::task::spawn_local(self.cut(grounds, keeps_open));
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        watching
    }
}

async fn goes_on(watching: &mut JoinHandle<ErrorCode>) -> bool {
    tokio::time::timeout(Duration::from_millis(50), watching).await.is_err()
}

async fn local(case: impl Future<Output = ()>) {
    LocalSet::new().run_until(case).await;
}

#[tokio::test]
async fn a_change_that_allows_it_still_cuts_nothing() {
    local(async {
        let mut watch = Watch::new(World::new());
        let mut watching = watch.watched(watch.tool(), false).await;
        watch.world.edit(|body| {
            if let Some(endpoint) = testing::endpoint_of(body) {
                endpoint.origins = vec!["https://app.example.com".to_owned()];
            }
        });
        assert!(goes_on(&mut watching).await);
    })
    .await;
}

#[tokio::test]
async fn what_the_new_configuration_refuses_is_cut_with_its_reason() {
    local(async {
        type Change = fn(&mut Body);
        let cases: [(Change, ErrorCode); 8] = [
            (
                |body| {
                    if let Body::Client(client) = body {
                        client.enabled = false;
                    }
                },
                ErrorCode::CredentialInvalid,
            ),
            (
                |body| {
                    if let Body::Client(client) = body {
                        client.endpoint_ids.clear();
                    }
                },
                ErrorCode::ClientNotAllowed,
            ),
            (
                |body| {
                    if let Some(endpoint) = testing::endpoint_of(body) {
                        endpoint.enabled = false;
                    }
                },
                ErrorCode::EndpointNotFound,
            ),
            (
                |body| {
                    if let Some(tool) = testing::tool(body) {
                        tool.slices.clear();
                    }
                },
                ErrorCode::ToolNotGranted,
            ),
            (
                |body| {
                    if let Body::Upstream(upstream) = body {
                        upstream.enabled = false;
                    }
                },
                ErrorCode::NoUpstream,
            ),
            (
                |body| {
                    if let Some(endpoint) = testing::endpoint_of(body) {
                        endpoint.deny = vec!["198.51.100.0/24".to_owned()];
                    }
                },
                ErrorCode::AddressRefused,
            ),
            (
                |body| {
                    if let Some(tool) = testing::tool(body) {
                        tool.state = ToolState::Quarantined.into();
                    }
                },
                ErrorCode::ToolQuarantined,
            ),
            (
                |body| {
                    if let Some(tool) = testing::tool(body) {
                        tool.state = ToolState::Rejected.into();
                    }
                },
                ErrorCode::ToolNotApproved,
            ),
        ];
        for (change, code) in cases {
            let mut watch = Watch::new(World::new());
            let watching = watch.watched(watch.tool(), false).await;
            watch.world.edit(change);
            assert_eq!(watching.await.unwrap(), code);
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_and_a_removed_tenant_cut() {
    local(async {
        let mut watch = Watch::new(World::new());
        let watching = watch.watched(Grounds::Lifecycle, true).await;
        watch
            .world
            .sample
            .snapshot
            .resources
            .retain(|resource| !matches!(resource.body, Some(Body::ApiKey(_))));
        watch.world.edit(|_| {});
        assert_eq!(watching.await.unwrap(), ErrorCode::CredentialInvalid);

        let watch = Watch::new(World::new());
        let watching = watch.watched(Grounds::Lifecycle, true).await;
        watch.world.snapshots.remove(watch.world.sample.tenant);
        assert_eq!(watching.await.unwrap(), ErrorCode::EndpointNotFound);
    })
    .await;
}

#[tokio::test]
async fn a_change_between_admission_and_watching_is_not_missed() {
    local(async {
        let mut watch = Watch::new(World::new());
        let cut = watch.cut(Grounds::Lifecycle, true);
        watch.world.edit(|body| {
            if let Body::Client(client) = body {
                client.enabled = false;
            }
        });
        assert_eq!(cut.await, ErrorCode::CredentialInvalid);
    })
    .await;
}

#[tokio::test]
async fn a_grant_that_goes_takes_its_stream_along() {
    local(async {
        let mut watch = Watch::new(World::new());
        let upstream = watch.world.upstream();
        watch.world.grant(Effect::Permit, GrantedAction::GetPrompt { upstream, prompts: NameSelector::All });
        let watching = watch.watched(Grounds::Prompt("p".into()), false).await;
        watch.world.grant(Effect::Forbid, GrantedAction::GetPrompt { upstream, prompts: NameSelector::All });
        assert_eq!(watching.await.unwrap(), ErrorCode::PromptNotGranted);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_ends_ends_its_streams() {
    local(async {
        let ends_in = |seconds: u64| {
            move |body: &mut Body| {
                if let Body::ApiKey(key) = body {
                    key.not_after_micros = testing::NOW.micros() + seconds * 1_000_000;
                }
            }
        };
        let watch = Watch::new(World::with(ends_in(61)));
        let cut = watch.cut(Grounds::Lifecycle, true);
        watch.world.clock.advance(Duration::from_secs(2));
        assert_eq!(cut.await, ErrorCode::CredentialInvalid);

        // A deadline that comes with a rotation counts for what runs already.
        let mut watch = Watch::new(World::new());
        let watching = watch.watched(Grounds::Lifecycle, true).await;
        watch.world.edit(ends_in(60));
        assert_eq!(watching.await.unwrap(), ErrorCode::CredentialInvalid);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_no_longer_accepted_from_there_ends_its_streams() {
    local(async {
        let from = |network: &'static str| {
            move |body: &mut Body| {
                if let Body::ApiKey(key) = body {
                    key.allow = vec![network.to_owned()];
                }
            }
        };
        let mut watch = Watch::new(World::new());
        let mut watching = watch.watched(Grounds::Lifecycle, true).await;
        watch.world.edit(from("198.51.100.0/24"));
        assert!(goes_on(&mut watching).await);
        watch.world.edit(from("203.0.113.0/24"));
        assert_eq!(watching.await.unwrap(), ErrorCode::CredentialInvalid);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_another_tenant_wakes_nobody() {
    local(async {
        let watch = Watch::new(World::new());
        let watching = watch.watched(Grounds::Lifecycle, true).await;
        let group = watch.worker.watchers.group(watch.world.sample.tenant, watch.world.tenant().digest);
        let turn = group.turn.get();
        watch.world.snapshots.apply(&Sample::new(2).replace()).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(group.turn.get(), turn);
        watching.abort();
        assert!(watching.await.unwrap_err().is_cancelled());
        assert_eq!(group.places.borrow().free.len(), 1, "a call that ends leaves its place");
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_open_streams_first_and_calls_last() {
    local(async {
        let watch = Watch::new(World::new());
        let stream = watch.watched(Grounds::Lifecycle, true).await;
        let mut call = watch.watched(watch.tool(), false).await;
        let drain = &watch.worker.shared.drain;
        drain.enter(Phase::Draining);
        assert_eq!(stream.await.unwrap(), ErrorCode::Draining);
        assert!(goes_on(&mut call).await);
        drain.enter(Phase::Ending);
        assert_eq!(call.await.unwrap(), ErrorCode::Draining);
    })
    .await;
}

/// After a restore of the control plane's database a revision's number may come again, with other content.
#[tokio::test]
async fn the_same_revision_with_other_content_cuts_and_is_decided_anew() {
    local(async {
        let mut watch = Watch::new(World::new());
        let watching = watch.watched(watch.tool(), false).await;
        let (before, client) = (watch.world.tenant(), watch.world.principal());
        let tool = |tenant: &TenantIndex| {
            Arc::clone(tenant.upstreams.values().next().unwrap().tools.values().next().unwrap())
        };
        let decided = |tenant: &TenantIndex| {
            watch.worker.decisions.tool(tenant, client.who(), &tool(tenant)).with(Held::All).is_permit()
        };
        assert!(decided(&before));
        watch.world.sample.edit(|body| {
            if let Some(tool) = testing::tool(body) {
                tool.slices.clear();
            }
        });
        watch.world.snapshots.apply(&watch.world.sample.replace()).unwrap();
        let after = watch.world.tenant();
        assert_eq!(before.rev, after.rev);
        assert!(!decided(&after));
        assert_eq!(watching.await.unwrap(), ErrorCode::ToolNotGranted);
    })
    .await;
}

#[tokio::test]
async fn what_runs_for_a_tenant_that_wants_less_ends_sooner() {
    local(async {
        let mut watch = Watch::new(World::new());
        let mut watching = watch.watched(Grounds::Lifecycle, true).await;
        let (ready, clock) = (Arc::clone(&watch.worker.shared.ready), Arc::clone(&watch.world.clock));
        let age = |secs: u64| {
            ready.restore(Timestamp::from_secs(clock.now().secs() - secs), Duration::ZERO);
        };
        age(90);
        assert!(goes_on(&mut watching).await);
        watch.world.edit(|body| {
            if let Body::Tenant(tenant) = body {
                tenant.max_stale_seconds = 100;
            }
        });
        assert!(goes_on(&mut watching).await);
        age(101);
        assert_eq!(watching.await.unwrap(), ErrorCode::ConfigStale);
    })
    .await;
}
