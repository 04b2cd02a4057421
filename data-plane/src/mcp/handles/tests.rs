use ::mcp::{
    envelope,
    raw::{Edits, Raw},
};
use seams::SeededEntropy;

use super::*;
use crate::{
    mcp::testing::{handles, other_tenant},
    testing::World,
};

static ENTROPY: SeededEntropy = SeededEntropy::new(3);

fn open(handles: &Handles, body: &str) -> Result<(String, Opened), HandleError> {
    let message = envelope::parse(body.as_bytes()).unwrap();
    let opened = handles.open_inbound(&message)?;
    let mut edits = Edits::new();
    for (range, bytes) in &opened.edits {
        edits.replace(range.clone(), bytes.clone());
    }
    Ok((String::from_utf8(edits.apply(body.as_bytes())).unwrap(), opened))
}

#[test]
fn what_was_sealed_comes_back_byte_for_byte_and_nothing_else_changes() {
    let handles = handles(&World::new());
    let cursor = handles.seal_cursor("next \"page\" é", &ENTROPY).unwrap();
    let body = format!(
        r#"{{"jsonrpc": "2.0","id":1,  "method":"tools/list","params":{{"x":1e2,"cursor":"{cursor}"}}}}"#
    );
    let (sent, opened) = open(&handles, &body).unwrap();
    assert_eq!(
        sent,
        r#"{"jsonrpc": "2.0","id":1,  "method":"tools/list","params":{"x":1e2,"cursor":"next \"page\" é"}}"#
    );
    assert_eq!((opened.mcp_name, opened.task), (None, None));
}

