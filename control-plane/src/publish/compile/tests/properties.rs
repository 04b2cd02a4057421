use policy::{Action, Class, Effect, PolicyIndex, Principal, Resource, Slices, Subject};
use proptest::prelude::*;
use wire::v1::resource::Body;

use super::rows::{self, call, call_classes, client, grant, id, key, sample, tool, upstream};
use crate::publish::{compile, rows::TenantRows};

const NAMES: [&str; 6] = ["a", "b", "a*", "a\"", "a\\", "ä"];
const CLASSES: [Class; 4] = [Class::Read, Class::Write, Class::Destructive, Class::Unclassified];

/// To a role or a client, of which number, by class or by names, at which upstream, permit or forbid.
type Draft = (bool, u8, Option<usize>, Vec<usize>, u8, bool);

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let class = prop::option::of(0usize..3);
    let names = prop::collection::vec(0usize..6, 1..4);
    prop::collection::vec((any::<bool>(), 0u8..3, class, names, 0u8..2, any::<bool>()), 0..6)
}

prop_compose! {
    fn tenants()(
        upstreams in 1u8..3,
        tools in prop::collection::btree_set((0u8..2, 0usize..6), 0..8),
        drafts in drafts(),
        roles in prop::collection::btree_set((0u8..2, 0u8..3), 0..4),
    ) -> TenantRows {
        let mut rows = sample();
        rows.upstreams = (0..upstreams).map(upstream).collect();
        rows.clients = vec![client(0), client(1)];
        rows.api_keys = vec![key(0, 0), key(1, 1)];
        rows.client_endpoints = vec![(id(0), id(0)), (id(1), id(0))];
        rows.roles = (0..3).map(id).collect();
        rows.client_roles = roles.into_iter().map(|(client, role)| (id(client), id(role))).collect();
        rows.tools = tools
            .into_iter()
            .filter(|(upstream, _)| *upstream < upstreams)
            .zip(0u8..)
            .map(|((upstream, name), n)| tool(n, upstream, NAMES[name], CLASSES[usize::from(n) % 4]))
            .collect();
        rows.grants = drafts
            .into_iter()
            .zip(0u8..)
            .map(|((to_role, subject, class, names, upstream, forbid), n)| {
                let subject = if to_role { Subject::Role(id(subject)) } else { Subject::Client(id(subject % 2)) };
                let action = match class {
                    Some(class) => call_classes(upstream, &CLASSES[class..=class]),
                    None => call(upstream, &names.into_iter().map(|name| NAMES[name]).collect::<Vec<_>>()),
                };
                let mut made = grant(n, subject, vec![action]);
                if forbid {
                    made.effect = Effect::Forbid;
                }
                made
            })
            .collect();
        rows
    }
}

/// The snapshot's policies and, for each tool in order of ids, its slices, as a proxy reads them.
fn index(snapshot: &wire::v1::TenantSnapshot) -> (PolicyIndex, Vec<(wire::v1::Tool, Slices)>) {
    let bodies = || snapshot.resources.iter().filter_map(|resource| resource.body.clone());
    let policies = PolicyIndex::new(bodies().filter_map(|body| match body {
        Body::Policy(policy) => Some((policy.id, policy.text)),
        _ => None,
    }));
    let tools = bodies()
        .filter_map(|body| match body {
            Body::Tool(tool) => Some(tool),
            _ => None,
        })
        .map(|tool| {
            let slices = Slices::new(tool.slices.iter().map(|slice| {
                let refs: Vec<_> = slice.policies.iter().map(|id| policies.find(id).unwrap()).collect();
                (ids::Uuid::from_slice(&slice.subject_id).unwrap(), refs)
            }));
            (tool, slices)
        })
        .collect();
    (policies, tools)
}

proptest! {
    /// Equal rows give equal bytes, whatever order the database returned them in.
    #[test]
    fn order_does_not_matter(rows in tenants(), rev in 1u64..) {
        let mut turned = rows.clone();
        turned.tools.reverse();
        turned.grants.reverse();
        turned.clients.reverse();
        turned.api_keys.reverse();
        turned.client_roles.reverse();
        turned.client_endpoints.reverse();
        turned.upstreams.reverse();
        let (one, other) = (compile(&rows, rev).unwrap(), compile(&turned, rev).unwrap());
        prop_assert_eq!(one.bytes, other.bytes);
        prop_assert_eq!(one.digest, other.digest);
        prop_assert_eq!(one.findings, other.findings);
    }

    #[test]
    fn what_was_compiled_decodes(rows in tenants(), rev in 1u64..) {
        let compiled = compile(&rows, rev).unwrap();
        let read = wire::snapshot::decode_exact(&compiled.bytes.into());
        prop_assert_eq!(read, Ok(compiled.snapshot));
    }

    /// What a proxy decides with a tool's slices is what all the tenant's grants together say.
    #[test]
    fn published_slices_are_never_too_narrow(rows in tenants()) {
        let compiled = compile(&rows, 1).unwrap();
        let (policies, tools) = index(&compiled.snapshot);
        let all = PolicyIndex::new(rows.grants.iter().map(|grant| {
            let policy = policy::compile_grant(grant).unwrap();
            (policy.id, policy.text)
        }));
        let whole = all.slice(all.all());
        prop_assert_eq!(rows.tools.len(), tools.len());
        for client in &rows.clients {
            let roles = rows.client_roles.iter().filter(|(of, _)| *of == client.id).map(|(_, role)| *role);
            let who = Principal::new(client.id, roles);
            for (row, (tool, slices)) in rows.tools.iter().zip(&tools) {
                prop_assert_eq!(&rows::raw(row.id), &tool.id);
                let what = Resource::tool(row.id, row.upstream_id, &row.name, row.class, &row.labels);
                prop_assert_eq!(
                    policies.decide(slices, &who, Action::CallTool, &what),
                    whole.decide(&who, Action::CallTool, &what)
                );
            }
        }
    }
}
