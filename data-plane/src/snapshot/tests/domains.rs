//! Domains: one tenant's at a time, in whatever order a proxy learns of it.

use ids::{DomainId, TenantId};
use wire::v1::{Domain, Resource, resource::Body};

use super::{super::fleet::Holder, Sample, Snapshots, snapshots};

fn claim(sample: &mut Sample, name: &str) {
    let id = DomainId::from_parts(1, [sample.snapshot.rev as u8; 10]);
    let body = Domain {
        id: id.uuid().as_bytes().to_vec(),
        name: name.to_owned(),
        endpoint_id: Vec::new(),
        certificate: None,
    };
    sample.snapshot.resources.push(Resource { id: id.to_string(), body: Some(Body::Domain(body)) });
    sample.snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    sample.snapshot.rev += 1;
}

fn give_up(sample: &mut Sample) {
    sample.snapshot.resources.retain(|resource| !resource.id.starts_with("dom_"));
    sample.snapshot.rev += 1;
}

/// `None`: nobody's.
fn holder(snapshots: &Snapshots) -> Result<Option<TenantId>, ()> {
    match snapshots.load().domain("mcp.acme.example") {
        Holder::Nobody => Ok(None),
        Holder::One(tenant, domain) => {
            assert_eq!(domain.endpoint, None);
            Ok(Some(tenant.id))
        }
        Holder::Contested => Err(()),
    }
}

#[test]
fn a_domain_goes_from_one_tenant_to_another_and_is_never_both_s() {
    let (snapshots, mut a, mut b) = (snapshots(), Sample::new(1), Sample::new(2));
    let apply = |sample: &Sample| snapshots.apply(&sample.replace()).expect("applies");
    assert_eq!(holder(&snapshots), Ok(None));
    claim(&mut a, "mcp.acme.example");
    claim(&mut a, "other.acme.example");
    apply(&a);
    apply(&b);
    assert_eq!(holder(&snapshots), Ok(Some(a.tenant)));
    // A change that leaves it as it is.
    a.snapshot.rev += 1;
    apply(&a);
    assert_eq!(holder(&snapshots), Ok(Some(a.tenant)));
    // The new holder is heard of before the old one has let go.
    claim(&mut b, "mcp.acme.example");
    apply(&b);
    assert_eq!(holder(&snapshots), Err(()), "neither may have its callers");
    give_up(&mut a);
    apply(&a);
    assert_eq!(holder(&snapshots), Ok(Some(b.tenant)));
    snapshots.remove(b.tenant);
    assert_eq!(holder(&snapshots), Ok(None));
}
