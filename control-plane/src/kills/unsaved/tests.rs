use std::{fs, os::unix::fs::PermissionsExt as _};

use crypto::FileKek;
use ids::{TenantId, Uuid};
use prost::Message as _;
use seams::SeededEntropy;
use wire::v1;

use super::*;
use crate::{audit::Actor, secrets::Secrets};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A replica of the installation of this number.
fn replica(installation: u64, dir: &Path) -> Kills {
    let file = FileKek::generate_file(&SeededEntropy::new(installation));
    Kills::new(&Secrets::from_master_key(&file).unwrap(), Some(dir.to_owned())).unwrap()
}

fn id(n: usize) -> KillId {
    KillId::from_parts(n as u64, [0; 10])
}

fn act(n: usize) -> Act {
    Act {
        actor: Actor::Operator(Uuid::from_u128(7)),
        operation: ORDERED_BY,
        target: format!("{} an incident", id(n)),
        address: Some([10, 0, 0, 1].into()),
        request_id: Some("req".to_owned()),
        ending: Ending::default(),
    }
}

async fn order(kills: &Kills, n: usize, target: Target) -> Result<(), Full> {
    let kill = Kill { id: id(n), target, drill: false, at: NOW };
    kills.order_now(kill, "an incident".to_owned(), act(n), &SeededEntropy::new(n as u64)).await
}

fn tenant() -> Target {
    Target::Tenant(TenantId::from_parts(1, [1; 10]))
}

#[tokio::test]
async fn what_has_no_row_is_there_after_a_restart_as_it_was_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let kills = replica(1, dir.path());
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing to keep");
    order(&kills, 1, tenant()).await.unwrap();
    let path = dir.path().join("unsaved-kills.bin");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = replica(1, dir.path());
    let (before, after) = (kills.unsaved(id(1)).unwrap(), again.unsaved(id(1)).unwrap());
    assert_eq!((&after.kill, &after.reason), (&before.kill, &before.reason));
    assert_eq!((after.act.actor, &after.act.target), (before.act.actor, &before.act.target));
    assert_eq!((after.act.address, &after.act.request_id), (before.act.address, &before.act.request_id));
    // With its row it leaves the file, which a later start must not find.
    again.state.lock().unsaved.clear();
    again.keep().await;
    assert!(!path.exists() && file::unreadable(dir.path()).is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_set_aside_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    order(&replica(1, dir.path()), 1, Target::Fleet).await.unwrap();
    let path = dir.path().join("unsaved-kills.bin");
    let good = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> =
        (0..good.len()).step_by(good.len() / 6).map(|at| good[..at].to_vec()).collect();
    for at in [0, 30, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        damages.push(bytes);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    order(&replica(2, elsewhere.path()), 1, Target::Fleet).await.unwrap();
    damages.push(fs::read(elsewhere.path().join("unsaved-kills.bin")).unwrap());
    for (number, damage) in damages.iter().enumerate() {
        fs::write(&path, damage).unwrap();
        let kills = replica(1, dir.path());
        assert!(kills.unsaved(id(1)).is_none(), "damage {number}");
        assert_eq!(file::unreadable(dir.path()).len(), number + 1, "damage {number}");
        // What is ordered now is kept beside it, not in its place.
        order(&kills, 2, Target::Fleet).await.unwrap();
        assert!(replica(1, dir.path()).unsaved(id(2)).is_some());
        assert_eq!(file::unreadable(dir.path()).len(), number + 1);
    }
    let kept: Vec<_> = file::unreadable(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(damages.iter().all(|damage| kept.contains(damage)));
}

#[tokio::test]
async fn a_file_that_cannot_be_set_aside_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    for number in 1..=16 {
        fs::write(dir.path().join(format!("unsaved-kills.unreadable-{number}")), "").unwrap();
    }
    let path = dir.path().join("unsaved-kills.bin");
    fs::write(&path, "not ours").unwrap();
    let kills = replica(1, dir.path());
    order(&kills, 1, Target::Fleet).await.unwrap();
    assert!(kills.unsaved(id(1)).is_some(), "in force all the same");
    assert_eq!(fs::read(&path).unwrap(), b"not ours");
}

#[tokio::test]
async fn there_is_room_for_the_fleet_when_there_is_none_for_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let kills = replica(1, dir.path());
    {
        let mut state = kills.state.lock();
        for n in 0..MOST {
            let kill = Kill { id: id(n), target: tenant(), drill: false, at: NOW };
            let entropy = SeededEntropy::new(n as u64);
            assert!(state.wait_for_row(kills.sealers.unsaved(kill, "r".repeat(500), act(n), &entropy)));
        }
    }
    assert_eq!(order(&kills, MOST, tenant()).await, Err(Full));
    order(&kills, MOST, Target::Fleet).await.unwrap();
    assert_eq!(replica(1, dir.path()).state.lock().unsaved.len(), MOST + 1, "and all of it is kept");
}

