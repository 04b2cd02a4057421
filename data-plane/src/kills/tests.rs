use std::{path::Path, sync::Arc, time::Duration};

use crypto::SigningKey;
use ids::{Id, KillId, TenantId};
use prost::Message as _;
use seams::{ManualClock, SeededEntropy, Timestamp};
use wire::kill::{Kill, Order, Target};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn kill(n: u8, target: Target) -> Kill {
    Kill { id: KillId::from_parts(1, [n; 10]), target, drill: false, at: NOW }
}

fn tenant() -> TenantId {
    TenantId::from_parts(1, [1; 10])
}

fn body(epoch: u64, kills: &[Kill], lifted: &[&Kill]) -> v1::KillBody {
    v1::KillBody {
        epoch,
        entries: kills.iter().map(Kill::write).collect(),
        lifted: lifted.iter().map(|kill| kill.id.uuid().as_bytes().to_vec()).collect(),
        revoked: Vec::new(),
    }
}

fn signed(body: &v1::KillBody, by: &SigningKey) -> v1::KillSet {
    let bytes = body.encode_to_vec();
    v1::KillSet {
        signature: by.sign(SET_CONTEXT, &bytes).to_vec(),
        body: bytes,
        nonce: 1,
        public_keys: vec![by.public().to_vec()],
        ..v1::KillSet::default()
    }
}

fn load(dir: &Path) -> Kills {
    Kills::load(dir.to_owned(), Some(key(9).public()), Arc::new(ManualClock::at(NOW)))
}

fn stops_tenant(kills: &Kills) -> bool {
    kills.look().is_some_and(|index| index.stops_endpoint(tenant(), Id::from_parts(2, [2; 10])))
}

#[tokio::test]
async fn what_was_taken_is_there_after_a_restart_and_nothing_is_known_before() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    assert!(!*kills.known().borrow() && kills.look().is_none());
    let stop = kill(1, Target::Tenant(tenant()));
    assert!(kills.follow(&signed(&body(3, std::slice::from_ref(&stop), &[]), &key(1))).await);
    assert!(*kills.known().borrow() && stops_tenant(&kills));

    let again = load(dir.path());
    assert!(*again.known().borrow() && stops_tenant(&again));
    assert_eq!(again.epoch(), 3);
    assert!(again.follow(&signed(&body(4, &[], &[&stop]), &key(1))).await);
    assert!(!stops_tenant(&again) && again.look().is_none());
    // An older set, such as a control plane that was restored sends, brings nothing back.
    assert!(again.follow(&signed(&body(3, &[stop], &[]), &key(1))).await);
    assert!(!stops_tenant(&again) && again.epoch() == 4);
}

#[tokio::test]
async fn a_damaged_file_is_no_knowledge() {
    let dir = tempfile::tempdir().unwrap();
    let stop = kill(1, Target::Fleet);
    assert!(load(dir.path()).follow(&signed(&body(1, &[stop], &[]), &key(1))).await);
    let path = dir.path().join("kills.bin");
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(!*load(dir.path()).known().borrow(), "byte {at}");
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(!*load(dir.path()).known().borrow(), "cut at {at}");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(stops_tenant(&load(dir.path())));
}

#[tokio::test]
async fn a_set_that_is_not_signed_or_not_kept_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    let stop = kill(1, Target::Tenant(tenant()));
    let good = signed(&body(1, std::slice::from_ref(&stop), &[]), &key(1));
    let foreign = v1::KillSet { public_keys: vec![key(2).public().to_vec()], ..good.clone() };
    let keyless = v1::KillSet { public_keys: Vec::new(), ..good.clone() };
    let odd = v1::KillSet { public_keys: vec![vec![1; 31]], ..good.clone() };
    for wrong in [foreign, keyless, odd] {
        assert!(!kills.follow(&wrong).await && !stops_tenant(&kills));
    }
    // In force all the same: what stops must not wait for a disk.
    let nowhere = Kills::load("/proc/nowhere".into(), None, Arc::new(ManualClock::at(NOW)));
    assert!(!nowhere.follow(&good).await);
    assert!(stops_tenant(&nowhere));
    // What a later build sends is taken as far as it is known.
    let mut later = body(2, &[stop], &[]);
    later.entries.push(v1::KillEntry { level: 42, ..later.entries[0].clone() });
    assert!(!kills.follow(&signed(&later, &key(1))).await);
    assert!(stops_tenant(&kills));
}