#[test]
fn a_request_state_comes_back_with_the_question_it_was_given_for_and_with_no_other() {
    let handles = handles(&World::new());
    let ask = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
    };
    let questions = [
        ("tools/call", r#""name":"a""#),
        ("tools/call", r#""name":"b""#),
        ("prompts/get", r#""name":"a""#),
        ("resources/read", r#""uri":"a:a""#),
        ("resources/read", r#""uri":"a:b""#),
    ];
    for (i, (method, params)) in questions.iter().enumerate() {
        let (_, asked) = open(&handles, &ask(method, params)).unwrap();
        let state = handles.seal_request_state("opaque \u{e9}", &asked, &ENTROPY).unwrap();
        for (j, (method, params)) in questions.iter().enumerate() {
            let again = open(&handles, &ask(method, &format!(r#"{params},"requestState":"{state}""#)));
            match again {
                Ok((sent, _)) => assert!(i == j && sent.contains("\"requestState\":\"opaque \u{e9}\"")),
                Err(error) => assert!(i != j && error == HandleError),
            }
        }
        let spelled = ask("tools/call", &format!(r#""name":"\u0061","requestState":"{state}""#));
        assert_eq!(open(&handles, &spelled).is_ok(), i == 0, "the same name, spelled with an escape");
    }
}

#[test]
fn a_handle_of_another_kind_client_endpoint_upstream_or_tenant_does_not_open() {
    let world = World::new();
    let tenant = world.tenant();
    let own = handles(&world);
    let id = [42; 10];
    let other_tenant = other_tenant();
    let strangers = [
        Handles::new(&tenant, own.endpoint, ids::ClientId::from_parts(1, id), own.upstream),
        Handles::new(&tenant, EndpointId::from_parts(1, id), own.holder, own.upstream),
        Handles::new(&tenant, own.endpoint, own.holder, UpstreamId::from_parts(1, id)),
        Handles::new(&other_tenant, own.endpoint, own.holder, own.upstream),
    ];
    let list = |cursor: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":"{cursor}"}}}}"#)
    };
    for stranger in &strangers {
        let cursor = stranger.seal_cursor("c", &ENTROPY).unwrap();
        assert_eq!(open(&own, &list(&cursor)).unwrap_err(), HandleError);
        let event = stranger.seal_event_id("7", None, &ENTROPY).unwrap();
        assert_eq!(own.open_event_id(&event, &mut Opened::default()), Err(HandleError));
    }
    let cursor = own.seal_cursor("c", &ENTROPY).unwrap();
    assert!(open(&own, &list(&cursor)).is_ok());
    assert!(own.open_event_id(&cursor, &mut Opened::default()).is_err());
    for forged in ["", "c", "AAAA", &cursor[1..], &format!("{cursor}A")] {
        assert!(open(&own, &list(forged)).is_err(), "{forged}");
    }
    let number = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":5}}"#;
    assert!(open(&own, number).is_err());
}

#[test]
fn task_ids_look_the_same_each_time_and_name_the_task_towards_the_upstream() {
    let handles = handles(&World::new());
    let sealed = handles.seal_task("task-1", &Opened::default()).unwrap().into_owned();
    assert_eq!(handles.seal_task("task-1", &Opened::default()).unwrap(), sealed);
    assert_ne!(handles.seal_task("task-2", &Opened::default()).unwrap(), sealed);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{{"taskId":"{sealed}"}}}}"#);
    let (sent, opened) = open(&handles, &body).unwrap();
    assert!(sent.contains(r#""taskId":"task-1""#));
    assert_eq!(opened.mcp_name.as_deref(), Some("task-1"));
    assert_eq!(opened.task.as_deref(), Some("task-1"));
    assert_eq!(handles.seal_task("task-1", &opened).unwrap(), sealed);
    let raw = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"task-1"}}"#;
    assert!(open(&handles, raw).is_err());
}

#[test]
fn ties_to_tasks_open_in_answers_too_and_a_callers_own_tasks_pass() {
    let handles = handles(&World::new());
    let sealed = handles.seal_task("task-1", &Opened::default()).unwrap().into_owned();
    let meta =
        |id: &str| format!(r#""_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}}"#);
    let asked = format!(r#""{}""#, handles.seal_request_id(b"1").unwrap().unwrap());
    let answer = |asked: &str, id: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{{"action":"accept",{}}}}}"#, meta(id))
    };
    assert_eq!(open(&handles, &answer(&asked, &sealed)).unwrap().0, answer("1", "task-1"));
    assert_eq!(open(&handles, &answer(&asked, "my-own")).unwrap().0, answer("1", "my-own"));
    let request =
        |id: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{}}}}}"#, meta(id));
    assert_eq!(open(&handles, &request(&sealed)).unwrap().0, request("task-1"));
    assert!(open(&handles, &request("task-1")).is_err());
}

#[test]
fn only_what_was_asked_can_be_answered() {
    let handles = handles(&World::new());
    for asked in ["1", "-7", r#""a \"b\" é""#] {
        let sealed = handles.seal_request_id(asked.as_bytes()).unwrap().unwrap();
        assert_eq!(handles.seal_request_id(asked.as_bytes()).unwrap().unwrap(), sealed);
        for outcome in [r#""result":{}"#, r#""error":{"code":-1,"message":"no"}"#] {
            let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#);
            assert_eq!(open(&handles, &answer(&format!("\"{sealed}\""))).unwrap().0, answer(asked));
            assert!(open(&handles, &answer(asked)).is_err());
        }
    }
    assert!(open(&handles, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#).is_err());
    assert!(handles.seal_request_id("9".repeat(900).as_bytes()).unwrap().is_none());
}

#[test]
fn an_event_id_remembers_what_its_stream_answers() {
    let handles = handles(&World::new());
    let id = br#""req\n1""#;
    let cases = [None, Some((Method::ToolsList, id.as_slice())), Some((Method::ToolsCall, b"7".as_slice()))];
    for request in cases {
        let sealed = handles.seal_event_id("stream\n_42", request, &ENTROPY).unwrap();
        assert!(sealed.bytes().all(|byte| byte.is_ascii_graphic()));
        let mut opened = Opened::default();
        handles.open_event_id(&sealed, &mut opened).unwrap();
        let resume = opened.resume.unwrap();
        assert_eq!(resume.event, "stream\n_42");
        assert_eq!(resume.request.as_ref().map(|(method, id)| (*method, &**id)), request);
    }
}

#[test]
fn every_place_of_a_task_id_is_found() {
    let text = r#"{"taskId":"a","task":{"taskId":"b"},"tasks":[{"taskId":"c"},{"x":1},{"taskId":4}],
        "_meta":{"io.modelcontextprotocol/related-task":{"taskId":"d"}},"content":[{"taskId":"no"}]}"#;
    let found: Vec<_> =
        task_ids(Raw::parse(text.as_bytes()).unwrap()).iter().map(|task| task.as_str().to_owned()).collect();
    assert_eq!(found, [r#""a""#, r#""b""#, r#""c""#, r#""d""#]);
    assert!(task_ids(Raw::parse(b"[1]").unwrap()).is_empty());
}
