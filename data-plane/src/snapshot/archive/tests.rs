use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use seams::{SystemClock, SystemEntropy};

use super::*;
use crate::snapshot::samples::Sample;

const ME: u8 = 1;
const OTHER: u8 = 2;
const AGE: Duration = Duration::from_secs(40);

fn proxy(n: u8) -> ProxyId {
    ProxyId::from_parts(1, [n; 10])
}

fn archive(state: &Path) -> Arc<Archive> {
    Archive::new(state, None, Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// The archive, what it said, and the revisions that came out of it by slug-giving number.
fn open(state: &Path, n: u8) -> (Arc<Archive>, load::Loaded, BTreeMap<u8, u64>) {
    let archive = archive(state);
    let (loaded, replaces) = archive.load(proxy(n), |replace| Ok(replace.clone()));
    let numbers = replaces.iter().map(|replace| {
        let number = (1..=9).find(|n| replace.tenant_id == sample(*n, 1).tenant_id).unwrap();
        assert_eq!(*replace, sample(number, replace.rev), "exactly what was put in");
        (number, replace.rev)
    });
    let numbers = numbers.collect();
    (archive, loaded, numbers)
}

fn sample(number: u8, rev: u64) -> v1::Replace {
    let mut sample = Sample::new(number);
    sample.snapshot.rev = rev;
    v1::Replace { nonce: 0, ..sample.replace() }
}

fn tenant(number: u8) -> TenantId {
    Sample::new(number).tenant
}

fn put(archive: &Archive, number: u8, rev: u64) {
    archive.put(tenant(number), &sample(number, rev));
}

fn settle(archive: &Archive) {
    let key = archive.key.as_ref().unwrap();
    archive.settle(key, true).unwrap();
    // What a rewrite or a refused write left over.
    archive.settle(key, true).unwrap();
}

/// Tenants 1 to 3, of which the third has a second revision; complete.
fn filled(state: &Path) -> Arc<Archive> {
    let (archive, loaded, _) = open(state, ME);
    assert_eq!(loaded, load::Loaded::default());
    for number in 1..=3 {
        put(&archive, number, 1);
    }
    put(&archive, 3, 2);
    archive.complete();
    archive.confirm(Timestamp::from_secs(1_800_000_000), AGE);
    settle(&archive);
    archive
}

fn whole() -> BTreeMap<u8, u64> {
    BTreeMap::from([(1, 1), (2, 1), (3, 2)])
}

fn generations(state: &Path) -> Vec<PathBuf> {
    let dir = state.join(DIR);
    let numbers = generation::list(&dir).unwrap();
    numbers.iter().map(|number| dir.join(format!("{number:016x}.gen"))).collect()
}

/// Copies plain files of a directory.
fn copy(from: &Path, to: &Path) {
    let _absent = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_was_kept_is_there_again() {
    let state = tempfile::tempdir().unwrap();
    let kept = filled(state.path());
    assert_eq!(kept.get(tenant(3)), Some(sample(3, 2)));
    assert_eq!(kept.get(tenant(4)), None);
    let (again, loaded, numbers) = open(state.path(), ME);
    assert_eq!(numbers, whole());
    let confirmed = Timestamp::from_secs(1_800_000_000);
    let expected =
        load::Loaded { tenants: 3, missing: 0, complete: true, confirmed, age: AGE, kill_epoch: Some(0) };
    assert_eq!(loaded, expected);
    assert_eq!(again.get(tenant(1)), Some(sample(1, 1)));

    again.remove(tenant(1));
    assert_eq!(again.get(tenant(1)), None);
    settle(&again);
    assert_eq!(open(state.path(), ME).2, BTreeMap::from([(2, 1), (3, 2)]));
    let mode = fs::metadata(state.path().join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_crash_loses_nothing_that_was_handed_to_the_kernel() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    put(&archive, 1, 7);
    put(&archive, 4, 1);
    archive.remove(tenant(2));
    // No floor was written since.
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (true, BTreeMap::from([(1, 7), (3, 2), (4, 1)])));
}

#[test]
fn how_many_proxies_lived_is_known_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    assert_eq!(archive.proxies(), 1, "nobody said");
    archive.note_proxies(4);
    settle(&archive);
    let (again, loaded, _) = open(state.path(), ME);
    assert_eq!((again.proxies(), loaded.complete), (4, true));
    // Another's floor says nothing.
    assert_eq!(open(state.path(), OTHER).0.proxies(), 1);
}

#[test]
fn part_of_the_configuration_is_not_all_of_it() {
    let state = tempfile::tempdir().unwrap();
    let (archive, ..) = open(state.path(), ME);
    put(&archive, 1, 1);
    settle(&archive);
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (false, BTreeMap::from([(1, 1)])));
}

#[test]
fn damage_of_one_generation_costs_nothing() {
    let pristine = tempfile::tempdir().unwrap();
    drop(filled(pristine.path()));
    let other = tempfile::tempdir().unwrap();
    fs::copy(pristine.path().join(KEY_FILE), other.path().join(KEY_FILE)).unwrap();
    let (foreign, ..) = open(other.path(), OTHER);
    put(&foreign, 1, 9);
    settle(&foreign);

    let state = tempfile::tempdir().unwrap();
    for newest in [0, 1] {
        let path = &generations(pristine.path())[newest];
        let bytes = fs::read(path).unwrap();
        let mut damages = vec![Vec::new(), fs::read(&generations(other.path())[newest]).unwrap()];
        damages.extend((0..bytes.len()).step_by(211).map(|cut| bytes[..cut].to_vec()));
        damages.extend((0..bytes.len()).step_by(103).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            flipped
        }));
        let mut zeroed = bytes.clone();
        zeroed[bytes.len() / 3..2 * bytes.len() / 3].fill(0);
        damages.push(zeroed);
        for (number, damage) in damages.iter().enumerate() {
            copy(pristine.path(), state.path());
            copy(&pristine.path().join(DIR), &state.path().join(DIR));
            fs::write(&generations(state.path())[newest], damage).unwrap();
            let (archive, loaded, numbers) = open(state.path(), ME);
            assert_eq!((numbers, loaded.complete), (whole(), true), "generation {newest}, damage {number}");
            // And it is made whole again.
            settle(&archive);
            fs::remove_file(&generations(state.path())[newest]).unwrap();
            assert_eq!(open(state.path(), ME).2, whole(), "generation {newest}, damage {number}, healed");
        }
    }
}

