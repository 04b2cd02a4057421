use super::*;

fn known(n: u8, state: State, pinned: Option<u8>, seen: u8) -> Known {
    Known {
        id: ToolId::from_parts(1, [n; 10]),
        name: format!("tool{n}"),
        state,
        pinned: pinned.map(|byte| [byte; 32]),
        seen: [seen; 32],
    }
}

fn seen(n: u8, digest: u8) -> Seen {
    Seen { name: format!("tool{n}"), digest: [digest; 32], definition: Bytes::from_static(b"{}") }
}

#[test]
fn a_first_report_adds_all() {
    let plan = plan(&[], vec![seen(1, 1), seen(2, 2), seen(1, 9)], true);
    assert_eq!((plan.added, plan.changed, plan.retired, plan.publish), (2, 0, 0, true));
    assert_eq!(plan.new, vec![seen(1, 1), seen(2, 2)]);
}

#[test]
fn the_same_again_changes_nothing() {
    let tool = known(1, State::Approved, Some(1), 1);
    let plan = plan(std::slice::from_ref(&tool), vec![seen(1, 1)], true);
    assert_eq!(plan, Plan { same: vec![tool.id], ..Plan::default() });
}

#[test]
fn a_changed_definition_is_quarantined_and_the_approved_one_coming_back_is_not() {
    let approved = known(1, State::Approved, Some(1), 1);
    let first = plan(std::slice::from_ref(&approved), vec![seen(1, 2)], false);
    assert_eq!(first.updates, vec![Update { id: approved.id, state: State::Quarantined, seen: [2; 32] }]);
    assert_eq!((first.changed, first.publish, first.definitions.len()), (1, true, 1));

    let quarantined = known(1, State::Quarantined, Some(1), 2);
    let again = plan(std::slice::from_ref(&quarantined), vec![seen(1, 3)], false);
    assert_eq!(again.updates, vec![Update { id: quarantined.id, state: State::Quarantined, seen: [3; 32] }]);
    assert!(!again.publish, "proxies enforce the same as before");
    let back = plan(std::slice::from_ref(&quarantined), vec![seen(1, 1)], false);
    assert_eq!(back.updates, vec![Update { id: quarantined.id, state: State::Approved, seen: [1; 32] }]);
}

#[test]
fn only_a_complete_list_retires_and_a_return_needs_no_review_if_nothing_changed() {
    let tool = known(1, State::Approved, Some(1), 1);
    assert_eq!(plan(std::slice::from_ref(&tool), Vec::new(), false), Plan::default());
    let gone = plan(std::slice::from_ref(&tool), Vec::new(), true);
    assert_eq!(gone.updates, vec![Update { id: tool.id, state: State::Retired, seen: [1; 32] }]);
    let retired = known(1, State::Retired, Some(1), 1);
    assert_eq!(plan(std::slice::from_ref(&retired), Vec::new(), true).retired, 0);
    let state = |plan: Plan| plan.updates.first().map(|update| update.state);
    assert_eq!(state(plan(std::slice::from_ref(&retired), vec![seen(1, 1)], true)), Some(State::Approved));
    assert_eq!(state(plan(&[retired], vec![seen(1, 2)], true)), Some(State::Quarantined));
    let never = known(1, State::Retired, None, 1);
    assert_eq!(state(plan(&[never], vec![seen(1, 1)], true)), Some(State::Pending));
}

#[test]
fn a_rejected_tool_stays_rejected_until_it_changes() {
    let tool = known(1, State::Rejected, None, 1);
    assert!(plan(std::slice::from_ref(&tool), vec![seen(1, 1)], true).updates.is_empty());
    let changed = plan(std::slice::from_ref(&tool), vec![seen(1, 2)], true);
    assert_eq!(changed.updates, vec![Update { id: tool.id, state: State::Pending, seen: [2; 32] }]);
    let pinned = known(1, State::Rejected, Some(1), 2);
    let back = plan(std::slice::from_ref(&pinned), vec![seen(1, 1)], true);
    assert_eq!(back.updates, vec![Update { id: pinned.id, state: State::Quarantined, seen: [1; 32] }]);
}

#[test]
fn definitions_that_cannot_be_pinned_are_left_out() {
    let read = |name: &str, definition: &'static str| {
        let definition = Bytes::from_static(definition.as_bytes());
        Seen::read(v1::ToolDefinition { name: name.to_owned(), definition })
    };
    assert!(read("add", r#"{"name":"add","inputSchema":{"type":"object"}}"#).is_some());
    assert!(read("add", r#"{"name":"other"}"#).is_none());
    assert!(read("add", r#"{"name":"add","name":"add"}"#).is_none());
    assert!(read("add", r#"["add"]"#).is_none());
    assert!(read("", r#"{"name":""}"#).is_none());
}

#[test]
fn what_changed_tools_showed_before_may_be_forgotten() {
    let tools = [known(1, State::Approved, Some(1), 1), known(2, State::Pending, None, 2)];
    let plan = plan(&tools, vec![seen(1, 1), seen(2, 3)], true);
    assert_eq!(plan.replaced, [[2; 32]]);
}

#[test]
fn names_without_end_are_not_all_kept() {
    let many: Vec<_> = (0..MAX_TOOLS)
        .map(|n| Known { name: format!("old {n}"), ..known(1, State::Retired, None, 1) })
        .collect();
    let plan = plan(&many, vec![seen(1, 1), Seen { name: "old 7".to_owned(), ..seen(1, 1) }], true);
    assert_eq!((plan.added, plan.left_out, plan.updates.len()), (0, 1, 1));
}