/// Whoever reads the copy in Redis has it from then on, whatever becomes of who took the order.
#[tokio::test]
async fn a_replica_takes_over_what_another_has_no_row_for() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (replica(1, here.path()), replica(1, there.path()));
    for kills in [&first, &second] {
        kills.state.lock().read = Some(v1::KillBody { epoch: 5, ..v1::KillBody::default() });
    }
    order(&first, 1, tenant()).await.unwrap();
    let copy = first.copy().unwrap();
    second.borrow(&second.verified(&copy).unwrap(), NOW);
    second.keep().await;
    assert_eq!(second.unsaved(id(1)).unwrap().reason, "an incident");
    assert!(replica(1, there.path()).unsaved(id(1)).is_some(), "on its own disk too");
    let serial = second.state.lock().serial;
    second.borrow(&second.verified(&copy).unwrap(), NOW);
    assert_eq!(second.state.lock().serial, serial, "nothing new");
    // And tells others.
    assert!(!second.knows_no_more_than(&super::super::shared::Found::default()));
    assert!(second.knows_no_more_than(&first.verified(&second.copy().unwrap()).unwrap()));

    // One that has its row by now, and one whose signature is wrong, are not taken.
    let third = replica(1, tempfile::tempdir().unwrap().path());
    let entry = first.unsaved(id(1)).unwrap().kill.write();
    third.state.lock().read = Some(v1::KillBody { entries: vec![entry], ..v1::KillBody::default() });
    third.borrow(&third.verified(&copy).unwrap(), NOW);
    assert!(third.unsaved(id(1)).is_none());
    let mut forged = v1::KillSet::decode(copy.as_slice()).unwrap();
    forged.unsaved_signature[0] ^= 1;
    assert!(third.verified(&forged.encode_to_vec()).unwrap().unsaved.is_empty());
}

#[tokio::test]
async fn what_was_dropped_does_not_come_back_from_another_replica() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (replica(1, here.path()), replica(1, there.path()));
    for kills in [&first, &second] {
        kills.state.lock().read = Some(v1::KillBody { epoch: 5, ..v1::KillBody::default() });
    }
    order(&first, 1, tenant()).await.unwrap();
    let copy = second.verified(&first.copy().unwrap()).unwrap();
    second.borrow(&copy, NOW);
    first.drop_unsaved(&first.unsaved(id(1)).unwrap());
    assert!(first.unsaved(id(1)).is_none());
    let signed = first.subscribe().borrow().clone().unwrap();
    assert!(v1::KillBody::decode(signed.set.body.as_slice()).unwrap().entries.is_empty());
    // From the second, which has not noticed yet, and from the copy, it is not taken again; the copy is written without it.
    let copy = first.verified(&second.copy().unwrap()).unwrap();
    first.borrow(&copy, NOW);
    assert!(first.unsaved(id(1)).is_none() && first.state.lock().borrowed.is_empty());
    assert!(first.has_what_was_dropped(&copy) && !second.has_what_was_dropped(&copy));
    assert!(!first.has_what_was_dropped(&first.verified(&first.copy().unwrap()).unwrap()));
    first.keep().await;
    assert!(replica(1, here.path()).unsaved(id(1)).is_none(), "nor after a restart");
}

/// A proxy is the only one left that heard of it.
#[tokio::test]
async fn what_a_proxy_gives_back_is_taken_over_once_and_only_if_it_is_ours() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (replica(1, here.path()), replica(1, there.path()));
    for kills in [&first, &second] {
        kills.state.lock().read = Some(v1::KillBody { epoch: 5, ..v1::KillBody::default() });
    }
    order(&first, 1, tenant()).await.unwrap();
    let told = first.subscribe().borrow().clone().unwrap().set.clone();
    // Whoever keeps it learns what to stop, and neither why nor who said so.
    let kept = fs::read(here.path().join("unsaved-kills.bin")).unwrap();
    for bytes in [&told.encode_to_vec(), &kept, &first.copy().unwrap()] {
        for named in [&b"an incident"[..], b"10.0.0.1", Uuid::from_u128(7).as_bytes()] {
            assert!(!bytes.windows(named.len()).any(|window| window == named));
        }
    }
    let stranger = replica(2, tempfile::tempdir().unwrap().path());
    stranger.given_back(&told.unsaved, &told.unsaved_signature, NOW).await;
    assert!(stranger.unsaved(id(1)).is_none());
    second.given_back(&[], &[], NOW).await;
    second.given_back(&told.unsaved, &told.unsaved_signature, NOW).await;
    assert_eq!(second.unsaved(id(1)).unwrap().reason, "an incident");
    assert!(replica(1, there.path()).unsaved(id(1)).is_some(), "on its own disk too");
    let set = second.subscribe().borrow().clone().unwrap().set.clone();
    assert_eq!(set.unsaved, told.unsaved, "and gives it to proxies to keep");
    let serial = second.state.lock().serial;
    second.given_back(&told.unsaved, &told.unsaved_signature, NOW).await;
    assert_eq!(second.state.lock().serial, serial, "nothing new");
    // Long after, whoever knew of it has written its row, and it may have been lifted.
    let third = replica(1, tempfile::tempdir().unwrap().path());
    let late = Timestamp::from_micros(NOW.micros() + 25 * 3_600_000_000);
    third.given_back(&told.unsaved, &told.unsaved_signature, late).await;
    assert!(third.unsaved(id(1)).is_none());
}
