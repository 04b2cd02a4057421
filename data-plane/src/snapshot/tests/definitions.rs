//! What comes without its definitions.

use wire::snapshot::{
    definitions::{Address, LEAST, address, cut, find, find_changed},
    delta::{self, Misfit},
};

use super::*;
use crate::snapshot::base::{Bases, InMemory};

/// As it goes over the wire, and the definitions that it needs.
fn cut_out(sample: &Sample) -> (v1::Replace, v1::Definitions) {
    let whole = sample.replace();
    let places = find(&whole.snapshot);
    assert!(!places.is_empty(), "its definition has {LEAST} bytes and more");
    let definitions = places.iter().map(|place| place.of(&whole.snapshot)).collect();
    let (snapshot, cuts) = cut(&whole.snapshot, 0, &places);
    (v1::Replace { snapshot, cuts, ..whole }, v1::Definitions { definitions })
}

/// The only tool's definition, where it lies in memory.
fn definition(snapshots: &Snapshots, sample: &Sample) -> Bytes {
    let fleet = snapshots.load();
    let upstreams = &fleet.tenant(sample.tenant).expect("a tenant").upstreams;
    let mut tools = upstreams.values().flat_map(|upstream| upstream.tools.values());
    tools.next().expect("a tool").definition.clone()
}

fn kept() -> (Snapshots, Arc<InMemory>) {
    let bases = Arc::new(InMemory::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
    (Snapshots::with_bases(clock, bases.clone()), bases)
}

#[test]
fn tenants_that_come_without_a_definition_share_the_one_that_is_held() {
    let (snapshots, bases) = kept();
    let (first, second) = (Sample::new(1), Sample::new(2));
    let (replace, definitions) = cut_out(&first);
    snapshots.learn(&definitions);
    snapshots.apply(&replace).expect("applies");
    assert_eq!(snapshots.definitions(), address(&definitions.definitions[0])[..8], "and is told of");
    let (replace, _) = cut_out(&second);
    snapshots.apply(&replace).expect("applies");
    assert_eq!(definition(&snapshots, &first).as_ptr(), definition(&snapshots, &second).as_ptr());
    for sample in [first, second] {
        let kept = bases.get(sample.tenant).expect("kept");
        assert_eq!((kept.snapshot, kept.cuts), (sample.replace().snapshot, Vec::new()), "with all it has");
    }
}

#[test]
fn a_change_comes_without_a_definition_that_is_held() {
    let (snapshots, bases) = kept();
    let (before, mut after) = (Sample::new(1), Sample::new(1));
    snapshots.apply(&before.replace()).expect("applies");
    after.snapshot.rev = 2;
    after.edit(|body| {
        if let Body::Tool(tool) = body {
            tool.cost = 7;
        }
    });
    let (old, new) = (before.replace(), after.replace());
    let mut changes = delta::diff(&old.snapshot, &new.snapshot).expect("canonical");
    let places = find_changed(&changes);
    let (rest, cuts) = cut(&changes.upserts[0], 0, &places[0]);
    changes.upserts[0] = rest;
    let change = v1::Delta {
        tenant_id: old.tenant_id,
        from_rev: 1,
        from_digest: old.digest,
        rev: 2,
        digest: new.digest.clone(),
        changes: Some(changes),
        keys: new.keys.clone(),
        cuts,
        ..Default::default()
    };
    snapshots.amend(&change).expect("applies");
    assert_eq!(bases.get(before.tenant).expect("kept").snapshot, new.snapshot);
    let foreign = v1::Cut { address: vec![9; 32], ..change.cuts[0].clone() };
    let change = v1::Delta { cuts: vec![foreign], ..change };
    assert_eq!(snapshots.amend(&change).expect_err("not held"), Misfit::Definition.into());
}

#[test]
fn one_that_is_not_held_is_asked_for_and_one_in_the_wrong_place_refused() {
    let (snapshots, _) = kept();
    let (former, sample) = (Sample::new(1), Sample::new(1));
    snapshots.apply(&former.replace()).expect("applies");
    let (replace, definitions) = cut_out(&sample);
    let mut unknown = replace.clone();
    unknown.cuts[0].address = vec![9; 32];
    assert_eq!(snapshots.apply(&unknown).expect_err("not held"), Misfit::Definition.into());
    // Another definition than the tenant's, which somebody else's has: it is the digest that says so.
    let mut other = definitions.definitions[0].to_vec();
    other[10] ^= 1;
    let other = Bytes::from(other);
    snapshots.learn(&v1::Definitions { definitions: vec![other.clone()] });
    let mut mixed = replace.clone();
    mixed.cuts[0].address = address(&other).to_vec();
    assert_eq!(snapshots.apply(&mixed), Err(DecodeError::Digest));
    let mut elsewhere = replace;
    elsewhere.cuts[0].at -= 1;
    let refused = snapshots.apply(&elsewhere).expect_err("refused");
    assert!(matches!(refused, DecodeError::Snapshot(_) | DecodeError::Digest), "{refused}");
    let known: Address = address(&definitions.definitions[0]);
    assert_eq!(address(&definition(&snapshots, &former)), known, "the former one stays");
}
