use errors::ErrorCode;
use tokio::sync::mpsc;
use wire::v1::resource::Body;

use super::*;
use crate::{
    mcp::{
        Opened,
        testing::{AllBut, speaker},
    },
    testing::{World, endpoint_of, tool},
    upstream::Noticed,
};

/// The definition that the sample tenant has approved.
const ADD: &str = r#"{"name":"add","description":"Adds","inputSchema":{"type":"object"}}"#;

/// With the pin that the control plane would have made.
fn world() -> World {
    let digest = ::mcp::raw::definition_digest(Raw::parse(ADD.as_bytes()).unwrap()).unwrap();
    World::with(|body| {
        if let Some(tool) = tool(body) {
            tool.digest = digest.to_vec();
        }
    })
}

fn request(method: Method) -> Request {
    Request { id: b"1".as_slice().into(), method }
}

fn result(text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{text}}}"#)
}

fn answer(speaker: &Speaker, method: Method, text: &str) -> String {
    let body = result(text);
    match speaker.hear(Some(&request(method)), body.as_bytes()).unwrap() {
        Said::Answer { rewritten, is_error: false } => {
            rewritten.map_or(body, |bytes| String::from_utf8(bytes).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

fn code(speaker: &Speaker, method: Method, body: &str) -> ErrorCode {
    speaker.hear(Some(&request(method)), body.as_bytes()).unwrap_err().code()
}

fn next(noticed: &mut mpsc::Receiver<Noticed>) -> Option<(String, String)> {
    match noticed.try_recv().ok()? {
        Noticed::Drift { name, definition, .. } => {
            Some((name.into(), String::from_utf8(definition.to_vec()).unwrap()))
        }
        Noticed::ListChanged { .. } => Some(("list_changed".to_owned(), String::new())),
    }
}

#[test]
fn a_tool_list_is_live_and_approved_and_permitted() {
    let (speaker, mut noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    // Same definition, other bytes: the approved bytes are shown.
    let live = r#"{"tools":[{"inputSchema":{"type":"object"},"name":"add","description":"Adds"},{"name":"new","inputSchema":{}}],"x":1}"#;
    assert_eq!(answer(&speaker, Method::ToolsList, live), result(&format!(r#"{{"tools":[{ADD}],"x":1}}"#)));
    let expected = Some(("new".to_owned(), r#"{"name":"new","inputSchema":{}}"#.to_owned()));
    assert_eq!(next(&mut noticed), expected);
    assert_eq!(next(&mut noticed), None);
    // Reported once, not with every list.
    answer(&speaker, Method::ToolsList, live);
    assert_eq!(next(&mut noticed), None);
    // Approved and permitted, but not live any more.
    assert_eq!(answer(&speaker, Method::ToolsList, r#"{"tools":[]}"#), result(r#"{"tools":[]}"#));
}

#[test]
fn what_may_not_be_used_is_not_shown_but_still_watched() {
    let (speaker, mut noticed) = speaker(&world(), Revision::V2026_07_28, AllBut::these(&["add"]));
    let live = format!(r#"{{"tools":[{}],"cacheScope":"public","ttlMs":5}}"#, ADD.replace("Adds", "Steals"));
    let shown = answer(&speaker, Method::ToolsList, &live);
    assert_eq!(shown, result(r#"{"tools":[],"cacheScope":"private","ttlMs":5}"#));
    assert!(next(&mut noticed).unwrap().1.contains("Steals"));
}

#[test]
fn a_changed_definition_is_quarantined_here_at_once_until_it_is_approved_or_taken_back() {
    let mut world = world();
    let (speaker, mut noticed) = speaker(&world, Revision::V2025_11_25, AllBut::default());
    let (id, add) = (speaker.upstream.id, speaker.upstream.tools.get("add").unwrap());
    assert!(!speaker.watched.is_quarantined(id, add));
    let changed = ADD.replace("Adds", "Steals");
    let live = format!(r#"{{"tools":[{changed}]}}"#);
    // The approved definition goes on being shown.
    assert_eq!(answer(&speaker, Method::ToolsList, &live), result(&format!(r#"{{"tools":[{ADD}]}}"#)));
    assert!(speaker.watched.is_quarantined(id, add));
    assert_eq!(next(&mut noticed), Some(("add".to_owned(), changed.clone())));

    answer(&speaker, Method::ToolsList, &format!(r#"{{"tools":[{ADD}]}}"#));
    assert!(!speaker.watched.is_quarantined(id, add));
    answer(&speaker, Method::ToolsList, &live);
    assert!(speaker.watched.is_quarantined(id, add));
    assert!(next(&mut noticed).is_some());

    let digest = ::mcp::raw::definition_digest(Raw::parse(changed.as_bytes()).unwrap()).unwrap();
    world.edit(|body| {
        if let Some(tool) = tool(body) {
            tool.digest = digest.to_vec();
            tool.definition = changed.clone().into();
        }
    });
    let tenant = world.tenant();
    let add = tenant.upstreams[&id].tools.get("add").unwrap();
    assert!(!speaker.watched.is_quarantined(id, add));
}

#[test]
fn a_definition_that_no_pin_can_hold_is_a_change() {
    let (speaker, _noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    let live =
        format!(r#"{{"tools":[{}]}}"#, ADD.replace(r#""type""#, r#""x":123456789012345678901,"type""#));
    answer(&speaker, Method::ToolsList, &live);
    let add = speaker.upstream.tools.get("add").unwrap();
    assert!(speaker.watched.is_quarantined(speaker.upstream.id, add));
}

#[test]
fn prefixes_are_put_before_names_of_tools_and_prompts() {
    let (mut speaker, _noticed) = speaker(&world(), Revision::V2025_06_18, AllBut::these(&["hidden"]));
    speaker.prefix = Box::from("m_");
    let tools = answer(&speaker, Method::ToolsList, &format!(r#"{{"tools":[{ADD}]}}"#));
    assert_eq!(tools, result(&format!(r#"{{"tools":[{}]}}"#, ADD.replace("add", "m_add"))));
    let prompts = r#"{"prompts":[{"name":"p","title":"P"},{"name":"hidden"}]}"#;
    assert_eq!(
        answer(&speaker, Method::PromptsList, prompts),
        result(r#"{"prompts":[{"name":"m_p","title":"P"}]}"#)
    );
    let resources = r#"{"resources":[{"uri":"a://1","name":"x"},{"uri":"hidden","name":"y"}]}"#;
    assert_eq!(
        answer(&speaker, Method::ResourcesList, resources),
        result(r#"{"resources":[{"uri":"a://1","name":"x"}]}"#)
    );
    let templates = r#"{"resourceTemplates":[{"uriTemplate":"hidden"},{"uriTemplate":"a://{id}"}]}"#;
    assert_eq!(
        answer(&speaker, Method::ResourceTemplatesList, templates),
        result(r#"{"resourceTemplates":[{"uriTemplate":"a://{id}"}]}"#)
    );
}

#[test]
fn cursors_states_and_tasks_leave_sealed() {
    let (mut speaker, _noticed) = speaker(&world(), Revision::V2026_07_28, AllBut::default());
    let asked = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}"#;
    speaker.opened = speaker.handles.open_inbound(&::mcp::envelope::parse(asked).unwrap()).unwrap();
    let opens = |text: &str, member: &str, params: &str| {
        let value = Raw::parse(text.as_bytes()).unwrap().path(&["result", member]).unwrap();
        let method = if member == "requestState" { "tools/call" } else { "tasks/get" };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"{method}","params":{{"name":"add","{params}":{}}}}}"#,
            value.as_str()
        );
        let message = ::mcp::envelope::parse(body.as_bytes()).unwrap();
        let opened = speaker.handles.open_inbound(&message).unwrap();
        String::from_utf8(opened.edits[0].1.clone()).unwrap()
    };
    let text = answer(&speaker, Method::ToolsList, r#"{"tools":[],"nextCursor":"page-2"}"#);
    assert!(!text.contains("page-2"));
    assert_eq!(opens(&text, "nextCursor", "cursor"), r#""page-2""#);
    let text =
        answer(&speaker, Method::ToolsCall, r#"{"resultType":"input_required","requestState":"s\u00e9"}"#);
    assert_eq!(opens(&text, "requestState", "requestState"), "\"sé\"");
    let created = r#"{"resultType":"task","taskId":"t-1","status":"working"}"#;
    let text = answer(&speaker, Method::ToolsCall, created);
    assert_eq!(opens(&text, "taskId", "taskId"), r#""t-1""#);
    let polled = answer(&speaker, Method::TasksGet, r#"{"taskId":"t-1","status":"working"}"#);
    let sealed = |text: &str| {
        let id = Raw::parse(text.as_bytes()).unwrap().path(&["result", "taskId"]).unwrap();
        id.as_str().to_owned()
    };
    assert_eq!(sealed(&text), sealed(&polled));
}

#[test]
fn a_tools_own_output_is_left_alone() {
    let (speaker, _noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    let text = r#"{ "content" : [], "taskId":"mine","tasks":[{"taskId":"x"}], "n":1.0e2 }"#;
    assert_eq!(answer(&speaker, Method::ToolsCall, text), result(text));
    // A private mark where the server made one.
    let text = r#"{"contents":[],"cacheScope":"public","ttlMs":1}"#;
    assert_eq!(answer(&speaker, Method::ResourcesRead, text), result(text));
}

#[test]
fn only_the_response_to_the_request_is_an_answer() {
    let (speaker, _noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    let waiting = Request { id: br#""a\u0062""#.as_slice().into(), method: Method::Ping };
    let hear = |body: &str| speaker.hear(Some(&waiting), body.as_bytes()).unwrap();
    let plain = Said::Answer { rewritten: None, is_error: false };
    assert_eq!(hear(r#"{"jsonrpc":"2.0","id":"ab","result":{}}"#), plain);
    assert_eq!(hear(r#"{"jsonrpc":"2.0","id":"abc","result":{}}"#), Said::Withheld);
    assert_eq!(hear(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Said::Withheld);
    let failed = Said::Answer { rewritten: None, is_error: true };
    assert_eq!(hear(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#), failed);
    let nothing = speaker.hear(None, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    assert_eq!(nothing, Said::Withheld);
    for bad in ["", "[]", r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#] {
        assert_eq!(code(&speaker, Method::Ping, bad), ErrorCode::UpstreamProtocol, "{bad}");
    }
    let long = result(&format!(r#"{{"x":"{}"}}"#, "y".repeat(70_000)));
    assert_eq!(code(&speaker, Method::Ping, &long), ErrorCode::ResponseTooLarge);
    assert_eq!(code(&speaker, Method::ToolsList, &result("{}")), ErrorCode::UpstreamProtocol);
}

#[test]
fn a_revision_the_gateway_does_not_speak_is_not_negotiated() {
    let (speaker, _noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    for revision in ["2025-06-18", "2025-11-25"] {
        let text = format!(r#"{{"protocolVersion":"{revision}","capabilities":{{}}}}"#);
        assert_eq!(answer(&speaker, Method::Initialize, &text), result(&text));
    }
    for revision in ["2025-03-26", "2026-07-28", "", "x"] {
        let text = result(&format!(r#"{{"protocolVersion":"{revision}"}}"#));
        assert_eq!(code(&speaker, Method::Initialize, &text), ErrorCode::UpstreamProtocol);
    }
    let discovered = r#"{"supportedVersions":["2025-03-26","2025-11-25","2026-07-28","2027-01-01"],"cacheScope":"public"}"#;
    assert_eq!(
        answer(&speaker, Method::Discover, discovered),
        result(r#"{"supportedVersions":["2025-11-25","2026-07-28"],"cacheScope":"private"}"#)
    );
}

#[test]
fn what_a_server_says_by_itself_passes_only_where_it_may() {
    let world = World::with(|body: &mut Body| {
        if let Some(endpoint) = endpoint_of(body) {
            endpoint.closed_methods = vec!["sampling/createMessage".to_owned()];
        }
    });
    let (legacy, mut noticed) = speaker(&world, Revision::V2025_11_25, AllBut::these(&["a://secret"]));
    let (modern, _noticed) = speaker(&world, Revision::V2026_07_28, AllBut::default());
    let asks = |speaker: &Speaker, method: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"s1","method":"{method}","params":{{}}}}"#);
        speaker.hear(None, body.as_bytes()).unwrap()
    };
    let declined = Said::Declined(br#""s1""#.as_slice().into());
    // What passes asks under an id that only this caller can answer.
    let Said::Pass(Some(question)) = asks(&legacy, "elicitation/create") else { panic!("not passed") };
    let id = legacy.handles.seal_request_id(br#""s1""#).unwrap().unwrap();
    assert_eq!(
        String::from_utf8(question).unwrap(),
        format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"elicitation/create","params":{{}}}}"#)
    );
    let endless = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "9".repeat(900));
    assert!(matches!(legacy.hear(None, endless.as_bytes()), Ok(Said::Declined(_))));
    assert_eq!(asks(&legacy, "sampling/createMessage"), declined);
    assert_eq!(asks(&legacy, "tools/call"), declined);
    assert_eq!(asks(&legacy, "made/up"), declined);
    assert_eq!(asks(&modern, "elicitation/create"), declined);

    let tells = |speaker: &Speaker, method: &str, params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{params}}}"#);
        speaker.hear(None, body.as_bytes()).unwrap()
    };
    assert_eq!(tells(&legacy, "message", r#"{"level":"info","data":1}"#), Said::Pass(None));
    assert_eq!(tells(&legacy, "made_up", "{}"), Said::Withheld);
    assert_eq!(tells(&legacy, "initialized", "{}"), Said::Withheld);
    assert_eq!(tells(&legacy, "resources/updated", r#"{"uri":"a://public"}"#), Said::Pass(None));
    assert_eq!(tells(&legacy, "resources/updated", r#"{"uri":"a://secret"}"#), Said::Withheld);
    assert_eq!(tells(&legacy, "resources/updated", "{}"), Said::Withheld);
    assert_eq!(tells(&legacy, "tools/list_changed", "{}"), Said::Pass(None));
    let Said::Pass(Some(cancelled)) = tells(&legacy, "cancelled", r#"{"requestId":"s1"}"#) else {
        panic!("the question's id must be sealed")
    };
    assert!(
        String::from_utf8(cancelled).unwrap().ends_with(&format!(r#""params":{{"requestId":"{id}"}}}}"#))
    );
    assert_eq!(tells(&modern, "cancelled", r#"{"requestId":7}"#), Said::Pass(None));
    assert_eq!(next(&mut noticed).unwrap().0, "list_changed");
    let Said::Pass(Some(status)) = tells(&legacy, "tasks/status", r#"{"taskId":"t-1","status":"working"}"#)
    else {
        panic!("a task id must be sealed")
    };
    let nothing = Opened::default();
    let sealed = legacy.handles.seal_task("t-1", &nothing).unwrap();
    assert!(String::from_utf8(status).unwrap().contains(&*sealed));

    let question = |method: &str| {
        result(&format!(
            r#"{{"resultType":"input_required","inputRequests":{{"q":{{"method":"{method}"}}}}}}"#
        ))
    };
    let open = question("elicitation/create");
    assert!(modern.hear(Some(&request(Method::ToolsCall)), open.as_bytes()).is_ok());
    for closed in ["sampling/createMessage", "tools/call", "made/up"] {
        assert_eq!(code(&modern, Method::ToolsCall, &question(closed)), ErrorCode::UpstreamProtocol);
    }
}

/// A client that uses a running list request's id again gets the list on the other request's stream from servers that keep
/// requests by id. Nothing would be left out of it there.
#[test]
fn a_list_that_was_not_asked_for_is_not_passed_on() {
    let (speaker, _noticed) = speaker(&world(), Revision::V2025_11_25, AllBut::default());
    for list in ["tools", "prompts", "resources", "resourceTemplates"] {
        let body = result(&format!(r#"{{"{list}":[{{"name":"hidden","uri":"x:y"}}]}}"#));
        for method in [Method::Ping, Method::ToolsCall, Method::Initialize] {
            assert_eq!(code(&speaker, method, &body), ErrorCode::UpstreamProtocol, "{list} {method}");
        }
    }
    let unasked = result(r#"{"content":[],"structuredContent":{"tools":[]},"tools":"none"}"#);
    assert!(speaker.hear(Some(&request(Method::ToolsCall)), unasked.as_bytes()).is_ok());
}
