use wire::snapshot::delta::{self, Misfit};

use super::*;
use crate::snapshot::base::{Bases, InMemory};

fn digest_of(snapshot: &v1::TenantSnapshot) -> Vec<u8> {
    wire::snapshot::digest(snapshot).to_vec()
}

/// What leads from `before` to `after`.
fn between(before: &Sample, after: &Sample) -> v1::Delta {
    let bytes = |sample: &Sample| wire::snapshot::encode(&sample.snapshot);
    v1::Delta {
        nonce: 9,
        tenant_id: after.snapshot.tenant_id.clone(),
        from_rev: before.snapshot.rev,
        from_digest: digest_of(&before.snapshot),
        rev: after.snapshot.rev,
        digest: digest_of(&after.snapshot),
        changes: delta::diff(&bytes(before), &bytes(after)),
        keys: after.keys(),
        cuts: Vec::new(),
    }
}

/// A sample and the next revision, in which its key is gone and its endpoint has another name.
fn revoked() -> (Sample, Sample) {
    let (before, mut after) = (Sample::new(1), Sample::new(1));
    after.snapshot.rev = 2;
    after.snapshot.resources.retain(|resource| !resource.id.starts_with("key_"));
    after.edit(|body| {
        if let Body::Endpoint(endpoint) = body {
            endpoint.slug = "renamed".to_owned();
        }
    });
    (before, after)
}

