//! What rows become, what is left out and said so, and what is refused with its place.

mod properties;
mod rows;

use crypto::jwt::{self, Algorithm};
use errors::ErrorCode;
use policy::{Class, Effect, GrantedAction, Subject, ToolSelector};
use rows::{client, endpoint, grant, id, key, limit, raw, sample, tool, upstream};
use seams::{SeededEntropy, Timestamp};
use wire::v1::{self, resource::Body};

use super::{Compiled, DEFAULT_CLIENT_LIMIT, compile};
use crate::{
    oauth::keys::StoredKey,
    publish::rows::{CredentialKind, DomainRow, EgressRow, HoursRow, IssuerRow, TenantRows, ToolState},
    publish::subject::LimitSubject,
};

fn ids(compiled: &Compiled, prefix: &str) -> Vec<String> {
    compiled.snapshot.resources.iter().map(|r| r.id.clone()).filter(|id| id.starts_with(prefix)).collect()
}

fn body(compiled: &Compiled, id: &str) -> Body {
    compiled.snapshot.resources.iter().find(|r| r.id == id).unwrap().body.clone().unwrap()
}

/// Pointers and resources of all faults.
fn refused(rows: &TenantRows) -> Vec<(String, String)> {
    let error = compile(rows, 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ConfigRejected);
    error.faults.into_iter().map(|fault| (fault.resource, fault.pointer)).collect()
}

fn messages(compiled: &Compiled) -> Vec<&str> {
    compiled.findings.iter().map(|finding| finding.message.as_str()).collect()
}

#[test]
fn the_sample_compiles_without_findings() {
    let compiled = compile(&sample(), 3).unwrap();
    assert_eq!(compiled.findings, []);
    assert_eq!(compiled.snapshot.rev, 3);
    let read = wire::snapshot::decode_exact(&compiled.bytes.clone().into()).unwrap();
    assert_eq!(read, compiled.snapshot);
    assert_eq!(wire::snapshot::digest(&read), compiled.digest);
}

#[test]
fn a_tool_carries_the_slices_of_those_who_may_call_it() {
    let mut rows = sample();
    rows.tools = vec![
        tool(1, 0, "read_file", Class::Read),
        tool(2, 0, "write_file", Class::Write),
        tool(3, 0, "odd", Class::Unclassified),
    ];
    rows.grants = vec![
        grant(1, Subject::Role(id(1)), vec![rows::call_classes(0, &[Class::Read, Class::Write])]),
        grant(2, Subject::Client(id(1)), vec![rows::call(0, &["odd", "read_file"])]),
        grant(3, Subject::Role(id(1)), vec![GrantedAction::Complete { upstream: id(0) }]),
    ];
    let compiled = compile(&rows, 1).unwrap();
    let slices = |n: u8| match body(&compiled, &ids::ToolId::to_string(&id(n))) {
        Body::Tool(tool) => tool
            .slices
            .into_iter()
            .map(|slice| (slice.subject_id, slice.policies))
            .collect::<std::collections::BTreeMap<_, _>>(),
        other => panic!("{other:?}"),
    };
    let role = rows::raw(ids::RoleId::clone(&id(1)));
    let client = rows::raw(ids::ClientId::clone(&id(1)));
    let gr = |n: u8| vec![ids::GrantId::to_string(&id(n))];
    assert_eq!(slices(1), [(role.clone(), gr(1)), (client.clone(), gr(2))].into());
    assert_eq!(slices(2), [(role.clone(), gr(1))].into());
    assert_eq!(slices(3), [(client, gr(2))].into());
    let Body::Methods(methods) = body(&compiled, "methods") else { panic!() };
    assert_eq!(methods.slices.len(), 1);
    assert_eq!(methods.slices[0].action, v1::GrantedAction::Complete as i32);
    assert_eq!(methods.slices[0].slices, [v1::Slice { subject_id: role, policies: gr(3) }]);
}

