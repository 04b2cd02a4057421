use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    oracle,
    world::{self, Target, asker, class, grants, index, name, principal, target},
};
use crate::{
    Action, Class, Decision, Effect, GrantSpec, GrantedAction, Resource, Subject, ToolSelector, compile_grant,
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
        prop_assert_eq!(as_oracle(&whole), expected.clone());
        let sliced = index.decide(&target.slices(&grants, &index), &who, target.action(), &target.resource());
        prop_assert_eq!(as_oracle(&sliced), expected);
    }

    /// A grant that names a tool permits that tool and no other, whatever characters the names have.
    #[test]
    fn a_named_tool_is_the_only_one((granted, other) in near_miss(), class in class()) {
        let upstream = world::upstream(0);
        let grant = GrantSpec {
            id: world::grant_id(0),
            subject: Subject::Role(world::role(0)),
            effect: Effect::Permit,
            actions: vec![GrantedAction::CallTool { upstream, tools: ToolSelector::Names(vec![granted.clone()]) }],
        };
        let index = index(std::slice::from_ref(&grant));
        let slice = index.slice(index.all());
        let who = principal(&(world::client(0), vec![world::role(0)]));
        let decide = |upstream, name: &str| {
            let tool = Target::Tool { upstream, name: name.to_owned(), class };
            slice.decide(&who, Action::CallTool, &tool.resource()).is_permit()
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

    /// Listed if and only if the head permits, and callable only if listed: the list and the call ask the same question,
    /// the list with what was prepared for the whole snapshot, the call with what it finds under the caller's text.
    #[test]
    fn listed_is_callable(
        grants in grants(),
        asker in asker(),
        catalogue in prop::collection::btree_map(name(), (class(), any::<bool>()), 0..8),
        asked in name(),
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
                *approved && slice.decide(&who, Action::CallTool, resource).is_permit()
            })
            .map(|(name, _)| *name)
            .collect();
        let callable = |text: &str| {
            catalogue.get(text).is_some_and(|(class, approved)| {
                let target = Target::Tool { upstream, name: text.to_owned(), class: *class };
                let slices = target.slices(&grants, &index);
                *approved && index.decide(&slices, &who, Action::CallTool, &target.resource()).is_permit()
            })
        };
        for name in catalogue.keys() {
            prop_assert_eq!(listed.contains(&name.as_str()), callable(name));
        }
        prop_assert!(!callable(&asked) || listed.contains(&asked.as_str()));
    }

    /// No class grant reaches a tool that nobody has classified.
    #[test]
    fn unclassified_needs_a_name(grants in grants(), asker in asker(), name in name()) {
        let target = Target::Tool { upstream: world::upstream(0), name: name.clone(), class: Class::Unclassified };
        let index = index(&grants);
        let decision = index.slice(index.all()).decide(&principal(&asker), Action::CallTool, &target.resource());
        let named = grants.iter().flat_map(|grant| &grant.actions).any(|granted| {
            matches!(granted, GrantedAction::CallTool { tools: ToolSelector::Names(names), .. } if names.contains(&name))
        });
        prop_assert!(named || !decision.is_permit());
    }
}
