use std::{fs::OpenOptions, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ids::{ProxyId, TenantId};
use prost::Message as _;
use seams::{ManualClock, Timestamp};
use wire::v1::AuditRecord;

use super::*;

const LONG: Duration = Duration::from_secs(5);

fn config(dir: &Path, boot: u8) -> Config {
    Config {
        dir: dir.to_path_buf(),
        proxy: ProxyId::from_parts(1, [9; 10]),
        boot: [boot; 16],
        quota_bytes: 1 << 20,
        tenant_quota_bytes: 1 << 19,
        segment_bytes: 1 << 16,
        sync_within: Duration::from_millis(50),
    }
}

fn open(config: Config) -> Arc<Spool> {
    let clock = ManualClock::at(Timestamp::from_secs(u64::from(config.boot[0])));
    Spool::open(config, Arc::new(clock)).unwrap()
}

fn tenant(n: u8) -> Vec<u8> {
    TenantId::from_parts(1, [n; 10]).uuid().as_bytes().to_vec()
}

fn record(method: &str) -> AuditRecord {
    AuditRecord { version: 1, tenant_id: tenant(1), method: method.to_owned(), ..AuditRecord::default() }
}

fn drafts(records: &[AuditRecord]) -> Vec<Draft> {
    records.iter().map(Draft::of).collect()
}

fn write(spool: &Spool, count: usize) {
    for i in 0..count {
        spool.append(&drafts(&[record(&format!("call {i}"))])).unwrap();
    }
}

/// (boot, seq) of everything there is to upload.
fn read_all(spool: &Arc<Spool>) -> Vec<(u8, u64)> {
    let mut reader = spool.reader();
    let mut found = Vec::new();
    while let Some(batch) = reader.next_batch(300).unwrap() {
        found.extend(names(&batch));
    }
    found
}

fn names(batch: &Batch) -> Vec<(u8, u64)> {
    let decode = |bytes: &Bytes| AuditRecord::decode(bytes.clone()).unwrap();
    let names: Vec<_> = batch.records.iter().map(|bytes| (batch.boot[0], decode(bytes).seq)).collect();
    assert_eq!(names.last().map(|(_, seq)| *seq), Some(batch.last_seq));
    assert!(batch.records.iter().all(|bytes| decode(bytes).boot == batch.boot));
    names
}

fn only_segment(dir: &Path, boot: u8) -> PathBuf {
    dir.join(hex::encode([boot; 16])).join("00000001.seg")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}

fn expected(boot: u8, seqs: impl IntoIterator<Item = u64>) -> Vec<(u8, u64)> {
    seqs.into_iter().map(|seq| (boot, seq)).collect()
}

#[test]
fn records_are_named_read_in_order_and_deleted_when_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(config(dir.path(), 1));
    assert_eq!(spool.append(&drafts(&[record("a"), record("b")])).unwrap(), 2);
    assert_eq!(spool.append(&drafts(&[record("c")])).unwrap(), 3);
    let mut reader = spool.reader();
    let batch = reader.next_batch(1 << 20).unwrap().unwrap();
    assert_eq!(names(&batch), expected(1, 1..=3));
    let first = AuditRecord::decode(batch.records[0].clone()).unwrap();
    assert_eq!(first.method, "a");
    assert_eq!(first.proxy_id, ProxyId::from_parts(1, [9; 10]).uuid().as_bytes());
    assert_eq!(first.encode_to_vec(), batch.records[0]);
    assert_eq!(reader.next_batch(1 << 20).unwrap(), None);

    spool.acknowledge([1; 16], 2);
    reader.rewind();
    assert_eq!(names(&reader.next_batch(1 << 20).unwrap().unwrap()), expected(1, [3]));
    write(&spool, 1);
    assert_eq!(names(&reader.next_batch(1 << 20).unwrap().unwrap()), expected(1, [4]));
    spool.acknowledge([1; 16], 4);
    spool.close();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_restart_uploads_older_boots_first_and_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for boot in [3, 1, 2] {
        // The clock says when each boot was, not the boot's name.
        let at = Timestamp::from_secs(100 - u64::from(boot));
        let spool = Spool::open(config(dir.path(), boot), Arc::new(ManualClock::at(at))).unwrap();
        write(&spool, 2);
    }
    let spool = open(Config { segment_bytes: 100, ..config(dir.path(), 200) });
    write(&spool, 3);
    let all = [expected(3, 1..=2), expected(2, 1..=2), expected(1, 1..=2), expected(200, 1..=3)].concat();
    assert_eq!(read_all(&spool), all);

    spool.acknowledge([3; 16], 2);
    spool.acknowledge([2; 16], 1);
    assert!(!dir.path().join(hex::encode([3; 16])).exists());
    assert_eq!(read_all(&spool), all[3..]);
}