#[tokio::test]
async fn a_change_is_acknowledged_when_every_worker_has_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    let kills = Arc::new(load(dir.path()));
    let (first, second) = (kills.seat(), kills.seat());
    let set = signed(&body(1, &[kill(1, Target::Fleet)], &[]), &key(1));
    let mut following = std::pin::pin!(kills.follow(&set));
    let mut turns = kills.turns();
    tokio::select! {
        _ = &mut following => panic!("nobody has seen it"),
        changed = turns.changed() => changed.unwrap(),
    }
    assert!(stops_tenant(&kills), "in force for who looks");
    first.has_seen(kills.turn());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut following).await.is_err());
    // A worker that ends is not waited for.
    drop(second);
    assert!(following.await);
}

fn ordered(order: &Order, by: &SigningKey) -> String {
    let body = order.encode();
    Unverified { signature: by.sign(ORDER_CONTEXT, &body).to_vec(), body }.to_text()
}

fn order(kill: Option<Kill>, lifted: Vec<KillId>) -> Order {
    Order { issued: NOW, expires: NOW.plus(Duration::from_secs(60)), kill, lifted }
}

#[tokio::test]
async fn orders_need_the_configured_key_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    let stop = kill(7, Target::Tenant(tenant()));
    let text = ordered(&order(Some(stop.clone()), Vec::new()), &key(9));
    let other = ordered(&order(Some(stop.clone()), Vec::new()), &key(8));
    assert_eq!(kills.obey(other.as_bytes()).await, Err(OrderError::Signature));
    assert_eq!(kills.obey(b"stop").await, Err(OrderError::Format));
    let expired = Order { expires: NOW, ..order(Some(stop.clone()), Vec::new()) };
    assert_eq!(kills.obey(ordered(&expired, &key(9)).as_bytes()).await, Err(OrderError::Expired));
    let deaf = Kills::load(dir.path().join("deaf"), None, Arc::new(ManualClock::at(NOW)));
    assert_eq!(deaf.obey(text.as_bytes()).await, Err(OrderError::NoKey));
    assert!(!stops_tenant(&kills) && !stops_tenant(&deaf));

    assert_eq!(kills.obey(text.as_bytes()).await, Ok(()));
    let kills = load(dir.path());
    assert!(stops_tenant(&kills));
    assert!(!*kills.known().borrow(), "an order says nothing of what else is killed");
    let lift = ordered(&order(None, vec![stop.id]), &key(9));
    assert_eq!(kills.obey(lift.as_bytes()).await, Ok(()));
    assert!(!stops_tenant(&kills));
    assert_eq!(kills.obey(text.as_bytes()).await, Ok(()), "replayed");
    assert!(!stops_tenant(&kills));
}

#[tokio::test]
async fn orders_come_as_files() {
    let dir = tempfile::tempdir().unwrap();
    let kills = Arc::new(load(dir.path()));
    let orders = dir.path().join("kill-orders");
    std::fs::create_dir(&orders).unwrap();
    let stop = order(Some(kill(7, Target::Fleet)), Vec::new());
    std::fs::write(orders.join("one"), ordered(&stop, &key(9))).unwrap();
    std::fs::write(orders.join("two"), "anything").unwrap();
    std::fs::write(orders.join("three.new"), "half").unwrap();
    let stopping = tokio_util::sync::CancellationToken::new();
    let following = follow_files(Arc::clone(&kills), dir.path().to_owned(), stopping.clone());
    let until = async {
        while !(stops_tenant(&kills)
            && orders.join("two.refused").exists()
            && orders.join("one.done").exists())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stopping.cancel();
    };
    tokio::time::timeout(Duration::from_secs(20), futures_util::future::join(following, until))
        .await
        .unwrap();
    assert!(orders.join("three.new").exists());
}

#[tokio::test]
async fn a_revoked_key_and_the_earlier_keys_of_a_revoked_client_are_dead() {
    use wire::kill::Credential;
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    let entropy: &dyn seams::Entropy = &SeededEntropy::new(1);
    let (client, other) = (Id::from_parts(1, [1; 10]), Id::from_parts(1, [2; 10]));
    let made = |millis| Id::from_parts(millis, entropy.bytes());
    let (early, late, one) = (made(1_000), made(3_000), made(1_000));
    let mut set = body(1, &[], &[]);
    set.revoked = vec![
        Credential::Key(tenant(), one).write(NOW),
        Credential::Client(tenant(), client).write(Timestamp::from_micros(2_000_000)),
    ];
    assert!(kills.follow(&signed(&set, &key(1))).await);
    let index = kills.look().unwrap();
    assert!(index.is_revoked(tenant(), other.into(), Shown::Key(one)));
    assert!(index.is_revoked(tenant(), client.into(), Shown::Key(early)));
    assert!(
        !index.is_revoked(tenant(), client.into(), Shown::Key(late))
            && !index.is_revoked(tenant(), other.into(), Shown::Key(early))
    );
}

