//! Domains: what a snapshot may say of them.

use bytes::Bytes;

use super::{
    super::{decode_exact, encode, is_domain_name, validate},
    sample::{GOLDEN, id, raw, snapshot},
};
use crate::v1::{Domain, DomainCertificate, Resource, TenantSnapshot, resource::Body};

fn with(domains: impl IntoIterator<Item = (u8, Domain)>) -> TenantSnapshot {
    let mut snapshot = snapshot(GOLDEN);
    for (n, domain) in domains {
        let id = ids::DomainId::to_string(&id(n));
        snapshot.resources.push(Resource { id, body: Some(Body::Domain(domain)) });
    }
    snapshot.resources.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot
}

fn domain(n: u8, name: &str) -> (u8, Domain) {
    (
        n,
        Domain {
            id: raw::<ids::kind::Domain>(id(n)),
            name: name.to_owned(),
            endpoint_id: Vec::new(),
            certificate: None,
        },
    )
}

fn certificate() -> DomainCertificate {
    DomainCertificate { chain: vec![vec![48], vec![48, 0]], data_key_id: vec![1; 16], sealed: vec![7; 48] }
}

fn detail(snapshot: &TenantSnapshot) -> Result<(), &'static str> {
    validate(snapshot).map_err(|invalid| invalid.detail)
}

#[test]
fn domains_are_read_back_as_they_were_written() {
    let (n, whole) = domain(1, "mcp.acme.example");
    let of_one = Domain { endpoint_id: raw::<ids::kind::Endpoint>(id(0)), ..domain(2, "one.acme.example").1 };
    let snapshot = with([(n, Domain { certificate: Some(certificate()), ..whole }), (2, of_one)]);
    assert_eq!(decode_exact(&Bytes::from(encode(&snapshot))).unwrap(), snapshot);
}

#[test]
fn what_a_domain_may_not_be() {
    assert_eq!(
        detail(&with([domain(1, "a.example"), domain(2, "a.example")])),
        Err("repeats an id, slug, name or subject of another resource")
    );
    let nowhere = Domain { endpoint_id: raw::<ids::kind::Endpoint>(id(200)), ..domain(1, "a.example").1 };
    assert_eq!(detail(&with([(1, nowhere)])), Err("refers to an endpoint that is not there"));
    let other = Domain { id: raw::<ids::kind::Domain>(id(9)), ..domain(1, "a.example").1 };
    assert_eq!(detail(&with([(1, other)])), Err("does not carry its own id"));
    assert_eq!(detail(&with([domain(1, "A.example")])), Err("name is not a host name in lower case"));
    let many = (0..=1_000_u16).map(|n| {
        let mut random = [0; 10];
        random[..2].copy_from_slice(&n.to_be_bytes());
        let id = ids::DomainId::from_parts(1, random);
        let domain = Domain { id: raw(id), ..domain(0, &format!("d{n}.example")).1 };
        Resource { id: id.to_string(), body: Some(Body::Domain(domain)) }
    });
    let mut full = with([]);
    full.resources.extend(many);
    full.resources.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(detail(&full), Err("has too many endpoints, upstreams, tools or domains"));
}

#[test]
fn what_a_certificate_may_not_be() {
    let refused = |change: fn(&mut DomainCertificate)| {
        let mut changed = certificate();
        change(&mut changed);
        let (n, domain) = domain(1, "a.example");
        detail(&with([(n, Domain { certificate: Some(changed), ..domain })]))
    };
    assert_eq!(refused(|_| {}), Ok(()));
    assert_eq!(refused(|it| it.chain.clear()), Err("has no certificate, or too many"));
    assert_eq!(refused(|it| it.chain = vec![vec![48]; 11]), Err("has no certificate, or too many"));
    assert_eq!(refused(|it| it.chain[1].clear()), Err("a certificate is malformed"));
    assert_eq!(refused(|it| it.chain[0] = vec![0; 16 * 1024 + 1]), Err("a certificate is malformed"));
    assert_eq!(refused(|it| it.data_key_id.clear()), Err("data key id is not 16 bytes"));
    assert_eq!(refused(|it| it.sealed.clear()), Err("a sealed key's size is out of bounds"));
}

#[test]
fn names_are_host_names_in_one_spelling() {
    let long = format!("{}.{}.{}.{}.example", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(41));
    assert_eq!(long.len(), 241);
    for good in ["mcp.acme.example", "a.b", "xn--bcher-kva.example", "1.2.3.a4", &long] {
        assert!(is_domain_name(good), "{good}");
    }
    let longer = format!("e{long}");
    for bad in [
        "",
        "example",
        "Acme.example",
        "a..b",
        ".a.b",
        "a.b.",
        "-a.b",
        "a-.b",
        "a_b.c",
        "127.0.0.1",
        "a.1",
        "a.b:80",
        "*.a.b",
        "a b.c",
        "bücher.example",
        &longer,
    ] {
        assert!(!is_domain_name(bad), "{bad}");
    }
}