#[test]
fn what_is_damaged_everywhere_is_missing_and_older_ones_are_not_taken_for_it() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    let key = archive.key.as_ref().unwrap();
    keep::rewrite(&archive, key, proxy(ME)).unwrap();
    // The third generation has tenant 3 at 2; the two that are written have it at 3.
    put(&archive, 3, 3);
    put(&archive, 4, 1);
    settle(&archive);
    assert_eq!(generations(state.path()).len(), GENERATIONS);
    for path in &generations(state.path())[..2] {
        fs::write(path, b"").unwrap();
    }
    let (archive, loaded, numbers) = open(state.path(), ME);
    assert_eq!(numbers, BTreeMap::from([(1, 1), (2, 1)]));
    assert_eq!((loaded.missing, loaded.complete), (2, false));
    settle(&archive);
    let (archive, loaded, _) = open(state.path(), ME);
    assert_eq!((loaded.missing, loaded.complete), (2, false), "also after the next restart");
    // The control plane sends one again, and says of the other that it is gone.
    put(&archive, 3, 3);
    archive.complete();
    settle(&archive);
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (true, BTreeMap::from([(1, 1), (2, 1), (3, 3)])));
}

#[test]
fn an_archive_of_yesterday_is_noticed() {
    let (state, yesterday) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = filled(state.path());
    copy(&state.path().join(DIR), yesterday.path());
    put(&archive, 1, 2);
    archive.remove(tenant(2));
    settle(&archive);
    copy(yesterday.path(), &state.path().join(DIR));
    let (archive, loaded, numbers) = open(state.path(), ME);
    assert_eq!(numbers, BTreeMap::from([(3, 2)]), "a newer one is known, and what was removed stays so");
    assert_eq!((loaded.missing, loaded.complete), (1, false));
    settle(&archive);

    // Without a floor nothing is believed.
    for name in ["archive.floor", "archive.floor.old"] {
        fs::remove_file(state.path().join(name)).unwrap();
    }
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded, numbers), (load::Loaded::default(), BTreeMap::new()));
    assert!(state.path().join(ASIDE).exists());
}

#[test]
fn a_floor_that_is_damaged_is_replaced_by_the_one_before() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    put(&archive, 3, 3);
    settle(&archive);
    let floor = state.path().join("archive.floor");
    let mut bytes = fs::read(&floor).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&floor, &bytes).unwrap();
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (true, BTreeMap::from([(1, 1), (2, 1), (3, 3)])));
    for name in ["archive.floor", "archive.floor.old"] {
        fs::write(state.path().join(name), b"PCFLOOR").unwrap();
    }
    assert_eq!(open(state.path(), ME).1, load::Loaded::default());
}