#[tokio::test]
async fn a_shared_copy_adds_and_neither_lifts_nor_says_what_else_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    let (one, two) = (kill(1, Target::Tenant(tenant())), kill(2, Target::Fleet));
    let copy = |body: &v1::KillBody, by: u8| signed(body, &key(by)).encode_to_vec();
    assert!(!kills.can_verify());
    assert!(
        !kills.add(&copy(&body(1, std::slice::from_ref(&two), &[]), 1)).await,
        "nobody's signature is known"
    );

    assert!(kills.follow(&signed(&body(3, std::slice::from_ref(&one), &[]), &key(1))).await);
    assert!(kills.add(&copy(&body(9, &[], &[&one]), 1)).await);
    assert!(stops_tenant(&kills) && kills.epoch() == 3, "it lifted, or moved the epoch");
    for wrong in [copy(&body(9, std::slice::from_ref(&two), &[]), 2), b"noise".to_vec(), Vec::new()] {
        assert!(!kills.add(&wrong).await);
    }
    assert!(kills.follow(&signed(&body(4, &[], &[&one]), &key(1))).await);
    assert!(!stops_tenant(&kills));
    assert!(kills.add(&copy(&body(3, &[one, two], &[]), 1)).await);
    let index = kills.look().unwrap();
    assert!(index.stops_endpoint(tenant(), Id::from_parts(2, [2; 10])), "the fleet's is new");
    drop(index);
    assert!(load(dir.path()).look().is_some(), "and it is kept");
}

/// A worker that is stuck delays its own acknowledgement, not the next kill.
#[tokio::test]
async fn a_kill_is_in_force_while_an_earlier_one_still_waits_for_a_worker() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    let stuck = kills.seat();
    let (drill, stop) = (Kill { drill: true, ..kill(1, Target::Fleet) }, kill(2, Target::Tenant(tenant())));
    let first = signed(&body(1, std::slice::from_ref(&drill), &[]), &key(1));
    let second = signed(&body(2, &[drill, stop], &[]), &key(1));
    let mut earlier = std::pin::pin!(kills.follow(&first));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut earlier).await.is_err());
    let mut later = std::pin::pin!(kills.follow(&second));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut later).await.is_err());
    assert!(stops_tenant(&kills));
    stuck.has_seen(kills.turn());
    assert!(earlier.await && later.await);
}

/// Whoever waits for a write may go before it ends, as a kill stream does that breaks. The next one waits for it.
#[tokio::test]
async fn a_write_whose_caller_is_gone_is_not_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let kills = load(dir.path());
    // A disk that is slow: the temporary file is a pipe, which cannot be opened until somebody reads.
    let (pipe, temporary) = (dir.path().join("pipe"), dir.path().join("kills.bin.new"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::hard_link(&pipe, &temporary).unwrap();
    let stop = kill(1, Target::Tenant(tenant()));
    let first = signed(&body(1, std::slice::from_ref(&stop), &[]), &key(1));
    {
        let following = std::pin::pin!(kills.follow(&first));
        assert!(tokio::time::timeout(Duration::from_millis(100), following).await.is_err());
    }
    assert!(stops_tenant(&kills), "in force");
    std::fs::remove_file(&temporary).unwrap();
    let second = signed(&body(2, &[stop, kill(2, Target::Fleet)], &[]), &key(1));
    let mut following = std::pin::pin!(kills.follow(&second));
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut following).await.is_err();
    // The disk goes on.
    let reading = tokio::task::spawn_blocking(move || std::fs::read(pipe));
    reading.await.unwrap().unwrap();
    assert!(waits, "it overtook");
    assert!(following.await);
    assert_eq!(load(dir.path()).epoch(), 2);
}

#[tokio::test]
async fn what_tests_keep_goes_with_them() {
    let log = crate::audit::testing::Log::new();
    let kills = crate::testing::kills(&log);
    assert!(kills.follow(&signed(&body(1, &[kill(1, Target::Fleet)], &[]), &key(1))).await);
    let dir = kills.state_dir.clone();
    assert!(dir.join("kills.bin").exists());
    drop(log);
    assert!(!dir.exists());
}
