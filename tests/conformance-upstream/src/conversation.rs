//! Tools of the revisions up to 2025-11-25 that ask the client something while they run, or drop their stream.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolResult, JsonObject},
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{
    plain::{text, undelivered},
    server::{Shared, argument, typed},
};

/// `test_sampling`: what the client's model says to the caller's prompt.
pub(crate) async fn sample(
    context: &RequestContext<RoleServer>,
    arguments: &JsonObject,
) -> Result<CallToolResult, ErrorData> {
    let params = typed(json!({
        "messages": [{"role": "user", "content": {"type": "text", "text": argument(arguments, "prompt")}}],
        "maxTokens": 100,
    }))?;
    let answer = context.peer.create_message(params).await.map_err(undelivered)?;
    let answer = serde_json::to_value(&answer).unwrap_or_default();
    text(format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default()))
}

/// The tools that ask the user; `None` when `name` is none of them.
pub(crate) fn question(name: &str, arguments: &JsonObject) -> Option<Value> {
    Some(match name {
        "test_elicitation" => json!({
            "mode": "form",
            "message": argument(arguments, "message"),
            "requestedSchema": {
                "type": "object",
                "properties": {
                    "username": {"type": "string", "description": "User's response"},
                    "email": {"type": "string", "description": "User's email address"},
                },
                "required": ["username", "email"],
            },
        }),
        "test_elicitation_sep1034_defaults" => json!({
            "mode": "form",
            "message": "Please review the defaults",
            "requestedSchema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "default": "John Doe"},
                    "age": {"type": "integer", "default": 30},
                    "score": {"type": "number", "default": 95.5},
                    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                    "verified": {"type": "boolean", "default": true},
                },
            },
        }),
        "test_elicitation_sep1330_enums" => {
            let titled =
                |ordinal: &str, noun: &str| json!({"const": format!("value{ordinal}"), "title": noun});
            json!({
                "mode": "form",
                "message": "Please choose",
                "requestedSchema": {
                    "type": "object",
                    "properties": {
                        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
                        "titledSingle": {"type": "string", "oneOf": [
                            titled("1", "First Option"), titled("2", "Second Option"), titled("3", "Third Option"),
                        ]},
                        "legacyEnum": {
                            "type": "string", "enum": ["opt1", "opt2", "opt3"],
                            "enumNames": ["Option One", "Option Two", "Option Three"],
                        },
                        "untitledMulti": {
                            "type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
                        },
                        "titledMulti": {"type": "array", "items": {"anyOf": [
                            titled("1", "First Choice"), titled("2", "Second Choice"), titled("3", "Third Choice"),
                        ]}},
                    },
                },
            })
        }
        _ => return None,
    })
}

/// Puts `question` to the user and repeats the answer.
pub(crate) async fn ask(
    context: &RequestContext<RoleServer>,
    question: Value,
) -> Result<CallToolResult, ErrorData> {
    let answer = context.peer.create_elicitation(typed(question)?).await.map_err(undelivered)?;
    let answer = serde_json::to_value(&answer).unwrap_or_default();
    text(format!(
        "Elicitation completed: action={}, content={}",
        answer["action"].as_str().unwrap_or_default(),
        answer["content"],
    ))
}

/// `test_reconnection`: closes the response streams of its session before it answers, so that the answer arrives only
/// for a client that resumes with `Last-Event-ID` (SEP-1699). Without a session there is nothing to resume, and it
/// just answers.
pub(crate) async fn reconnect(
    shared: &Shared,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    /// rmcp numbers a session's response streams from 0; the suite opens a handful.
    const STREAMS: u64 = 64;

    let session = context
        .extensions
        .get::<http::request::Parts>()
        .and_then(|parts| parts.headers.get("mcp-session-id"))
        .and_then(|id| id.to_str().ok());
    if let Some(id) = session {
        let sessions = shared.sessions.sessions.read().await;
        if let Some(handle) = sessions.get(id) {
            for stream in 0..STREAMS {
                // An error says that this stream is not open, which is what is wanted.
                let _ = handle.close_sse_stream(stream, Some(Duration::from_millis(500))).await;
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    text("Answered after the stream was closed and resumed.")
}