#[test]
fn rotation_keeps_order_and_acknowledgement_deletes_whole_segments() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(Config { segment_bytes: 400, ..config(dir.path(), 1) });
    let mut reader = spool.reader();
    let mut seen = Vec::new();
    for round in 0..20 {
        write(&spool, 3);
        while let Some(batch) = reader.next_batch(150).unwrap() {
            seen.extend(names(&batch));
        }
        if round % 4 == 3 {
            spool.acknowledge([1; 16], seen.last().unwrap().1 - 2);
        }
    }
    assert_eq!(seen, expected(1, 1..=60));
    assert!(spool.unacknowledged_bytes() < 1500, "{}", spool.unacknowledged_bytes());
    assert_eq!(read_all(&spool).first(), Some(&(1, 59)));
}

#[test]
fn a_file_cut_at_any_byte_gives_back_every_whole_record() {
    let origin = tempfile::tempdir().unwrap();
    let spool = open(config(origin.path(), 1));
    let mut ends = vec![frame::HEADER as u64];
    for i in 0..5 {
        write(&spool, 1);
        ends.push(spool.inner.lock().segments.back().unwrap().len);
        assert!(i < 5);
    }
    drop(spool);
    let whole = *ends.last().unwrap();
    for cut in 0..=whole {
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        let file = OpenOptions::new().write(true).open(only_segment(dir.path(), 1)).unwrap();
        file.set_len(cut).unwrap();
        let spool = open(config(dir.path(), 2));
        let kept = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1) as u64;
        assert_eq!(read_all(&spool), expected(1, 1..=kept), "cut at {cut}");
        assert!(!only_segment(dir.path(), 1).with_extension("corrupt").exists(), "cut at {cut}");
        // What follows is named anew and does not disturb what was recovered.
        write(&spool, 1);
        assert_eq!(read_all(&spool).last(), Some(&(2, 1)));
    }
}

#[test]
fn a_changed_byte_loses_at_most_its_own_record_and_is_noticed() {
    let origin = tempfile::tempdir().unwrap();
    let spool = open(config(origin.path(), 1));
    let mut ends = vec![frame::HEADER];
    for _ in 0..4 {
        write(&spool, 1);
        ends.push(spool.inner.lock().segments.back().unwrap().len as usize);
    }
    drop(spool);
    let bytes = fs::read(only_segment(origin.path(), 1)).unwrap();
    for at in 0..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        let path = only_segment(dir.path(), 1);
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let spool = open(config(dir.path(), 2));
        let found = read_all(&spool);
        let hit = ends.iter().position(|end| at < *end).unwrap() as u64;
        let last = ends.len() as u64 - 1;
        let set_aside = path.with_extension("corrupt").exists();
        match hit {
            0 => assert!(found.is_empty() && set_aside, "header, byte {at}"),
            // The last record is indistinguishable from one that was being written.
            hit if hit == last => {
                assert_eq!(found, expected(1, 1..last), "byte {at}");
                assert!(!set_aside);
            }
            hit => {
                let others = (1..=last).filter(|seq| *seq != hit);
                assert_eq!(found, expected(1, others), "byte {at}");
                assert!(set_aside, "byte {at}");
            }
        }
        // The repair is final: another start finds nothing more to repair.
        drop(spool);
        let again = open(config(dir.path(), 3));
        assert_eq!(read_all(&again), found);
    }
}

