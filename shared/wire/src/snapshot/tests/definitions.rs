use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{
        MAX_DEFINITION,
        definitions::{Address, LEAST, address, cut, find, find_changed, restore, restore_changed},
        delta::{Misfit, diff},
        encode,
    },
    sample::{Shape, snapshot},
};
use crate::v1::{Changes, Cut, resource::Body};

/// A snapshot whose tools have definitions of these lengths in turn; equal lengths are equal definitions.
fn stored(rev: u64, lengths: &[usize]) -> Bytes {
    let mut made = snapshot(Shape { rev, upstreams: 2, endpoints: 1, clients: 1, tools: 9, grants: 1 });
    let tools = made.resources.iter_mut().filter_map(|resource| match &mut resource.body {
        Some(Body::Tool(tool)) if !tool.definition.is_empty() => Some(tool),
        _ => None,
    });
    for (tool, length) in tools.zip(lengths.iter().cycle()) {
        tool.definition = vec![b'a' + (length % 26) as u8; *length].into();
    }
    encode(&made).into()
}

fn held(bytes: &Bytes) -> HashMap<Address, Bytes> {
    find(bytes).iter().map(|place| (place.address, place.of(bytes))).collect()
}

proptest! {
    #[test]
    fn what_is_cut_out_goes_back(lengths in prop::collection::vec(1usize..400, 1..8), some in any::<u16>()) {
        let bytes = stored(1, &lengths);
        let places = find(&bytes);
        let expected = lengths.iter().cycle().take(6).filter(|length| **length >= LEAST).count();
        prop_assert_eq!(places.len(), expected);
        let held = held(&bytes);
        prop_assert!(held.iter().all(|(known, definition)| address(definition) == *known));
        // Some of them, as where the proxy holds some.
        let chosen: Vec<_> = (0..).zip(&places).filter(|(n, _)| some & 1 << n != 0).map(|(_, place)| place.clone()).collect();
        let (rest, cuts) = cut(&bytes, 0, &chosen);
        let gone: usize = chosen.iter().map(|place| place.of(&bytes).len()).sum();
        prop_assert_eq!(rest.len() + gone, bytes.len());
        prop_assert_eq!(restore(&rest, &cuts, |address| held.get(address).cloned()), Ok(bytes));
    }

    #[test]
    fn changes_get_back_what_was_cut_out(before in prop::collection::vec(60usize..200, 1..8), after in prop::collection::vec(60usize..200, 1..8)) {
        let (before, after) = (stored(1, &before), stored(2, &after));
        let whole = diff(&before, &after).unwrap();
        let mut changes = whole.clone();
        let mut cuts = Vec::new();
        for ((number, upsert), place) in (0..).zip(&mut changes.upserts).zip(&find_changed(&whole)) {
            let (rest, cut) = cut(upsert, number, place);
            *upsert = rest;
            cuts.extend(cut);
        }
        let held = held(&after);
        prop_assert_eq!(restore_changed(&changes, &cuts, |address| held.get(address).cloned()), Ok(whole));
    }

    #[test]
    fn noise_is_put_together_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), cuts in prop::collection::vec((0u32..3, any::<u8>(), 0usize..40), 0..5)) {
        let cuts: Vec<_> = cuts.into_iter().map(|(upsert, at, length)| Cut { upsert, at: at.into(), address: vec![1; length] }).collect();
        let held = |_: &Address| Some(Bytes::from_static(b"x"));
        let _refused = find(&bytes);
        let _refused = restore(&bytes.clone().into(), &cuts, held);
        let changes = Changes { upserts: vec![bytes.into()], tombstones: Vec::new() };
        let _refused = find_changed(&changes);
        let _refused = restore_changed(&changes, &cuts, held);
    }
}

#[test]
fn what_cannot_be_put_back_is_told_apart() {
    let bytes = stored(1, &[100, 200]);
    let (rest, cuts) = cut(&bytes, 0, &find(&bytes));
    let held = held(&bytes);
    let get = |address: &Address| held.get(address).cloned();
    assert_eq!(restore(&rest, &cuts, |_| None), Err(Misfit::Definition));
    let mut swapped = cuts.clone();
    swapped.swap(0, 1);
    assert_eq!(restore(&rest, &swapped, get), Err(Misfit::Cuts));
    let beyond = Cut { at: rest.len() as u32 + 1, ..cuts[0].clone() };
    assert_eq!(restore(&rest, &[beyond], get), Err(Misfit::Cuts));
    let short = Cut { address: vec![1; 31], ..cuts[0].clone() };
    assert_eq!(restore(&rest, &[short], get), Err(Misfit::Cuts));
    // A few names for very much.
    let large = Bytes::from(vec![b'a'; MAX_DEFINITION]);
    let many = vec![Cut { at: 0, ..cuts[0].clone() }; 100];
    assert_eq!(restore(&rest, &many, |_| Some(large.clone())), Err(Misfit::Cuts));
    let upserts = vec![Bytes::new(); 100];
    let spread: Vec<_> = (0..100).map(|upsert| Cut { upsert, at: 0, ..cuts[0].clone() }).collect();
    let changes = Changes { upserts, tombstones: Vec::new() };
    assert_eq!(restore_changed(&changes, &spread, |_| Some(large.clone())), Err(Misfit::Cuts));
    let nowhere = [Cut { upsert: 100, at: 0, ..cuts[0].clone() }];
    assert_eq!(restore_changed(&changes, &nowhere, get), Err(Misfit::Cuts));
    let back = [spread[1].clone(), spread[0].clone()];
    assert_eq!(restore_changed(&changes, &back, get), Err(Misfit::Cuts));
}
