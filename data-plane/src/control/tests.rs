use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use crypto::SecretString;
use futures_util::future::BoxFuture;
use seams::{Clock, Entropy, SystemClock, SystemEntropy};
use tokio::runtime::Handle;
use wire::v1::{self, resource::Body};

use super::{
    Config, Control, ControlError, Discoverer, Parts, ServerClock, enrol,
    identity::Identity,
    testing::{ControlPlane, Said},
};
use crate::{
    kills::Kills,
    ready::Readiness,
    snapshot::{
        archive::Archive,
        base::{Bases as _, InMemory},
        index::{TenantIndex, UpstreamIndex},
        samples::Sample,
        store::Snapshots,
    },
    tasks::Tasks,
};

const HOUR: Duration = Duration::from_secs(3600);

struct OneTool;

impl Discoverer for OneTool {
    fn discover(
        &self,
        tenant: Arc<TenantIndex>,
        upstream: Arc<UpstreamIndex>,
    ) -> BoxFuture<'_, v1::CatalogueReport> {
        Box::pin(async move {
            v1::CatalogueReport {
                tenant_id: tenant.id.uuid().as_bytes().to_vec(),
                upstream_id: upstream.id.uuid().as_bytes().to_vec(),
                complete: true,
                tools: vec![v1::ToolDefinition {
                    name: "add".to_owned(),
                    definition: Bytes::from_static(b"{}"),
                }],
                ..v1::CatalogueReport::default()
            }
        })
    }
}

fn config(plane: &ControlPlane, join_token: Option<SecretString>) -> Config {
    Config {
        enrol_url: format!("https://{}", plane.enrol).parse().expect("a URL"),
        grpc_url: format!("https://{}", plane.grpc).parse().expect("a URL"),
        join_token,
        build: "test".to_owned(),
    }
}

struct Proxy {
    control: Control,
    snapshots: Arc<Snapshots>,
    bases: Arc<InMemory>,
    tasks: Tasks,
}

fn start(config: Config, state_dir: &Path) -> Proxy {
    let clock = Arc::new(ServerClock::new(Arc::new(SystemClock)));
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let bases = Arc::new(InMemory::default());
    let snapshots = Arc::new(Snapshots::with_bases(clock.clone(), bases.clone()));
    let tasks = Tasks::new(Handle::current());
    let control = super::start(Parts {
        config,
        state_dir: state_dir.to_owned(),
        boot: [3; 16],
        snapshots: snapshots.clone(),
        archive: Archive::new(state_dir, None, clock.clone(), entropy.clone()),
        readiness: Arc::new(Readiness::new(clock.clone(), HOUR)),
        kills: Arc::new(Kills::load(state_dir.to_owned(), None, clock.clone())),
        discoverer: Arc::new(OneTool),
        tallies: Arc::default(),
        tasks: tasks.clone(),
        clock,
        entropy,
    });
    Proxy { control, snapshots, bases, tasks }
}

async fn until_ready(proxy: &Proxy) {
    let mut ready = proxy.control.ready();
    let waiting = ready.wait_for(|ready| *ready);
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("ready in time").expect("running");
}