#[test]
fn damage_while_the_proxy_runs_is_stepped_over_and_kept() {
    let origin = tempfile::tempdir().unwrap();
    let spool = open(config(origin.path(), 1));
    let mut ends = vec![frame::HEADER];
    for _ in 0..5 {
        write(&spool, 1);
        ends.push(spool.inner.lock().segments.back().unwrap().len as usize);
    }
    let path = only_segment(origin.path(), 1);
    let bytes = fs::read(&path).unwrap();
    for at in ends[1]..ends[3] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let hit = if at < ends[2] { 2 } else { 3 };
        assert_eq!(read_all(&spool), expected(1, (1..=5).filter(|seq| *seq != hit)), "byte {at}");
        assert_eq!(fs::read(path.with_extension("corrupt")).unwrap(), damaged, "byte {at}");
    }
    // What was acknowledged goes, what was damaged stays to be looked at.
    spool.acknowledge([1; 16], 5);
    spool.close();
    assert!(!path.exists() && path.with_extension("corrupt").exists());
}

#[test]
fn what_was_not_read_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(Config { segment_bytes: 400, ..config(dir.path(), 1) });
    let mut reader = spool.reader();
    assert_eq!(reader.unread(), 0);
    write(&spool, 20);
    let all = reader.unread();
    assert!(all > 1000);
    reader.next_batch(100).unwrap().unwrap();
    assert!(reader.unread() < all);
    while reader.next_batch(100).unwrap().is_some() {}
    assert_eq!(reader.unread(), 0);
    reader.rewind();
    assert_eq!(reader.unread(), all);
}

#[test]
fn an_interrupted_repair_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(config(dir.path(), 1));
    write(&spool, 3);
    drop(spool);
    let path = only_segment(dir.path(), 1);
    // Killed after the damaged file was set aside, before the rewritten one took its name.
    fs::rename(&path, path.with_extension("rewrite")).unwrap();
    fs::write(path.with_extension("corrupt"), b"damaged").unwrap();
    assert_eq!(read_all(&open(config(dir.path(), 2))), expected(1, 1..=3));
    // Killed while the rewritten file was being written.
    fs::write(path.with_extension("rewrite"), b"half").unwrap();
    assert_eq!(read_all(&open(config(dir.path(), 3))), expected(1, 1..=3));
    assert!(!path.with_extension("rewrite").exists());
}

#[test]
fn quotas_refuse_and_acknowledgement_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(Config { quota_bytes: 4000, tenant_quota_bytes: 2000, ..config(dir.path(), 1) });
    let mut other = record("other");
    other.tenant_id = tenant(2);
    let full = loop {
        if let Err(error) = spool.append(&drafts(&[record("x")])) {
            break error;
        }
    };
    assert!(matches!(full, SpoolError::TenantFull), "{full}");
    assert_eq!(full.code(), ErrorCode::AuditUnavailable);
    // A flood of one tenant does not close another.
    spool.append(&drafts(&[other.clone()])).unwrap();
    let last = loop {
        match spool.append(&drafts(&[other.clone()])) {
            Ok(seq) => assert!(seq < 1000),
            Err(error) => break error,
        }
    };
    assert!(matches!(last, SpoolError::TenantFull | SpoolError::Full), "{last}");
    let upto = read_all(&spool).last().unwrap().1;
    spool.acknowledge([1; 16], upto);
    // No number was spent on what was refused.
    assert_eq!(spool.append(&drafts(&[record("x")])).unwrap(), upto + 1);
    assert_eq!(read_all(&spool), expected(1, [upto + 1]));
}

#[test]
fn a_record_that_is_too_long_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(config(dir.path(), 1));
    let long = record(&"x".repeat(frame::MAX_RECORD));
    let error = spool.append(&drafts(&[record("first"), long])).unwrap_err();
    assert!(matches!(error, SpoolError::TooLong));
    write(&spool, 1);
    assert_eq!(read_all(&spool), expected(1, [1]));
}

#[tokio::test]
async fn durable_drained_and_more_wake_up() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(config(dir.path(), 1));
    let reader = spool.reader();
    tokio::time::timeout(LONG, spool.drained()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), reader.more()).await.is_err());
    let seq = spool.append(&drafts(&[record("a")])).unwrap();
    tokio::time::timeout(LONG, reader.more()).await.unwrap();

    let syncing = spool.clone();
    let thread = std::thread::spawn(move || {
        syncing.register_syncer();
        syncing.wait_for_work(LONG);
        syncing.sync();
    });
    tokio::time::timeout(LONG, spool.durable(seq)).await.unwrap().unwrap();
    thread.join().unwrap();

    let waiting = spool.clone();
    let drained = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        waiting.acknowledge([1; 16], seq);
    });
    tokio::time::timeout(LONG, spool.drained()).await.unwrap();
    drained.join().unwrap();
}
