//! The oracle again in a world so small that grants overlap: one tool reached by its name and by its class, a permit and a
//! forbid for one subject, patterns in which a star is now a wildcard and now a star.

use proptest::prelude::*;

use super::{
    oracle,
    world::{Target, client, grant_id, index, principal, role, upstream},
};
use crate::{Action, Class, Effect, GrantSpec, GrantedAction, Held, Subject, ToolSelector};

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![3 => Just(Effect::Permit), 1 => Just(Effect::Forbid)]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop::sample::select(vec![Subject::Role(role(0)), Subject::Role(role(1)), Subject::Client(client(0))])
}

fn grants(action: impl Strategy<Value = GrantedAction>) -> impl Strategy<Value = Vec<GrantSpec>> {
    prop::collection::vec((subject(), effect(), action), 1..5).prop_map(|drafts| {
        let made = drafts.into_iter().zip(0u8..);
        made.map(|((subject, effect, action), n)| GrantSpec {
            id: grant_id(n),
            subject,
            effect,
            scope: None,
            actions: vec![action],
        })
        .collect()
    })
}

fn tools() -> impl Strategy<Value = GrantedAction> {
    let names = |names: &[&str]| ToolSelector::Names(names.iter().map(|name| (*name).to_owned()).collect());
    prop::sample::select(vec![
        names(&["a"]),
        names(&["a*", "b"]),
        names(&["*"]),
        ToolSelector::Classes(vec![Class::Read]),
        ToolSelector::Classes(vec![Class::Write, Class::Read]),
    ])
    .prop_map(|tools| GrantedAction::CallTool { upstream: upstream(0), tools })
}

fn uris() -> impl Strategy<Value = GrantedAction> {
    let piece = prop::sample::select(vec!["a", "b", "*", "\\*", "\\\\"]);
    let pattern = prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("x:{}", pieces.concat()));
    prop::collection::vec(pattern, 1..3)
        .prop_map(|uris| GrantedAction::ReadResource { upstream: upstream(0), uris })
}

fn agree(grants: &[GrantSpec], target: &Target) -> Result<(), TestCaseError> {
    let asker = (client(0), vec![role(0)]);
    let (permitted, reasons) = oracle::decide(grants, &asker, target);
    let (index, who) = (index(grants), principal(&asker));
    let slices = target.slices(grants, &index);
    for slice in [index.slice(index.all()), index.slice_for(&slices, &who)] {
        let decision = slice.decide(&who, target.action(), &target.resource()).with(Held::All);
        prop_assert_eq!(decision.is_permit(), permitted);
        prop_assert_eq!(
            decision.policies().iter().map(ToString::to_string).collect::<Vec<_>>(),
            reasons.clone()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn names_and_classes_overlap(
        grants in grants(tools()),
        name in prop::sample::select(vec!["a", "b", "a*", "*", "ab"]),
        class in prop::sample::select(vec![Class::Read, Class::Write, Class::Unclassified]),
    ) {
        agree(&grants, &Target::Tool { upstream: upstream(0), name: name.to_owned(), class })?;
    }

    #[test]
    fn stars_are_wildcards_only_where_written_so(grants in grants(uris()), uri in "x:[ab*\\\\]{0,4}") {
        agree(&grants, &Target::Uri { upstream: upstream(0), uri, action: Action::ReadResource })?;
    }
}
