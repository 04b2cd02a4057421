//! Tools, prompts and resources that answer from their request alone.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolResult, GetPromptResult, JsonObject, LoggingLevel, LoggingMessageNotificationParam,
        ProgressNotificationParam, ReadResourceResult,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{
    catalogue::{PNG, WAV},
    server::{argument, typed},
};

/// How long the tools that report while they run wait between two reports.
const STEP: Duration = Duration::from_millis(50);

/// A finished tool result of `content` blocks.
pub(crate) fn complete(content: Value) -> Result<CallToolResult, ErrorData> {
    typed(json!({"resultType": "complete", "content": content}))
}

/// A finished tool result of one text block.
pub(crate) fn text(text: impl Into<String>) -> Result<CallToolResult, ErrorData> {
    complete(json!([{"type": "text", "text": text.into()}]))
}

/// A tool result that reports a failure to the model.
pub(crate) fn failure(text: &str) -> Result<CallToolResult, ErrorData> {
    typed(json!({"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": true}))
}

/// The tools that only return something; `None` when `name` is none of them.
pub(crate) fn call(name: &str, arguments: &JsonObject) -> Option<Result<CallToolResult, ErrorData>> {
    Some(match name {
        "test_simple_text" => text("This is a simple text response for testing."),
        "test_image_content" => complete(json!([{"type": "image", "data": PNG, "mimeType": "image/png"}])),
        "test_audio_content" => complete(json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}])),
        "test_embedded_resource" => complete(json!([{"type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain",
            "text": "This is an embedded resource content.",
        }}])),
        "test_multiple_content_types" => complete(json!([
            {"type": "text", "text": "Multiple content types test:"},
            {"type": "image", "data": PNG, "mimeType": "image/png"},
            {"type": "resource", "resource": {
                "uri": "test://mixed-content-resource", "mimeType": "application/json",
                "text": r#"{"test":"data","value":123}"#,
            }},
        ])),
        "test_error_handling" => failure("This tool intentionally returns an error for testing"),
        "greet" => text(format!("Hello, {}!", argument(arguments, "name"))),
        "test_parameter_header" => text(format!("region: {}", argument(arguments, "region"))),
        "json_schema_2020_12_tool" => text(Value::Object(arguments.clone()).to_string()),
        _ => return None,
    })
}

/// `test_tool_with_logging`: three log messages, spread over its run.
pub(crate) async fn log_thrice(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        log(context, message).await?;
        tokio::time::sleep(STEP).await;
    }
    text("Logged three times.")
}

/// `test_logging_tool`: since 2026-07-28 a log message may be sent only where the request asked for a level.
pub(crate) async fn log_if_asked(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    if context.meta.log_level().is_some() {
        log(context, "Logged on request").await?;
    }
    text("Logged only if asked to.")
}

async fn log(context: &RequestContext<RoleServer>, message: &str) -> Result<(), ErrorData> {
    let params =
        LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message)).with_logger("conformance");
    context.peer.notify_logging_message(params).await.map_err(undelivered)
}

/// `test_tool_with_progress`: 0, 50 and 100 of 100, if the request carries a progress token.
pub(crate) async fn progress(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let params = ProgressNotificationParam::new(token, done).with_total(100.0);
            context.peer.notify_progress(params).await.map_err(undelivered)?;
        }
        tokio::time::sleep(STEP).await;
    }
    text("Worked through three steps.")
}

pub(crate) fn undelivered(error: rmcp::ServiceError) -> ErrorData {
    ErrorData::internal_error(format!("the client could not be reached: {error}"), None)
}

/// The prompts that need nothing from the client; `None` when `name` is none of them.
pub(crate) fn prompt(name: &str, arguments: &JsonObject) -> Option<Result<GetPromptResult, ErrorData>> {
    let user = |content: Value| json!({"role": "user", "content": content});
    let says = |text: String| user(json!({"type": "text", "text": text}));
    let messages = match name {
        "test_simple_prompt" => json!([says("This is a simple prompt for testing.".into())]),
        "test_prompt_with_arguments" => json!([says(format!(
            "Prompt with arguments: arg1='{}', arg2='{}'",
            argument(arguments, "arg1"),
            argument(arguments, "arg2"),
        ))]),
        "test_prompt_with_embedded_resource" => json!([
            user(json!({"type": "resource", "resource": {
                "uri": argument(arguments, "resourceUri"), "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            }})),
            says("Please process the embedded resource above.".into()),
        ]),
        "test_prompt_with_image" => json!([
            user(json!({"type": "image", "data": PNG, "mimeType": "image/png"})),
            says("Please analyze the image above.".into()),
        ]),
        _ => return None,
    };
    Some(typed(json!({"resultType": "complete", "messages": messages})))
}

/// What is behind `uri`.
///
/// # Errors
/// "Resource not found", with the URI as data, in the code of the caller's revision.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        "test://static-text" => json!({
            "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource.",
        }),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        "test://watched-resource" => {
            json!({"uri": uri, "mimeType": "text/plain", "text": "Watched content."})
        }
        _ => match uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
            Some(id) if !id.is_empty() && !id.contains('/') => json!({
                "uri": uri, "mimeType": "application/json",
                "text": json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")}).to_string(),
            }),
            _ => return Err(ErrorData::resource_not_found("Resource not found", Some(json!({"uri": uri})))),
        },
    };
    typed(json!({"resultType": "complete", "contents": [contents]}))
}
