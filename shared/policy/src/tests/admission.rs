use super::world::{client, grant_id, role, upstream};
use crate::{
    Class, Effect, GrantError, GrantSpec, GrantedAction, MAX_NAMES, NameSelector, Subject, ToolSelector,
    compile_grant,
};

fn grant(effect: Effect, actions: Vec<GrantedAction>) -> GrantSpec {
    GrantSpec { id: grant_id(0), subject: Subject::Role(role(0)), effect, scope: None, actions }
}

fn tools(names: &[&str]) -> GrantedAction {
    GrantedAction::CallTool {
        upstream: upstream(0),
        tools: ToolSelector::Names(names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

fn pointers(result: Result<crate::CompiledPolicy, GrantError>) -> Vec<String> {
    result.unwrap_err().faults.into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn text_is_as_written_here() {
    let one = compile_grant(&grant(Effect::Permit, vec![tools(&["b", "a\"*", "b"])])).unwrap();
    let (ups, rol) = (upstream(0), role(0));
    assert_eq!(one.id, grant_id(0).to_string());
    assert_eq!(
        one.text,
        format!(
            "permit (principal in Role::\"{rol}\", action == Action::\"call_tool\", resource)\nwhen {{\n  \
             (resource in Upstream::\"{ups}\" && [\"a\\\"*\", \"b\"].contains(resource.name))\n}};\n"
        )
    );
    let mut both = grant(
        Effect::Forbid,
        vec![
            GrantedAction::CallTool {
                upstream: upstream(0),
                tools: ToolSelector::Classes(vec![Class::Unclassified, Class::Write]),
            },
            GrantedAction::ReadResource {
                upstream: upstream(0),
                uris: vec!["x://\u{e4}\\*/*".to_owned(), "y".to_owned()],
            },
        ],
    );
    both.subject = Subject::Client(client(0));
    let cl = client(0);
    assert_eq!(
        compile_grant(&both).unwrap().text,
        format!(
            "forbid (principal == Client::\"{cl}\", action in [Action::\"call_tool\", Action::\"read_resource\"], resource)\n\
             when {{\n  (action == Action::\"call_tool\" && resource in Upstream::\"{ups}\" && \
             [Class::\"write\", Class::\"unclassified\"].contains(resource.class)) ||\n  \
             (action == Action::\"read_resource\" && resource in Upstream::\"{ups}\" && \
             (resource.uri == \"y\" || !resource.plain || resource.uri like \"x://\\u{{e4}}\\*/*\"))\n}};\n"
        )
    );
}

#[test]
fn a_scope_is_written_twice_and_never_of_a_forbid() {
    let mut grant = grant(Effect::Permit, vec![tools(&["a"])]);
    grant.scope = Some("files:read".parse().unwrap());
    let (ups, rol) = (upstream(0), role(0));
    assert_eq!(
        compile_grant(&grant).unwrap().text,
        format!(
            "@scope(\"files:read\")\npermit (principal in Role::\"{rol}\", action == Action::\"call_tool\", resource)\n\
             when {{ context.scopes.contains(\"files:read\") }}\nwhen {{\n  \
             (resource in Upstream::\"{ups}\" && resource.name == \"a\")\n}};\n"
        )
    );
    grant.effect = Effect::Forbid;
    assert_eq!(pointers(compile_grant(&grant)), ["/scope"]);
}

#[test]
fn every_fault_is_named() {
    assert_eq!(pointers(compile_grant(&grant(Effect::Permit, vec![]))), ["/actions"]);
    let long = "x".repeat(257);
    let faulty = vec![
        tools(&["a", "", &long]),
        tools(&[]),
        GrantedAction::CallTool {
            upstream: upstream(0),
            tools: ToolSelector::Classes(vec![Class::Read, Class::Unclassified]),
        },
        GrantedAction::GetPrompt { upstream: upstream(0), prompts: NameSelector::Names(vec![String::new()]) },
        GrantedAction::ReadResource { upstream: upstream(0), uris: vec!["a\\".to_owned(), String::new()] },
        GrantedAction::Subscribe { upstream: upstream(0), uris: vec!["x".to_owned(); MAX_NAMES + 1] },
    ];
    assert_eq!(
        pointers(compile_grant(&grant(Effect::Permit, faulty))),
        [
            "/actions/0/tools/names/1",
            "/actions/0/tools/names/2",
            "/actions/1/tools/names",
            "/actions/2/tools/classes/1",
            "/actions/3/prompts/names/0",
            "/actions/4/uris/0",
            "/actions/4/uris/1",
            "/actions/5/uris",
        ]
    );
    let huge = GrantedAction::CallTool {
        upstream: upstream(0),
        tools: ToolSelector::Names((0..MAX_NAMES).map(|n| format!("{n:0>256}")).collect()),
    };
    assert_eq!(
        pointers(compile_grant(&grant(Effect::Permit, vec![huge.clone(), huge.clone(), huge]))),
        ["/actions"]
    );
}

#[test]
fn json_is_closed() {
    let ups = upstream(0);
    let good = [
        format!(r#"{{"action":"call_tool","upstream":"{ups}","tools":{{"names":["a"]}}}}"#),
        format!(
            r#"{{"action":"call_tool","upstream":"{ups}","tools":{{"classes":["read","destructive"]}}}}"#
        ),
        format!(r#"{{"action":"get_prompt","upstream":"{ups}","prompts":"all"}}"#),
        format!(r#"{{"action":"get_prompt","upstream":"{ups}","prompts":{{"names":["p"]}}}}"#),
        format!(r#"{{"action":"read_resource","upstream":"{ups}","uris":["file:///a/*"]}}"#),
        format!(r#"{{"action":"subscribe","upstream":"{ups}","uris":["file:///a/*"]}}"#),
        format!(r#"{{"action":"complete","upstream":"{ups}"}}"#),
        format!(r#"{{"action":"use_tasks","upstream":"{ups}"}}"#),
    ];
    for text in good {
        let action: GrantedAction = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&action).unwrap(), text);
    }
    let bad = [
        format!(r#"{{"action":"call_tool","upstream":"{ups}"}}"#),
        format!(r#"{{"action":"call_tool","upstream":"{ups}","tools":"all"}}"#),
        format!(
            r#"{{"action":"call_tool","upstream":"{ups}","tools":{{"names":["a"],"classes":["read"]}}}}"#
        ),
        format!(r#"{{"action":"complete","upstream":"{ups}","uris":[]}}"#),
        format!(r#"{{"action":"drop_table","upstream":"{ups}"}}"#),
        r#"{"action":"complete","upstream":"ups_x"}"#.to_owned(),
    ];
    for text in bad {
        assert!(serde_json::from_str::<GrantedAction>(&text).is_err(), "{text}");
    }
}
