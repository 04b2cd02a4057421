use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{
        decode_exact, delta,
        delta::{Misfit, apply, diff, join},
        digest, encode,
    },
    sample::{GOLDEN, Shape, snapshot},
};
use crate::v1::{Changes, resource::Body};

/// Snapshots of one tenant, which share some resources.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    (1u64..1_000, 1u8..5, 0u8..4, 0u8..5, 0u8..9, 0u8..4, any::<bool>()).prop_map(
        |(rev, upstreams, endpoints, clients, tools, grants, renamed)| {
            let mut made = snapshot(Shape { rev, upstreams, endpoints, clients, tools, grants });
            for resource in made.resources.iter_mut().filter(|_| renamed) {
                if let Some(Body::Client(client)) = &mut resource.body {
                    client.name.push('x');
                }
            }
            encode(&made)
        },
    )
}

fn rev(bytes: &[u8]) -> u64 {
    <crate::v1::TenantSnapshot as prost::Message>::decode(bytes).unwrap().rev
}

proptest! {
    #[test]
    fn changes_lead_to_exactly_the_later_bytes(before in stored(), after in stored()) {
        let changes = diff(&before, &after).unwrap();
        prop_assert_eq!(apply(&before, &changes, rev(&after)), Ok(after.clone()));
        prop_assert_eq!(diff(&after, &after), Some(Changes::default()));
        let read = decode_exact(&Bytes::from(after.clone())).unwrap();
        prop_assert_eq!(delta::digest(&after), Some(digest(&read)));
    }

    #[test]
    fn steps_put_together_lead_where_they_lead_one_by_one(steps in prop::collection::vec(stored(), 2..6)) {
        let changes: Vec<_> = steps.windows(2).map(|pair| diff(&pair[0], &pair[1]).unwrap()).collect();
        let last = steps.last().unwrap();
        let joined = join(changes).unwrap();
        prop_assert_eq!(apply(&steps[0], &joined, rev(last)), Ok(last.clone()));
    }

    /// What comes out of damaged parts is refused, or is bytes that the digest is then taken of. Nothing panics.
    #[test]
    fn damage_never_panics(before in stored(), after in stored(), at in any::<prop::sample::Index>(), byte in any::<u8>(), which in any::<bool>()) {
        let mut changes = diff(&before, &after).unwrap();
        let mut base = before.clone();
        if which || changes.upserts.is_empty() {
            let at = at.index(base.len());
            base[at] = byte;
        } else {
            let place = at.index(changes.upserts.len());
            let mut upsert = changes.upserts[place].to_vec();
            let at = at.index(upsert.len());
            upsert[at] = byte;
            changes.upserts[place] = Bytes::from(upsert);
        }
        let _refused = apply(&base, &changes, 9);
        let _refused = diff(&base, &after);
    }

    #[test]
    fn noise_never_panics(base in prop::collection::vec(any::<u8>(), 0..200), upsert in prop::collection::vec(any::<u8>(), 0..60)) {
        let changes = Changes { upserts: vec![Bytes::from(upsert)], tombstones: vec!["tenant".to_owned()] };
        let _refused = apply(&base, &changes, 2);
        let _refused = join([changes]);
        let _refused = diff(&base, &base);
    }
}

#[test]
fn one_changed_resource_is_one_upsert() {
    let before = snapshot(GOLDEN);
    let mut after = before.clone();
    after.rev += 1;
    let gone = after.resources.iter().position(|resource| resource.id.starts_with("key_")).unwrap();
    let gone = after.resources.remove(gone);
    let changes = diff(&encode(&before), &encode(&after)).unwrap();
    assert_eq!((changes.upserts.len(), changes.tombstones), (0, vec![gone.id]));
}

#[test]
fn changes_out_of_order_or_that_contradict_themselves_are_refused() {
    let base = encode(&snapshot(GOLDEN));
    let upsert = |at: usize| Bytes::from(prost::Message::encode_to_vec(&snapshot(GOLDEN).resources[at]));
    let id = |at: usize| snapshot(GOLDEN).resources[at].id.clone();
    for (upserts, tombstones) in [
        (vec![upsert(1), upsert(0)], vec![]),
        (vec![upsert(1), upsert(1)], vec![]),
        (vec![Bytes::new()], vec![]),
        (vec![], vec![id(1), id(0)]),
        (vec![upsert(1)], vec![id(1)]),
    ] {
        assert_eq!(apply(&base, &Changes { upserts, tombstones }, 8), Err(Misfit::Changes));
    }
    assert_eq!(apply(&base[1..], &Changes::default(), 8), Err(Misfit::Base));
    assert_eq!(diff(&base, &base[1..]), None);
    let mut foreign = snapshot(GOLDEN);
    foreign.tenant_id[0] ^= 1;
    assert_eq!(diff(&base, &encode(&foreign)), None);
}
