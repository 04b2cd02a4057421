use std::collections::BTreeMap;

use ids::Scopes;
use proptest::prelude::*;

use super::{
    oracle,
    world::{self, Target, asker, class, grants, held, index, name, principal, target},
};
use crate::{
    Action, Class, Decision, Effect, GrantSpec, GrantedAction, Held, Principal, Resource, Subject,
    ToolSelector, compile_grant, decision::circumstances,
};

fn as_oracle(decision: &Decision) -> (bool, Vec<String>) {
    assert!(!matches!(decision, Decision::Error { .. }), "{decision:?}");
    (decision.is_permit(), decision.policies().iter().map(ToString::to_string).collect())
}

/// A name that surely is none of `granted`, made from one of them as an attacker would.
fn near_miss() -> impl Strategy<Value = (String, String)> {
    (name(), prop::sample::select(vec!["*", "\"", "\\", "\u{0}", " ", "a", "\u{200b}"]), any::<bool>())
        .prop_map(|(name, more, before)| {
            let other = if before { format!("{more}{name}") } else { format!("{name}{more}") };
            (name, other)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// All policies, and the slice, both decide as the oracle does, for the same reasons.
    #[test]
    fn decides_as_the_oracle(grants in grants(), asker in asker(), target in target()) {
        let index = index(&grants);
        let who = principal(&asker);
        let expected = oracle::decide(&grants, &asker, &target);
        let whole = index.slice(index.all()).decide(&who, target.action(), &target.resource());
        prop_assert_eq!(as_oracle(&whole.with(Held::All)), expected.clone());
        let sliced = index.decide(&target.slices(&grants, &index), &who, target.action(), &target.resource());
        prop_assert_eq!(as_oracle(&sliced.with(Held::All)), expected);
    }

    /// What follows for fewer scopes is what the oracle says, and what Cedar says when it is asked with these scopes alone; whoever
    /// lacks one is told of each that would do, and any of them does.
    #[test]
    fn decides_for_scopes_as_cedar_and_the_oracle(
        grants in grants(), asker in asker(), target in target(), held in held()
    ) {
        let (index, who) = (index(&grants), principal(&asker));
        let slice = index.slice_for(&target.slices(&grants, &index), &who);
        let (action, resource) = (target.action(), target.resource());
        let ruling = slice.decide(&who, action, &resource);
        let decision = ruling.with(Held::These(&held));
        let (permitted, ids, lacking) = oracle::decide_with(&grants, &asker, &target, &held);
        prop_assert_eq!(as_oracle(&decision), (permitted, ids));
        let cedar = slice.ask(&who, action, &resource, circumstances(held.iter().map(|scope| scope.as_str())));
        prop_assert_eq!(cedar.is_permit(), decision.is_permit());
        match &*decision {
            Decision::Lacking { scopes, .. } => {
                prop_assert_eq!(scopes, &lacking);
                prop_assert!(!scopes.is_empty() && scopes.iter().all(|scope| !held.has(scope.as_str())));
                for scope in scopes.iter() {
                    let more = held.with(&Scopes::first([scope.clone()]));
                    prop_assert!(ruling.with(Held::These(&more)).is_permit());
                }
            }
            other => {
                prop_assert!(lacking.is_empty());
                prop_assert_eq!(other.policies(), cedar.policies());
            }
        }
    }

    /// A member's call is permitted by what the member has alone, and forbidden by what either has.
    #[test]
    fn a_member_is_permitted_as_itself_and_forbidden_as_its_client_too(
        grants in grants(), through in asker(), number in 0u8..2, roles in prop::collection::btree_set(0u8..3, 0..3), target in target()
    ) {
        let index = index(&grants);
        let member = world::member(number);
        let roles: Vec<_> = roles.into_iter().map(world::role).collect();
        let (slices, action, resource) = (target.slices(&grants, &index), target.action(), target.resource());
        let own = index.decide(&slices, &Principal::member(member, roles.iter().copied()), action, &resource);
        let client = index.decide(&slices, &principal(&through), action, &resource);
        let permitted = own.unless_forbidden(&client).with(Held::All).is_permit();
        prop_assert_eq!(permitted, oracle::decide_for_member(&grants, (member, &roles), &through, &target));
    }

    /// A grant that names a tool permits that tool and no other, whatever characters the names have.
    #[test]
    fn a_named_tool_is_the_only_one((granted, other) in near_miss(), class in class()) {
        let upstream = world::upstream(0);
        let grant = GrantSpec {
            id: world::grant_id(0),
            subject: Subject::Role(world::role(0)),
            effect: Effect::Permit,
            scope: None,
            actions: vec![GrantedAction::CallTool { upstream, tools: ToolSelector::Names(vec![granted.clone()]) }],
        };
        let index = index(std::slice::from_ref(&grant));
        let slice = index.slice(index.all());
        let who = principal(&(world::client(0), vec![world::role(0)]));
        let decide = |upstream, name: &str| {
            let tool = Target::Tool { upstream, name: name.to_owned(), class };
            slice.decide(&who, Action::CallTool, &tool.resource()).with(Held::All).is_permit()
        };
        prop_assert!(decide(upstream, &granted));
        prop_assert!(!decide(upstream, &other));
        prop_assert!(!decide(world::upstream(1), &granted));
    }

    /// The text of a policy is printable ASCII, so that nothing in it is hidden from a reviewer.
    #[test]
    fn text_hides_nothing(grants in grants()) {
        for grant in &grants {
            let text = compile_grant(grant).unwrap().text;
            prop_assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{text}");
        }
    }

    /// Listed if and only if the head permits it to whoever has the scopes that it takes, and callable only if listed: the list and the
    /// call ask the same question, the list with what was prepared for the whole snapshot, the call with what it finds under the
    /// caller's text. What is listed and not callable is refused for the lack of scopes alone, so that the caller can ask for them.
    #[test]
    fn listed_is_callable(
        grants in grants(),
        asker in asker(),
        catalogue in prop::collection::btree_map(name(), (class(), any::<bool>()), 0..8),
        asked in name(),
        held in held(),
    ) {
        let upstream = world::upstream(0);
        let index = index(&grants);
        let who = principal(&asker);
        let prepared: BTreeMap<&str, _> = catalogue
            .iter()
            .zip(0u8..)
            .map(|((name, (class, approved)), n)| {
                let target = Target::Tool { upstream, name: name.clone(), class: *class };
                let resource = Resource::tool(world::tool_id(n), upstream, name, *class, Vec::<String>::new());
                let slice = index.slice_for(&target.slices(&grants, &index), &who);
                (name.as_str(), (resource, slice, *approved))
            })
            .collect();
        let listed: Vec<&str> = prepared
            .iter()
            .filter(|(_, (resource, slice, approved))| {
                *approved && slice.decide(&who, Action::CallTool, resource).with(Held::All).is_permit()
            })
            .map(|(name, _)| *name)
            .collect();
        let called = |text: &str| {
            let (class, _) = catalogue.get(text).filter(|(_, approved)| *approved)?;
            let target = Target::Tool { upstream, name: text.to_owned(), class: *class };
            let slices = target.slices(&grants, &index);
            let ruling = index.decide(&slices, &who, Action::CallTool, &target.resource());
            Some(ruling.with(Held::These(&held)))
        };
        for name in catalogue.keys() {
            let open = called(name).is_some_and(|decision| {
                decision.is_permit() || matches!(*decision, Decision::Lacking { .. })
            });
            prop_assert_eq!(listed.contains(&name.as_str()), open);
        }
        let callable = called(&asked).is_some_and(|decision| decision.is_permit());
        prop_assert!(!callable || listed.contains(&asked.as_str()));
    }

    /// No class grant reaches a tool that nobody has classified.
    #[test]
    fn unclassified_needs_a_name(grants in grants(), asker in asker(), name in name()) {
        let target = Target::Tool { upstream: world::upstream(0), name: name.clone(), class: Class::Unclassified };
        let index = index(&grants);
        let decision = index.slice(index.all()).decide(&principal(&asker), Action::CallTool, &target.resource());
        let decision = decision.with(Held::All);
        let named = grants.iter().flat_map(|grant| &grant.actions).any(|granted| {
            matches!(granted, GrantedAction::CallTool { tools: ToolSelector::Names(names), .. } if names.contains(&name))
        });
        prop_assert!(named || !decision.is_permit());
    }
}