#[test]
fn nothing_opens_for_another_proxy_or_under_another_key() {
    let state = tempfile::tempdir().unwrap();
    drop(filled(state.path()));
    let copied = tempfile::tempdir().unwrap();
    for reader in [OTHER, ME] {
        copy(state.path(), copied.path());
        copy(&state.path().join(DIR), &copied.path().join(DIR));
        if reader == ME {
            fs::write(copied.path().join(KEY_FILE), &*ArchiveKey::generate_file(&SystemEntropy)).unwrap();
        }
        let (archive, loaded, numbers) = open(copied.path(), reader);
        assert_eq!((loaded, numbers), (load::Loaded::default(), BTreeMap::new()));
        put(&archive, 5, 1);
        settle(&archive);
        assert_eq!(open(copied.path(), reader).2, BTreeMap::from([(5, 1)]), "it begins anew");
    }
    // A key file that is none: no archive, and no crash.
    fs::write(copied.path().join(KEY_FILE), b"nonsense").unwrap();
    let (archive, loaded, _) = open(copied.path(), ME);
    put(&archive, 1, 1);
    assert_eq!((loaded, archive.is_usable(), archive.get(tenant(1))), (load::Loaded::default(), false, None));
}

#[test]
fn no_file_shows_what_is_in_it() {
    let state = tempfile::tempdir().unwrap();
    drop(filled(state.path()));
    let secrets: Vec<Vec<u8>> = (1..=3)
        .flat_map(|number| {
            let sample = Sample::new(number);
            let lookup = sample.key_text.split('_').nth(1).unwrap().as_bytes().to_vec();
            [sample.data_key.material.to_vec(), sample.slug.into_bytes(), lookup]
        })
        .collect();
    let mut files = generations(state.path());
    files.extend(["archive.floor", "archive.floor.old"].map(|name| state.path().join(name)));
    for path in files {
        let bytes = fs::read(&path).unwrap();
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }
}

#[test]
fn a_proxy_with_a_new_name_takes_its_archive_along() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    archive.belong_to(proxy(OTHER));
    put(&archive, 4, 1);
    settle(&archive);
    assert_eq!(open(state.path(), OTHER).2, BTreeMap::from([(1, 1), (2, 1), (3, 2), (4, 1)]));
}

#[test]
fn copying_goes_on_beside_changes_and_frees_what_is_out_of_date() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    let key = archive.key.as_ref().unwrap();
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for rev in 3..200 {
                put(&archive, 3, rev);
                put(&archive, 4, rev);
                archive.remove(tenant(5));
            }
        });
        while !changing.is_finished() {
            keep::rewrite(&archive, key, proxy(ME)).unwrap();
        }
    });
    for _ in 0..GENERATIONS {
        keep::rewrite(&archive, key, proxy(ME)).unwrap();
    }
    settle(&archive);
    let live = archive.open.lock().as_ref().unwrap().live_bytes;
    for path in generations(state.path()) {
        assert_eq!(fs::metadata(path).unwrap().len(), live + crypto::archive::frame::HEADER as u64);
    }
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (true, BTreeMap::from([(1, 1), (2, 1), (3, 199), (4, 199)])));
}

#[test]
fn what_the_disk_refuses_is_written_later() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    let files: Vec<_> = {
        let mut guard = archive.open.lock();
        let generations = &mut guard.as_mut().unwrap().generations;
        let read_only = Arc::new(File::open(state.path().join(KEY_FILE)).unwrap());
        generations.iter_mut().map(|each| std::mem::replace(&mut each.file, read_only.clone())).collect()
    };
    put(&archive, 1, 2);
    archive.remove(tenant(2));
    let key = archive.key.as_ref().unwrap();
    assert!(archive.settle(key, true).is_err());
    for (generation, file) in archive.open.lock().as_mut().unwrap().generations.iter_mut().zip(files) {
        generation.file = file;
    }
    settle(&archive);
    assert_eq!(open(state.path(), ME).2, BTreeMap::from([(1, 2), (3, 2)]));
}

#[test]
fn the_thread_writes_what_is_left_when_it_ends() {
    let state = tempfile::tempdir().unwrap();
    let (archive, ..) = open(state.path(), ME);
    let keeper = Keeper::start(Arc::clone(&archive)).unwrap();
    put(&archive, 1, 1);
    archive.complete();
    keeper.shutdown();
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded.complete, numbers), (true, BTreeMap::from([(1, 1)])));
}

#[test]
fn what_is_wiped_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let archive = filled(state.path());
    archive.wipe();
    assert_eq!((archive.get(tenant(1)), state.path().join(ASIDE).exists()), (None, false));
    let (_, loaded, numbers) = open(state.path(), ME);
    assert_eq!((loaded, numbers), (load::Loaded::default(), BTreeMap::new()));
    put(&archive, 1, 5);
    settle(&archive);
    assert_eq!(open(state.path(), ME).2, BTreeMap::from([(1, 5)]));
}