#[tokio::test]
async fn joins_applies_acknowledges_refuses_and_removes() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let (mut sample, other) = (Sample::new(1), Sample::new(2));
    plane.store(sample.replace());
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(1)));
    assert!(proxy.snapshots.load().endpoint(&sample.slug, "tools").is_some());
    assert!(*proxy.control.connected().borrow());
    let identity = proxy.control.identity().borrow().clone().expect("an identity");
    assert_eq!(identity.pool, "shared");
    let file = std::fs::metadata(state.path().join("identity.json")).expect("the file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);

    plane.store(other.replace());
    assert_eq!(plane.next().await, Said::Applied(other.tenant, Some(1)));

    sample.snapshot.rev = 2;
    plane.store(sample.replace());
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(2)));
    assert_eq!(plane.inner.deltas.load(Ordering::SeqCst), 1, "as what changed since revision 1");

    // A field of a newer schema: refused whole, and what was there goes on.
    sample.snapshot.rev = 3;
    let mut newer = sample.replace();
    newer.snapshot = [&newer.snapshot[..], &[0x78, 1]].concat().into();
    plane.store(newer);
    assert_eq!(plane.next().await, Said::Rejected(sample.tenant, 3, 2, "snapshot_undecodable"));
    assert_eq!(proxy.snapshots.versions()[&sample.tenant].rev, 2);

    sample.snapshot.rev = 4;
    sample.edit(|body| {
        if let Body::Endpoint(endpoint) = body {
            endpoint.slug = "renamed".to_owned();
        }
    });
    plane.store(sample.replace());
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(4)));
    assert!(proxy.snapshots.load().endpoint(&sample.slug, "renamed").is_some());

    plane.inner.stored.send_modify(|stored| {
        stored.remove(&sample.tenant);
    });
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, None));
    assert_eq!(proxy.snapshots.load().len(), 1);
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_change_that_does_not_fit_is_followed_by_the_whole_tenant() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let mut sample = Sample::new(1);
    plane.store(sample.replace());
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(1)));
    // Somebody has damaged what the proxy keeps to put changes onto.
    proxy.bases.remove(sample.tenant);
    sample.snapshot.rev = 2;
    plane.store(sample.replace());
    assert_eq!(plane.next().await, Said::Misfit(sample.tenant, 2));
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(2)));
    sample.snapshot.rev = 3;
    plane.store(sample.replace());
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(3)));
    assert_eq!(plane.inner.deltas.load(Ordering::SeqCst), 2);
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_snapshot_of_many_parts_is_applied_whole() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let mut sample = Sample::new(1);
    for n in 0..12_u8 {
        let id = ids::GrantId::from_parts(3, [n; 10]).to_string();
        let text = format!("permit(principal, action, resource);//{}", "x".repeat(120_000));
        let body = Some(Body::Policy(v1::Policy { id: id.clone(), text }));
        sample.snapshot.resources.push(v1::Resource { id, body });
    }
    sample.snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    assert!(sample.replace().snapshot.len() > wire::stream::CHUNK);
    plane.store(sample.replace());
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    assert_eq!(plane.next().await, Said::Applied(sample.tenant, Some(1)));
    assert_eq!(proxy.snapshots.versions()[&sample.tenant].digest[..], sample.replace().digest[..]);
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn live_proxies_are_heard_of() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let proxy = start(config(&plane, None), state.path());
    assert_eq!(*proxy.control.live_proxies().borrow(), 1, "alone until it is told otherwise");
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    assert_eq!(*proxy.control.live_proxies().borrow(), 7);
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn an_impostor_gets_no_token() {
    let (plane, impostor) = (ControlPlane::start(HOUR).await, ControlPlane::start(HOUR).await);
    let mut config = config(&plane, None);
    config.enrol_url = format!("https://{}", impostor.enrol).parse().expect("a URL");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let refused = enrol::join(&config, &plane.token(), &clock).await.expect_err("refused");
    assert!(matches!(refused, ControlError::Unreachable(_) | ControlError::Unanswered(_)), "{refused:?}");
    assert_eq!(impostor.inner.asked_to_enrol.load(Ordering::SeqCst), 0);
    assert_eq!(plane.inner.asked_to_enrol.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_token_works_once() {
    let plane = ControlPlane::start(HOUR).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (config, token) = (config(&plane, None), plane.token());
    enrol::join(&config, &token, &clock).await.expect("joins");
    let again = enrol::join(&config, &token, &clock).await.expect_err("refused");
    assert!(matches!(again, ControlError::Refused(_)), "{again:?}");
    assert_eq!(again.code(), errors::ErrorCode::JoinTokenRefused);
}

#[tokio::test]
async fn an_identity_is_kept_and_renewed_by_its_own_key() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = config(&plane, None);
    let joined = enrol::join(&config, &plane.token(), &clock).await.expect("joins");
    joined.save(state.path()).expect("saves");
    let loaded = Identity::load(state.path()).expect("loads").expect("there");
    assert_eq!((loaded.proxy, &loaded.chain, &loaded.ca), (joined.proxy, &joined.chain, &joined.ca));
    let renewed = enrol::renew(&config, &loaded, &clock).await.expect("renews");
    assert_eq!(renewed.proxy, joined.proxy);
    assert_ne!(renewed.chain, joined.chain);

    // Another key under the same certificate proves nothing.
    let mut stolen = Identity::load(state.path()).expect("loads").expect("there");
    stolen.key = rcgen::KeyPair::generate().expect("a key");
    let refused = enrol::renew(&config, &stolen, &clock).await.expect_err("refused");
    assert!(matches!(refused, ControlError::Refused(_)), "{refused:?}");
    stolen.save(state.path()).expect("saves");
    assert!(Identity::load(state.path()).is_err(), "a file whose parts do not fit is not used");
}

#[tokio::test]
async fn a_proxy_that_was_away_comes_back_with_a_certificate_that_has_run_out() {
    let plane = ControlPlane::start(Duration::from_secs(1)).await;
    let state = tempfile::tempdir().expect("a directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let joined = enrol::join(&config(&plane, None), &plane.token(), &clock).await.expect("joins");
    joined.save(state.path()).expect("saves");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(joined.not_after <= clock.now(), "it has run out");
    // Without a token: the old key alone gets it another.
    let proxy = start(config(&plane, None), state.path());
    until_ready(&proxy).await;
    let back = proxy.control.identity().borrow().clone().expect("an identity");
    assert_eq!((back.proxy_id, back.not_after > joined.not_after), (joined.proxy, true));
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_on_a_new_connection() {
    // Half of four seconds, less jitter: the first renewal comes within two.
    let plane = ControlPlane::start(Duration::from_secs(4)).await;
    let state = tempfile::tempdir().expect("a directory");
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    let first = proxy.control.identity().borrow().clone().expect("an identity").not_after;
    let mut identity = proxy.control.identity();
    let renewal = identity.wait_for(|now| now.as_ref().is_some_and(|now| now.not_after > first));
    tokio::time::timeout(Duration::from_secs(10), renewal).await.expect("renewed in time").expect("running");
    let deadline = SystemClock.now().plus(Duration::from_secs(10));
    while plane.inner.streams.load(Ordering::SeqCst) < 2 {
        assert!(SystemClock.now() < deadline, "no new stream");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_command_waits_for_its_upstream_and_is_answered() {
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let sample = Sample::new(1);
    let upstream = sample.snapshot.resources.iter().find_map(|resource| match &resource.body {
        Some(Body::Upstream(upstream)) => Some(upstream.id.clone()),
        _ => None,
    });
    let discover = v1::DiscoverUpstream {
        tenant_id: sample.snapshot.tenant_id.clone(),
        upstream_id: upstream.expect("an upstream"),
    };
    let command = v1::Command { id: vec![9; 16], body: Some(v1::command::Body::Discover(discover)) };
    plane.inner.commands.lock().push(command);
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    until_ready(&proxy).await;
    plane.store(sample.replace());
    let mut said = vec![plane.next().await, plane.next().await];
    said.sort_by_key(|said| matches!(said, Said::Reported(..)));
    assert_eq!(said, [Said::Applied(sample.tenant, Some(1)), Said::Reported(vec![9; 16], "add".to_owned())]);
    proxy.control.reporter().notice(v1::CatalogueReport::default());
    assert_eq!(plane.next().await, Said::Reported(Vec::new(), String::new()));
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn the_spool_is_uploaded_and_acknowledged() {
    use crate::audit::spool::{self, Spool};
    let plane = ControlPlane::start(HOUR).await;
    let state = tempfile::tempdir().expect("a directory");
    let proxy = start(config(&plane, Some(plane.token())), state.path());
    let mut identity = proxy.control.identity();
    let enrolled = identity.wait_for(Option::is_some).await.expect("running").clone().expect("an identity");
    let spool = Spool::open(
        spool::Config {
            dir: state.path().join("spool"),
            proxy: enrolled.proxy_id,
            boot: [3; 16],
            quota_bytes: 1 << 20,
            tenant_quota_bytes: 1 << 20,
            segment_bytes: 1 << 16,
            sync_within: Duration::from_millis(50),
        },
        Arc::new(SystemClock),
    )
    .expect("a spool");
    let tenant = Sample::new(1).tenant.uuid().as_bytes().to_vec();
    let record = v1::AuditRecord { version: 1, tenant_id: tenant, ..v1::AuditRecord::default() };
    let draft = || wire::record::Draft::of(&record);
    spool.append(&[draft(), draft()]).expect("appends");
    proxy.control.start_upload(spool.clone());
    tokio::time::timeout(Duration::from_secs(20), spool.drained()).await.expect("acknowledged in time");
    spool.append(&[draft()]).expect("appends");
    tokio::time::timeout(Duration::from_secs(20), spool.drained()).await.expect("acknowledged in time");
    let records: usize = plane.inner.audit.lock().iter().map(|batch| batch.records.len()).sum();
    assert_eq!(records, 3);
    assert!(proxy.tasks.shutdown(Duration::from_secs(5)).await);
}