#[test]
fn names_that_vanished_are_inert_and_said() {
    let mut rows = sample();
    rows.tools = vec![tool(1, 0, "kept", Class::Read), tool(2, 0, "gone", Class::Read)];
    rows.tools[1].state = ToolState::Retired;
    rows.limits = vec![limit(1, LimitSubject::Tool(id(2)))];
    rows.grants = vec![
        grant(1, Subject::Role(id(1)), vec![rows::call(0, &["kept", "gone", "never\n"])]),
        grant(2, Subject::Role(id(1)), vec![rows::call(0, &["gone"])]),
        grant(3, Subject::Role(id(1)), vec![GrantedAction::UseTasks { upstream: id(77) }]),
        grant(4, Subject::Role(id(66)), vec![rows::call(0, &["kept"])]),
    ];
    let compiled = compile(&rows, 1).unwrap();
    assert_eq!(ids(&compiled, "tool_").len(), 1);
    assert_eq!(ids(&compiled, "gr_"), [1, 4].map(|n| ids::GrantId::to_string(&id(n))));
    let found = messages(&compiled);
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found.iter().any(|message| message.contains(r#"the tool "never\n""#)), "{found:?}");
    assert!(found.iter().any(|message| message.contains("which does not exist")), "{found:?}");
}

#[test]
fn a_hostile_catalogue_cannot_block_a_change() {
    let mut rows = sample();
    rows.grants.clear();
    rows.tools = vec![tool(1, 0, "good", Class::Read)];
    let mut huge = tool(2, 0, "huge", Class::Read);
    huge.definition = Some(vec![b' '; wire::snapshot::MAX_DEFINITION + 1]);
    rows.tools.extend([huge, tool(3, 0, &"x".repeat(257), Class::Read), tool(4, 0, "", Class::Read)]);
    let compiled = compile(&rows, 1).unwrap();
    assert_eq!(ids(&compiled, "tool_"), [ids::ToolId::to_string(&id(1))]);
    assert_eq!(compiled.findings.len(), 3);
}

#[test]
fn keys_are_published_only_while_they_work() {
    let mut rows = sample();
    rows.as_of = Timestamp::from_secs(1_000);
    rows.clients = vec![client(1), client(2)];
    rows.clients[1].enabled = false;
    rows.api_keys = vec![key(1, 1), key(2, 1), key(3, 1), key(4, 1), key(5, 2)];
    rows.api_keys[1].revoked = true;
    rows.api_keys[2].not_after = Some(Timestamp::from_secs(1_000));
    rows.api_keys[3].not_after = Some(Timestamp::from_secs(1_001));
    let compiled = compile(&rows, 1).unwrap();
    assert_eq!(ids(&compiled, "key_"), [1, 4].map(|n| ids::KeyId::to_string(&id(n))));
    assert_eq!(ids(&compiled, "cl_").len(), 2);
    let Body::ApiKey(last) = body(&compiled, &ids::KeyId::to_string(&id(4))) else { panic!() };
    assert_eq!(last.not_after_micros, 1_001_000_000);
}

#[test]
fn proxies_know_from_where_and_when_keys_are_accepted() {
    let mut rows = sample();
    rows.clients = vec![client(1)];
    rows.api_keys = vec![key(1, 1)];
    rows.api_keys[0].allow = ["203.0.113.9/24", "2001:DB8::1"].map(str::to_owned).to_vec();
    let hours = |from, days| HoursRow { from, until: 1440, days };
    rows.api_keys[0].hours = vec![hours(60, 1), hours(0, 2), hours(60, 1)];
    let compiled = compile(&rows, 1).unwrap();
    let Body::ApiKey(published) = body(&compiled, &ids::KeyId::to_string(&id(1))) else { panic!() };
    assert_eq!(published.allow, ["2001:db8::1/128", "203.0.113.0/24"]);
    let times: Vec<_> = published.hours.iter().map(|each| (each.from_minute, each.days)).collect();
    assert_eq!(times, [(0, 2), (60, 1)]);

    rows.api_keys[0].allow[1] = "somewhere".to_owned();
    let rejected = compile(&rows, 1).unwrap_err();
    assert_eq!(rejected.faults[0].pointer, "/allow/1");
}

#[test]
fn a_suspended_tenant_has_neither_endpoints_nor_keys() {
    let mut rows = sample();
    rows.tenant.suspended = true;
    let compiled = compile(&rows, 1).unwrap();
    assert_eq!(ids(&compiled, "ep_"), Vec::<String>::new());
    assert_eq!(ids(&compiled, "key_"), Vec::<String>::new());
    let Body::Tenant(tenant) = body(&compiled, "tenant") else { panic!() };
    assert!(tenant.suspended);
}

#[test]
fn a_disabled_upstream_keeps_its_place_but_not_its_secret() {
    let mut rows = sample();
    assert_eq!(rows.headers.len(), 1);
    rows.upstreams[0].enabled = false;
    let Body::Upstream(upstream) = body(&compile(&rows, 1).unwrap(), &rows.upstreams[0].id.to_string())
    else {
        panic!()
    };
    assert!(!upstream.enabled && upstream.headers.is_empty());
}

#[test]
fn every_client_has_a_limit() {
    let mut rows = sample();
    rows.limits.clear();
    let limits = |rows: &TenantRows| -> Vec<v1::Limit> {
        let compiled = compile(rows, 1).unwrap();
        ids(&compiled, "lim_")
            .iter()
            .map(|id| match body(&compiled, id) {
                Body::Limit(limit) => limit,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let default = limits(&rows);
    assert_eq!(default.len(), 1);
    assert_eq!((default[0].per_minute, default[0].burst, default[0].concurrency), DEFAULT_CLIENT_LIMIT);
    assert_eq!((default[0].subject, default[0].subject_id.len()), (v1::LimitSubject::Client as i32, 0));
    rows.limits = vec![limit(1, LimitSubject::EveryClient)];
    assert_eq!(limits(&rows).len(), 1);
    assert_eq!(limits(&rows)[0].per_minute, 600);
}

#[test]
fn texts_get_their_one_spelling() {
    let mut rows = sample();
    rows.endpoints[0].hosts = vec!["B.example".to_owned(), "a.example".to_owned(), "a.example".to_owned()];
    rows.endpoints[0].allow = vec!["10.1.2.3/8".to_owned(), "10.0.0.0/8".to_owned()];
    rows.egress = vec![EgressRow { network: "127.0.0.1".to_owned(), port: 9 }];
    let compiled = compile(&rows, 1).unwrap();
    let Body::Endpoint(endpoint) = body(&compiled, &rows.endpoints[0].id.to_string()) else { panic!() };
    assert_eq!(endpoint.hosts, ["a.example", "b.example"]);
    assert_eq!(endpoint.allow, ["10.0.0.0/8"]);
    let Body::Tenant(tenant) = body(&compiled, "tenant") else { panic!() };
    assert_eq!(tenant.egress[0].network, "127.0.0.1/32");
}

#[test]
fn every_fault_is_named_at_once() {
    let mut rows = sample();
    rows.egress = vec![EgressRow { network: "everything".to_owned(), port: 1 }];
    rows.endpoints[0].origins = vec!["*".to_owned()];
    rows.endpoints[0].closed_methods = vec!["tools/call".to_owned()];
    rows.upstreams[0].url = "https://u:p@up.example/".to_owned();
    rows.upstreams[0].ca_der = vec![vec![1]];
    rows.grants = vec![grant(1, Subject::Role(id(1)), vec![rows::call_classes(0, &[Class::Unclassified])])];
    let (ep, up, gr) =
        (rows.endpoints[0].id.to_string(), rows.upstreams[0].id.to_string(), rows.grants[0].id.to_string());
    assert_eq!(
        refused(&rows),
        [
            ("tenant".to_owned(), "/egress/0/network".to_owned()),
            (ep.clone(), "/origins/0".to_owned()),
            (ep, "/closed_methods/0".to_owned()),
            (up.clone(), "/url".to_owned()),
            (up, "/tls/ca/0".to_owned()),
            (gr, "/actions/0/tools/classes/0".to_owned()),
        ]
    );
}

#[test]
fn what_only_the_shared_validator_sees_is_refused_too() {
    let mut rows = sample();
    rows.endpoints.push(endpoint(9));
    rows.endpoints[1].slug = rows.endpoints[0].slug.clone();
    assert_eq!(refused(&rows).len(), 1);
    let mut rows = sample();
    rows.upstreams.push(upstream(9));
    rows.upstreams[1].total_timeout_ms = 0;
    assert_eq!(refused(&rows), [(rows.upstreams[1].id.to_string(), String::new())]);
}

#[test]
fn proxies_know_the_keys_whose_tokens_live_and_what_endpoints_accept() {
    let key = |n: u8, retires: Option<u64>, revoked: bool| StoredKey {
        id: id(n),
        public: jwt::generate(Algorithm::EdDsa, &SeededEntropy::new(n.into())).unwrap().1,
        created_at: Timestamp::from_secs(1),
        activates_at: Timestamp::from_secs(1),
        retires_at: retires.map(Timestamp::from_secs),
        revoked_at: revoked.then(|| Timestamp::from_secs(2)),
    };
    let mut rows = sample();
    rows.as_of = Timestamp::from_secs(1_000);
    assert!(ids(&compile(&rows, 1).unwrap(), "issuer").is_empty());
    let keys =
        vec![key(2, None, false), key(1, Some(1_001), false), key(3, Some(1_000), false), key(4, None, true)];
    let (url, gateway) = ("https://auth.example/t/acme".to_owned(), "https://gw.example".to_owned());
    let baseline = vec!["search".parse().unwrap()];
    rows.issuer = Some(IssuerRow { url: url.clone(), gateway: gateway.clone(), baseline, keys });
    let compiled = compile(&rows, 1).unwrap();
    let Body::Issuer(issuer) = body(&compiled, "issuer") else { panic!() };
    assert_eq!((issuer.url, issuer.gateway), (url, gateway));
    assert_eq!(issuer.baseline_scopes, ["search"]);
    let published: Vec<_> = issuer.keys.iter().map(|key| (key.id.clone(), key.not_after_micros)).collect();
    assert_eq!(
        published,
        [(raw(ids::SigningKeyId::clone(&id(1))), 1_001_000_000), (raw(ids::SigningKeyId::clone(&id(2))), 0)]
    );

    let accepted =
        |rows: &TenantRows| match body(&compile(rows, 1).unwrap(), &rows.endpoints[0].id.to_string()) {
            Body::Endpoint(endpoint) => endpoint.accepts,
            other => panic!("{other:?}"),
        };
    assert_eq!(accepted(&rows), Vec::<i32>::new(), "as is so by default");
    rows.endpoints[0].accepts = vec![CredentialKind::AccessToken];
    assert_eq!(accepted(&rows), [v1::CredentialKind::AccessToken as i32]);
    rows.endpoints[0].accepts =
        vec![CredentialKind::Basic, CredentialKind::ApiKey, CredentialKind::AccessToken];
    let all = [v1::CredentialKind::ApiKey, v1::CredentialKind::AccessToken, v1::CredentialKind::Basic];
    assert_eq!(accepted(&rows), all.map(|kind| kind as i32), "what is not so by default is said");
    rows.endpoints[0].accepts.clear();
    assert_eq!(refused(&rows), [(rows.endpoints[0].id.to_string(), "/accepts".to_owned())]);

    rows.endpoints[0].accepts = vec![CredentialKind::ApiKey];
    rows.tenant.suspended = true;
    assert!(ids(&compile(&rows, 1).unwrap(), "issuer").is_empty());
}

#[test]
fn a_forbid_may_cover_unclassified_tools() {
    let mut rows = sample();
    let tools = ToolSelector::Classes(vec![Class::Unclassified]);
    rows.grants =
        vec![grant(1, Subject::Role(id(1)), vec![GrantedAction::CallTool { upstream: id(0), tools }])];
    rows.grants[0].effect = Effect::Forbid;
    assert!(compile(&rows, 1).is_ok());
}

#[test]
fn domains_are_published_with_their_endpoint_and_not_while_the_tenant_is_suspended() {
    let domain = |n, endpoint_id| {
        let name = format!("mcp{n}.acme.example");
        DomainRow { id: id(n), name, endpoint_id, certificate: None }
    };
    let mut rows = TenantRows { domains: vec![domain(1, None), domain(0, Some(id(0)))], ..sample() };
    let compiled = compile(&rows, 1).unwrap();
    let read = |n| match body(&compiled, &ids::DomainId::to_string(&id(n))) {
        Body::Domain(domain) => (domain.name, domain.endpoint_id.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [read(0), read(1)],
        [("mcp0.acme.example".to_owned(), 16), ("mcp1.acme.example".to_owned(), 0)]
    );
    rows.tenant.suspended = true;
    assert_eq!(ids(&compile(&rows, 1).unwrap(), "dom_"), Vec::<String>::new());
}
