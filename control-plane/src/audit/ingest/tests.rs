use super::*;

const BOOT: [u8; 16] = [7; 16];

fn proxy() -> ProxyId {
    ProxyId::from_parts(1, [1; 10])
}

fn record(seq: u64, change: impl FnOnce(&mut v1::AuditRecord)) -> Bytes {
    let mut record = v1::AuditRecord {
        version: 1,
        tenant_id: TenantId::from_parts(1, [2; 10]).uuid().as_bytes().to_vec(),
        proxy_id: proxy().uuid().as_bytes().to_vec(),
        boot: BOOT.to_vec(),
        seq,
        at_micros: 1_000_000,
        phase: v1::Phase::Outcome.into(),
        decision: v1::Decision::Allowed.into(),
        ..v1::AuditRecord::default()
    };
    change(&mut record);
    record.encode_to_vec().into()
}

fn read(records: Vec<Bytes>) -> Result<Batch, Refused> {
    Batch::read(v1::AuditBatch { boot: BOOT.to_vec(), records }, proxy(), Timestamp::from_secs(5))
}

fn refused(change: impl FnOnce(&mut v1::AuditRecord)) -> Refused {
    read(vec![record(1, change)]).expect_err("refused")
}

#[test]
fn records_keep_their_bytes_and_leaf_hash() {
    let bytes = record(3, |_| {});
    let batch = read(vec![bytes.clone()]).expect("a batch");
    assert_eq!(batch.rows[0].body, bytes);
    assert_eq!(batch.rows[0].leaf_hash, crypto::digest::leaf_hash(&bytes));
    assert_eq!(batch.last_seq(), 3);
}

#[test]
fn what_is_not_this_proxys_own_is_refused() {
    let other = ProxyId::from_parts(1, [9; 10]);
    assert_eq!(refused(|record| record.proxy_id = other.uuid().as_bytes().to_vec()), Refused::Foreign);
    assert_eq!(refused(|record| record.proxy_id.clear()), Refused::Foreign);
    assert_eq!(refused(|record| record.boot = vec![8; 16]), Refused::Foreign);
    assert_eq!(refused(|record| record.phase = v1::Phase::Act.into()), Refused::Record);
}

#[test]
fn what_is_not_canonical_is_refused() {
    assert_eq!(refused(|record| record.version = 2), Refused::Record);
    assert_eq!(refused(|record| record.phase = 77), Refused::Record);
    assert_eq!(refused(|record| record.tenant_id = vec![1; 3]), Refused::Record);
    assert_eq!(read(vec![Bytes::from_static(&[0xff; 9])]).expect_err("refused"), Refused::Record);
    // Field 100, a varint: a newer proxy's.
    let newer = [&record(1, |_| {})[..], &[0xa0, 0x06, 0x01]].concat();
    assert_eq!(read(vec![newer.into()]).expect_err("refused"), Refused::Record);
    assert_eq!(read(Vec::new()).expect_err("refused"), Refused::Batch);
}

#[test]
fn numbers_must_rise_and_holes_are_found() {
    let plain = |seq| record(seq, |_| {});
    assert_eq!(read(vec![plain(2), plain(2)]).expect_err("refused"), Refused::Order);
    let batch = read(vec![plain(5), plain(6), plain(9)]).expect("a batch");
    assert_eq!(batch.gaps(4), [(7, 8)]);
    assert_eq!(batch.gaps(0), [(1, 4), (7, 8)]);
    assert_eq!(batch.gaps(9), []);
    assert_eq!(batch.gaps(6), [(7, 8)]);
}

#[test]
fn the_greatest_number_there_is_does_no_harm() {
    let greatest = i64::MAX as u64;
    let batch = read(vec![record(greatest, |_| {})]).expect("a batch");
    assert_eq!(batch.gaps(0), [(1, i64::MAX - 1)]);
    assert_eq!(batch.gaps(i64::MAX), []);
    assert_eq!(read(vec![record(greatest + 1, |_| {})]).expect_err("refused"), Refused::Record);
}