#[test]
fn changes_give_what_the_whole_would_have_given() {
    let (before, after) = revoked();
    let bases = Arc::new(InMemory::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
    let snapshots = Snapshots::with_bases(clock, bases.clone());
    snapshots.apply(&before.replace()).expect("applies");
    let change = between(&before, &after);
    assert!(delta::size(change.changes.as_ref().expect("changes")) < 400);
    let applied = snapshots.amend(&change).expect("applies");
    assert_eq!(applied.version.rev, 2);
    assert_eq!(snapshots.versions()[&before.tenant].digest[..], after.replace().digest[..]);
    let fleet = snapshots.load();
    let (tenant, _) = fleet.endpoint(&before.slug, "renamed").expect("the endpoint");
    let presented = crypto::key::parse(KeyKind::ApiKey, &before.key_text).expect("a key");
    assert!(tenant.key(presented.lookup).is_none());
    let kept = bases.get(before.tenant).expect("kept");
    assert_eq!(kept.snapshot, after.replace().snapshot, "byte for byte what the control plane stored");

    // And from there on.
    let mut third = Sample::new(1);
    third.snapshot = after.snapshot.clone();
    third.snapshot.rev = 3;
    snapshots.amend(&between(&after, &third)).expect("applies");
    assert_eq!(snapshots.versions()[&before.tenant].rev, 3);
}

#[test]
fn what_does_not_fit_changes_nothing_and_says_so() {
    let (before, after) = revoked();
    let misfit = |prepare: &dyn Fn(&Snapshots, &InMemory, &mut v1::Delta)| {
        let bases = Arc::new(InMemory::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        let snapshots = Snapshots::with_bases(clock, bases.clone());
        snapshots.apply(&before.replace()).expect("applies");
        let mut change = between(&before, &after);
        prepare(&snapshots, &bases, &mut change);
        let held = snapshots.versions();
        let refused = snapshots.amend(&change).expect_err("must not fit");
        assert_eq!(snapshots.versions(), held);
        // The whole tenant helps.
        snapshots.apply(&after.replace()).expect("applies");
        match refused {
            DecodeError::Misfit(misfit) => misfit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(misfit(&|_, bases, _| bases.remove(before.tenant)), Misfit::Missing);
    assert_eq!(misfit(&|snapshots, _, _| snapshots.remove(before.tenant)), Misfit::Revision);
    assert_eq!(misfit(&|_, _, change| change.from_digest[0] ^= 1), Misfit::Revision);
    assert_eq!(misfit(&|_, _, change| change.digest[0] ^= 1), Misfit::Digest);
    assert_eq!(misfit(&|_, _, change| change.changes = None), Misfit::Changes);
    assert_eq!(
        misfit(&|_, _, change| change.changes.as_mut().expect("changes").tombstones.clear()),
        Misfit::Digest
    );
    // In the last resource's content: it can still be taken apart.
    let damage = |_: &Snapshots, bases: &InMemory, _: &mut v1::Delta| {
        let mut kept = before.replace();
        let mut bytes = kept.snapshot.to_vec();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        kept.snapshot = bytes.into();
        bases.put(before.tenant, &kept);
    };
    assert!(matches!(misfit(&damage), Misfit::Digest | Misfit::Base));
    let older = |_: &Snapshots, bases: &InMemory, _: &mut v1::Delta| {
        bases.put(before.tenant, &v1::Replace { rev: 7, ..before.replace() });
    };
    assert_eq!(misfit(&older), Misfit::Revision);
}

/// Adds `extra` to the bytes of the resource whose id begins with `prefix`.
fn grow(snapshot: &v1::TenantSnapshot, prefix: &str, extra: &[u8]) -> v1::Changes {
    use prost::Message as _;
    let resource = snapshot.resources.iter().find(|resource| resource.id.starts_with(prefix)).expect("there");
    let bytes = [resource.encode_to_vec(), extra.to_vec()].concat();
    v1::Changes { upserts: vec![bytes.into()], tombstones: Vec::new() }
}

/// As a control plane publishes it: the digest is that of what it stored.
fn published(before: &Sample, changes: v1::Changes) -> v1::Delta {
    let base = wire::snapshot::encode(&before.snapshot);
    let after = delta::apply(&base, &changes, 2).expect("canonical");
    let digest = delta::digest(&after).expect("canonical").to_vec();
    v1::Delta { rev: 2, digest, changes: Some(changes), ..between(before, before) }
}

#[test]
fn a_poisoned_change_is_refused_with_code_and_place_and_the_former_revision_stays() {
    let before = Sample::new(1);
    let snapshots = snapshots();
    snapshots.apply(&before.replace()).expect("applies");
    // A field of a newer schema, well within what was published.
    let newer = published(&before, grow(&before.snapshot, "ep_", &[0xf8, 0x3e, 1]));
    assert_eq!(snapshots.amend(&newer).expect_err("refused").code(), ErrorCode::SnapshotUndecodable);
    // A reference to nothing.
    let upstream = before.snapshot.resources.iter().find(|resource| resource.id.starts_with("ups_"));
    let dangling =
        v1::Changes { upserts: Vec::new(), tombstones: vec![upstream.expect("an upstream").id.clone()] };
    let refused = snapshots.amend(&published(&before, dangling)).expect_err("refused");
    assert_eq!(refused.code(), ErrorCode::SnapshotInvalid);
    assert!(refused.to_string().contains("_"), "names the resource: {refused}");
    // Keys that open nothing.
    let mut keyless = published(&before, v1::Changes::default());
    keyless.keys.clear();
    assert_eq!(snapshots.amend(&keyless), Err(DecodeError::Keys("current")));
    assert_eq!(snapshots.versions()[&before.tenant].rev, 1);
}

#[test]
fn a_change_that_makes_a_tenant_too_large_is_refused() {
    let before = Sample::new(1);
    let snapshots = snapshots();
    snapshots.apply(&before.replace()).expect("applies");
    let mut upserts = Vec::new();
    for n in 0..70_u8 {
        let id = ids::ToolId::from_parts(2, [n; 10]);
        let tool = v1::Tool { id: id.uuid().as_bytes().to_vec(), ..v1::Tool::default() };
        let definition = vec![b' '; wire::snapshot::MAX_DEFINITION].into();
        let body = Some(Body::Tool(v1::Tool { definition, ..tool }));
        upserts.push((
            id.to_string(),
            prost::Message::encode_to_vec(&v1::Resource { id: id.to_string(), body }),
        ));
    }
    upserts.sort();
    let upserts = upserts.into_iter().map(|(_, bytes)| bytes.into()).collect();
    let large = published(&before, v1::Changes { upserts, tombstones: Vec::new() });
    let refused = snapshots.amend(&large).expect_err("refused");
    assert_eq!(refused.code(), ErrorCode::SnapshotUndecodable);
    assert_eq!(refused.to_string(), "snapshot: is larger than 16 MiB");
}

/// Fails in every way a disk does.
#[derive(Debug)]
struct Broken;

impl Bases for Broken {
    fn get(&self, _: ids::TenantId) -> Option<v1::Replace> {
        panic!("broken")
    }

    fn put(&self, _: ids::TenantId, _: &v1::Replace) {
        panic!("broken")
    }

    fn remove(&self, _: ids::TenantId) {}
}

#[test]
fn a_panic_over_what_is_kept_neither_undoes_what_is_enforced_nor_goes_further() {
    let (before, after) = revoked();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
    let snapshots = Snapshots::with_bases(clock, Arc::new(Broken));
    assert!(snapshots.apply(&before.replace()).is_ok(), "it is enforced, so it is acknowledged");
    assert_eq!(snapshots.amend(&between(&before, &after)), Err(DecodeError::Panicked));
    assert_eq!(snapshots.versions()[&before.tenant].rev, 1);
}
