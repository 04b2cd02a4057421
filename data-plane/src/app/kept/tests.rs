//! The gate at the start: not ready on a kill set that may be older than what was held once.

use std::{fs, path::Path};

use crypto::SigningKey;
use prost::Message as _;
use seams::{SystemClock, SystemEntropy};
use wire::{kill::SET_CONTEXT, v1};

use super::*;

/// Long, in a time that passes only while everything waits.
const LONG: Duration = Duration::from_secs(5);

fn proxy() -> ProxyId {
    ProxyId::from_parts(1, [1; 10])
}

/// A run of a proxy, and what the control plane says to it.
struct Run {
    kept: Kept,
    kills: Arc<Kills>,
    whole: watch::Sender<bool>,
    following: tokio::task::JoinHandle<()>,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "the runtime of a test ends with it")]
    fn start(state: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let kills = Arc::new(Kills::load(state.to_owned(), None, clock.clone()));
        let archive = Archive::new(state, None, clock.clone(), Arc::new(SystemEntropy));
        let snapshots = Arc::new(Snapshots::with_bases(clock.clone(), archive.clone()));
        let ready = Arc::new(Readiness::new(clock.clone(), Duration::from_secs(3_600)));
        let kept = Kept { proxy: Some(proxy()), archive, snapshots, ready };
        kept.restore(proxy(), &kills, &*clock);
        let whole = watch::Sender::new(false);
        let following = follow(kept.ready.clone(), whole.subscribe(), kills.clone(), kept.archive.clone());
        Self { kills, whole, following: tokio::spawn(following), kept }
    }

    fn whole_configuration(&self) {
        self.kept.ready.confirm();
        self.whole.send_replace(true);
    }

    /// The control plane says what is killed.
    async fn kill_set(&self, epoch: u64) {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let body = v1::KillBody { epoch, ..v1::KillBody::default() }.encode_to_vec();
        let signature = key.sign(SET_CONTEXT, &body).to_vec();
        let public_keys = vec![key.public().to_vec()];
        let set = v1::KillSet { body, signature, public_keys, nonce: 1, ..v1::KillSet::default() };
        assert!(self.kills.follow(&set).await);
    }

    async fn is_ready(&self) -> bool {
        tokio::time::sleep(LONG).await;
        self.kept.ready.is_whole()
    }

    /// It ends, with all that it owes the disk written.
    async fn stop(self) {
        self.following.abort();
        let _aborted = self.following.await;
        self.kept.archive.settle_now();
    }
}

/// The state of a proxy that was ready and knew of epoch 4, and the kill set that it had before, of epoch 3.
async fn served(state: &Path) -> Vec<u8> {
    let run = Run::start(state);
    assert!(!run.is_ready().await);
    run.kill_set(3).await;
    let old = fs::read(state.join("kills.bin")).unwrap();
    run.whole_configuration();
    assert!(run.is_ready().await);
    run.kill_set(4).await;
    assert!(run.is_ready().await);
    run.stop().await;
    old
}

#[tokio::test(start_paused = true)]
async fn what_was_served_is_served_again_with_the_kill_set_it_had() {
    let state = tempfile::tempdir().unwrap();
    served(state.path()).await;
    assert!(Run::start(state.path()).is_ready().await);
}

#[tokio::test(start_paused = true)]
async fn an_old_kill_set_keeps_it_waiting_for_a_new_one_whatever_else_arrives() {
    let state = tempfile::tempdir().unwrap();
    let old = served(state.path()).await;
    for unusable in ["archive.floor", "archive.key", ""] {
        let lost = |file: &str| fs::remove_file(state.path().join(file)).unwrap_or_default();
        match unusable {
            "" => {}
            "archive.floor" => {
                lost("archive.floor");
                lost("archive.floor.old");
            }
            file => lost(file),
        }
        fs::write(state.path().join("kills.bin"), &old).unwrap();
        // More than once: waiting must not make it forget why.
        for _ in 0..2 {
            let run = Run::start(state.path());
            assert!(!run.is_ready().await, "{unusable}");
            run.whole_configuration();
            assert!(!run.is_ready().await, "{unusable}");
            run.stop().await;
        }
        let run = Run::start(state.path());
        run.whole_configuration();
        run.kill_set(4).await;
        assert!(run.is_ready().await, "{unusable}");
        run.stop().await;
        assert!(Run::start(state.path()).is_ready().await, "{unusable}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_know_who_it_was_waits_too() {
    let state = tempfile::tempdir().unwrap();
    served(state.path()).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kills = Kills::load(state.path().to_owned(), None, clock);
    assert!(*kills.known().borrow());
    kills.doubt();
    assert!(!*kills.known().borrow() && kills.epoch() == 4, "what it has stays in force");
}
