use bytes::Bytes;

use super::{
    super::{decode_exact, encode, validate},
    sample::{GOLDEN, id, raw, role, snapshot},
};
use crate::v1::{Member, Resource, TenantSnapshot, resource::Body};

fn with(change: impl FnOnce(&mut Member)) -> TenantSnapshot {
    let own = id::<ids::kind::Member>(1);
    let role_ids = vec![raw(role(1)), raw(role(2))];
    let mut member = Member { id: raw(own), enabled: true, role_ids };
    change(&mut member);
    let mut snapshot = snapshot(GOLDEN);
    snapshot.resources.push(Resource { id: own.to_string(), body: Some(Body::Member(member)) });
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

#[test]
fn a_member_is_read_back_as_it_was_written() {
    let snapshot = with(|_| {});
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
}

#[test]
fn what_a_member_may_not_be() {
    let refused = |change: fn(&mut Member)| validate(&with(change)).map_err(|invalid| invalid.detail);
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| it.id[0] ^= 1), Err("does not carry its own id"));
    assert_eq!(refused(|it| it.role_ids.reverse()), Err("endpoints or roles are out of order or repeat"));
    assert_eq!(refused(|it| it.role_ids[0].truncate(15)), Err("an endpoint's or role's id is not 16 bytes"));
    let many = |it: &mut Member| it.role_ids = (0..1_025_u128).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(refused(many), Err("has too many endpoints or roles"));
}
