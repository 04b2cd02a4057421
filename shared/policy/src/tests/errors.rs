//! A policy that cannot be read or evaluated refuses, whatever the others say.

use cedar_policy::{Entities, EntityUid, Request, Schema};
use errors::ErrorCode;

use super::world::{self, Target, client, principal, role, upstream};
use crate::{
    Action, Class, Decision, Held, PolicyIndex, Principal, SCHEMA, Slices, decision::circumstances,
    facts::action_uid,
};

const ALL: &str = "permit (principal, action, resource);";
const FAILS: &str = "(principal, action, resource) when { resource.absent == 1 };";

fn decide(policies: &[(&str, String)]) -> Decision {
    let index = PolicyIndex::new(policies.iter().map(|(id, text)| (*id, text.as_str())));
    let target = Target::Tool { upstream: upstream(0), name: "a".to_owned(), class: Class::Read };
    let slice = index.slice(index.all());
    let who = principal(&(client(0), vec![role(0)]));
    Decision::clone(&slice.decide(&who, Action::CallTool, &target.resource()).with(Held::All))
}

fn ids(ids: &[&str]) -> Vec<Box<str>> {
    ids.iter().map(|id| (*id).into()).collect()
}

#[test]
fn a_failing_policy_refuses_beside_a_permit() {
    for effect in ["permit", "forbid"] {
        let decision = decide(&[("gr_a", ALL.to_owned()), ("gr_b", format!("{effect} {FAILS}"))]);
        assert_eq!(decision, Decision::Error { policies: ids(&["gr_b"]) });
        assert_eq!(decision.code(Action::CallTool), Some(ErrorCode::PolicyError));
    }
}

#[test]
fn text_that_does_not_parse_refuses() {
    for text in [
        "permit",
        "",
        "permit (principal, action, resource); forbid (principal, action, resource);",
        "permit (principal == ?principal, action, resource);",
        "@scope(\"not a scope\") permit (principal, action, resource);",
        "@scope permit (principal, action, resource);",
    ] {
        let decision = decide(&[("gr_a", ALL.to_owned()), ("gr_b", text.to_owned())]);
        assert_eq!(decision, Decision::Error { policies: ids(&["gr_b"]) }, "{text}");
    }
}

#[test]
fn two_policies_with_one_id_refuse() {
    let decision = decide(&[("gr_a", ALL.to_owned()), ("gr_b", ALL.to_owned()), ("gr_b", ALL.to_owned())]);
    assert_eq!(decision, Decision::Error { policies: ids(&["gr_b"]) });
}

#[test]
fn a_reference_of_another_index_refuses() {
    let big = PolicyIndex::new([("gr_a", ALL), ("gr_b", ALL)]);
    let small = PolicyIndex::new([("gr_a", ALL)]);
    let slices = Slices::new([(role(0).uuid(), vec![big.find("gr_b").unwrap()])]);
    let target = Target::Whole { upstream: upstream(0), action: Action::Complete };
    let who = principal(&(client(0), vec![role(0)]));
    let ruling = small.decide(&slices, &who, Action::Complete, &target.resource());
    assert!(matches!(*ruling.with(Held::All), Decision::Error { .. }));
}

#[test]
fn forbid_wins_and_nothing_is_denied_without_a_reason_list() {
    let forbid = "forbid (principal, action, resource);".to_owned();
    assert_eq!(
        decide(&[("gr_a", ALL.to_owned()), ("gr_b", forbid)]),
        Decision::Deny { policies: ids(&["gr_b"]) }
    );
    assert_eq!(decide(&[("gr_a", ALL.to_owned())]), Decision::Permit { policies: ids(&["gr_a"]) });
    assert_eq!(decide(&[]), Decision::Deny { policies: Vec::new() });
}

/// What says which scope it takes, and what decides by it, cannot be played against each other.
#[test]
fn a_condition_without_its_annotation_permits_nobody_and_an_annotation_alone_is_obeyed() {
    let index = PolicyIndex::new([
        ("gr_a", "permit (principal, action, resource) when { context.scopes.contains(\"a\") };"),
        ("gr_b", "@scope(\"b\") permit (principal, action, resource);"),
    ]);
    let target = Target::Whole { upstream: upstream(0), action: Action::Complete };
    let who = principal(&(client(0), vec![]));
    let ruling = index.slice(index.all()).decide(&who, Action::Complete, &target.resource());
    let with = |scopes: &str| Decision::clone(&ruling.with(Held::These(&scopes.parse().unwrap())));
    assert_eq!(with("a"), Decision::Lacking { policies: ids(&["gr_b"]), scopes: "b".parse().unwrap() });
    assert_eq!(with("a").code(Action::Complete), Some(ErrorCode::ScopeInsufficient));
    assert_eq!(with("a b"), Decision::Permit { policies: ids(&["gr_b"]) });
}

#[test]
fn each_action_has_its_refusal() {
    let deny = Decision::Deny { policies: Vec::new() };
    let codes = Action::ALL.map(|action| deny.code(action));
    assert_eq!(
        codes,
        [
            Some(ErrorCode::ToolNotGranted),
            Some(ErrorCode::PromptNotGranted),
            Some(ErrorCode::ResourceNotGranted),
            Some(ErrorCode::ResourceNotGranted),
            Some(ErrorCode::ActionNotGranted),
            Some(ErrorCode::ActionNotGranted),
        ]
    );
    assert_eq!(Decision::Permit { policies: Vec::new() }.code(Action::CallTool), None);
}

/// The facts that are built without the schema, for speed, are the facts of the schema.
#[test]
fn facts_conform_to_the_schema() {
    let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    assert_eq!(warnings.count(), 0);
    let who = principal(&(client(0), vec![role(0), role(1)]));
    let mut targets = vec![Target::Prompt { upstream: upstream(0), name: "a\"*".to_owned() }];
    for class in [Class::Read, Class::Write, Class::Destructive, Class::Unclassified] {
        targets.push(Target::Tool { upstream: upstream(0), name: "a".to_owned(), class });
    }
    for action in [Action::ReadResource, Action::Subscribe] {
        targets.push(Target::Uri { upstream: upstream(0), uri: "x://a/../b".to_owned(), action });
    }
    for action in [Action::Complete, Action::UseTasks] {
        targets.push(Target::Whole { upstream: upstream(0), action });
    }
    for target in targets {
        let resource = target.resource();
        let uid: EntityUid = resource.uid.clone();
        Request::new(
            who.uid.clone(),
            action_uid(target.action()),
            uid,
            circumstances(["a"]).unwrap(),
            Some(&schema),
        )
        .unwrap();
        let user = Principal::member(world::member(0), [role(0)]);
        let uid = resource.uid.clone();
        let known = circumstances([]).unwrap();
        Request::new(user.uid, action_uid(target.action()), uid, known, Some(&schema)).unwrap();
        let entities = [who.entity.clone(), user.entity, resource.entity.unwrap()];
        Entities::from_entities(entities, Some(&schema)).unwrap();
    }
    assert_eq!(Action::ALL.map(|action| action as usize), [0, 1, 2, 3, 4, 5]);
    assert_eq!(world::upstream(0), upstream(0));
}
