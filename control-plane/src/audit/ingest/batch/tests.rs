use ids::TenantId;

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

fn plain(seq: u64) -> Bytes {
    record(seq, |_| {})
}

fn read_until(records: Vec<Bytes>, last_seq: u64) -> Batch {
    let message = v1::AuditBatch { boot: BOOT.to_vec(), records, last_seq, spool_bytes: 9 };
    Batch::read(message, proxy(), Timestamp::from_secs(5)).expect("a batch")
}

fn read(records: Vec<Bytes>) -> Batch {
    read_until(records, 0)
}

/// What is wrong with a record between two good ones; these must stay.
fn fault(change: impl FnOnce(&mut v1::AuditRecord)) -> Fault {
    let bad = record(2, change);
    let batch = read(vec![plain(1), bad.clone(), plain(3)]);
    let kept: Vec<_> = batch.rows.iter().map(|row| row.seq).collect();
    assert_eq!(kept, [1, 3]);
    let [(fault, bytes)] = &batch.set_aside[..] else { panic!("{:?}", batch.set_aside) };
    assert_eq!(*bytes, bad, "with its bytes");
    *fault
}

#[test]
fn records_keep_their_bytes_and_leaf_hash() {
    let bytes = plain(3);
    let batch = read(vec![bytes.clone()]);
    assert_eq!(batch.rows[0].body, bytes);
    assert_eq!(batch.rows[0].leaf_hash, crypto::digest::leaf_hash(&bytes));
    assert_eq!((batch.last_seq, batch.recorder, batch.spool_bytes), (3, proxy().uuid(), 9));
}

#[test]
fn what_is_anothers_is_set_aside() {
    let other = ProxyId::from_parts(1, [9; 10]);
    assert_eq!(fault(|record| record.proxy_id = other.uuid().as_bytes().to_vec()), Fault::Foreign);
    assert_eq!(fault(|record| record.proxy_id.clear()), Fault::Foreign);
    assert_eq!(fault(|record| record.boot = vec![8; 16]), Fault::Foreign);
    assert_eq!(fault(|record| record.tenant_id = vec![0; 16]), Fault::Tenant);
    assert_eq!(fault(|record| record.phase = v1::Phase::Act.into()), Fault::Form);
}

#[test]
fn what_is_not_canonical_is_set_aside() {
    assert_eq!(fault(|record| record.version = 0), Fault::Form);
    assert_eq!(fault(|record| record.version = u32::MAX), Fault::Form);
    // The first layout has no token.
    assert_eq!(fault(|record| record.token_id = vec![1; 16]), Fault::Form);
    // Nor a member, which the second has not either.
    for version in [1, 2] {
        let named = |record: &mut v1::AuditRecord| {
            (record.version, record.member_id) = (version, vec![1; 16]);
        };
        assert_eq!(fault(named), Fault::Form, "{version}");
    }
    // Nor does any of them say how the caller showed who it is, as the fourth does.
    for version in [1, 2, 3] {
        let changes: [fn(&mut v1::AuditRecord); 4] = [
            |record| record.credential = v1::CredentialKind::Basic.into(),
            |record| record.issuer_id = vec![1; 16],
            |record| record.subject_hash = vec![1; 32],
            |record| record.certificate_digest = vec![1; 32],
        ];
        for change in changes {
            let said = |record: &mut v1::AuditRecord| {
                record.version = version;
                change(record);
            };
            assert_eq!(fault(said), Fault::Form, "{version}");
        }
    }
    let unknown = |record: &mut v1::AuditRecord| (record.version, record.credential) = (4, 77);
    assert_eq!(fault(unknown), Fault::Form);
    assert_eq!(fault(|record| record.phase = 77), Fault::Form);
    assert_eq!(fault(|record| record.tenant_id = vec![1; 3]), Fault::Form);
    assert_eq!(fault(|record| record.seq = u64::MAX), Fault::Form);
    assert_eq!(read(vec![Bytes::from_static(&[0xff; 9])]).set_aside[0].0, Fault::Form);
    // Field 100, a varint: a newer proxy's.
    let newer = [&plain(1)[..], &[0xa0, 0x06, 0x01]].concat();
    assert_eq!(read(vec![newer.into()]).set_aside[0].0, Fault::Form);
}

#[test]
fn no_batch_is_none() {
    let none = |boot: &[u8], records| {
        let message = v1::AuditBatch { boot: boot.to_vec(), records, ..v1::AuditBatch::default() };
        Batch::read(message, proxy(), Timestamp::from_secs(5)).expect_err("none")
    };
    assert_eq!(none(&BOOT, Vec::new()), NoBatch::Shape);
    assert_eq!(none(&BOOT[..15], vec![plain(1)]), NoBatch::Shape);
    assert_eq!(none(&BOOT, vec![plain(1); MAX_RECORDS + 1]), NoBatch::Shape);
    // Kept by the proxy until the control plane understands it.
    assert_eq!(none(&BOOT, vec![plain(1), record(2, |record| record.version = 5)]), NoBatch::Newer);
}

#[test]
fn a_spool_that_another_proxy_left_is_its_own() {
    let other = ProxyId::from_parts(1, [9; 10]).uuid();
    let theirs = |seq| record(seq, |record| record.proxy_id = other.as_bytes().to_vec());
    let batch = read(vec![theirs(1), theirs(2), plain(3)]);
    assert_eq!((batch.recorder, batch.rows.len()), (other, 2));
    assert_eq!(batch.set_aside[0].0, Fault::Foreign, "one batch is of one recorder");
}

#[test]
fn numbers_must_rise_and_holes_are_found() {
    let again = read(vec![plain(2), plain(2)]);
    assert_eq!((again.rows.len(), again.set_aside[0].0), (1, Fault::Order));
    let batch = read(vec![plain(5), plain(6), plain(9)]);
    assert_eq!(batch.gaps(4), [(7, 8)]);
    assert_eq!(batch.gaps(0), [(1, 4), (7, 8)]);
    assert_eq!(batch.gaps(9), []);
    assert_eq!(batch.gaps(6), [(7, 8)]);
}

#[test]
fn what_was_set_aside_is_no_hole_unless_it_cannot_be_read() {
    let newer = Bytes::from([&plain(6)[..], &[0xa0, 0x06, 0x01]].concat());
    let damaged = Bytes::from_static(&[0xff; 9]);
    assert_eq!(read(vec![plain(5), newer, plain(7)]).gaps(4), []);
    assert_eq!(read(vec![plain(5), damaged.clone(), plain(7)]).gaps(4), [(6, 6)]);
    let last = read_until(vec![plain(5), damaged], 6);
    assert_eq!((last.last_seq, last.gaps(4)), (6, vec![(6, 6)]));
    let mut batch = read(vec![plain(1), plain(2)]);
    batch.sift(|row| (row.seq == 2).then_some(Fault::Tenant));
    assert_eq!((batch.rows.len(), batch.set_aside.len(), batch.gaps(0)), (1, 1, vec![]));
}

#[test]
fn the_greatest_number_there_is_does_no_harm() {
    let greatest = i64::MAX as u64;
    let batch = read(vec![record(greatest, |_| {})]);
    assert_eq!(batch.gaps(0), [(1, i64::MAX - 1)]);
    assert_eq!(batch.gaps(i64::MAX), []);
    assert_eq!(read(vec![record(greatest + 1, |_| {})]).set_aside[0].0, Fault::Form);
}
