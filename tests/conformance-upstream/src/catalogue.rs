//! What the server lists: tools, prompts, resources. Names, schemas and texts are those the suite's scenarios name.

use rmcp::model::{Prompt, Resource, ResourceTemplate, Tool};
use serde_json::{Value, json};

/// A 1×1 red PNG.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// A WAV file of no samples.
pub(crate) const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// Tools without arguments. The suite calls the first tool listed with `{}` and expects a result, so the plainest is
/// first.
const WITHOUT_ARGUMENTS: &[(&str, &str)] = &[
    ("test_simple_text", "Returns one text block"),
    ("test_image_content", "Returns an image"),
    ("test_audio_content", "Returns a sound"),
    ("test_embedded_resource", "Returns an embedded resource"),
    ("test_multiple_content_types", "Returns text, an image and a resource"),
    ("test_error_handling", "Always fails, as a tool result"),
    ("test_tool_with_logging", "Logs three times while it runs"),
    ("test_tool_with_progress", "Reports progress three times while it runs"),
    ("test_logging_tool", "Logs only when the request set a log level"),
    ("test_reconnection", "Closes its response stream and answers on the one that resumes it"),
    ("test_elicitation_sep1034_defaults", "Asks the user, with a default for every primitive type"),
    ("test_elicitation_sep1330_enums", "Asks the user, with every form of enumeration"),
    ("test_missing_capability", "Needs the client's sampling capability"),
    ("test_streaming_elicitation", "Asks the user within its own response"),
    ("test_trigger_tool_change", "Announces that the tool list changed"),
    ("test_trigger_prompt_change", "Announces that the prompt list changed"),
    ("test_input_required_result_elicitation", "Needs one answer from the user"),
    ("test_input_required_result_sampling", "Needs one completion from the client's model"),
    ("test_input_required_result_list_roots", "Needs the client's roots"),
    ("test_input_required_result_request_state", "Needs an answer together with its state"),
    ("test_input_required_result_multiple_inputs", "Needs three inputs at once"),
    ("test_input_required_result_multi_round", "Needs two answers, one after the other"),
    ("test_input_required_result_tampered_state", "Refuses a state it did not issue"),
    ("test_input_required_result_capabilities", "Asks only for what the client declared"),
    ("failing_job", "A task that ends in a tool error"),
    ("protocol_error_job", "A task that ends in a protocol error"),
    ("multi_input", "A task that asks two questions at once"),
    ("test_tool_with_task", "Asks for a name, then goes on as a task"),
];

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}

/// Every tool, in the order in which it is listed.
///
/// # Errors
/// When a definition is not a valid `Tool`; a mistake in this file.
pub(crate) fn tools() -> anyhow::Result<Vec<Tool>> {
    let mut tools = Vec::new();
    for (name, description) in WITHOUT_ARGUMENTS {
        tools.push(parse(json!({
            "name": name, "description": description, "inputSchema": {"type": "object", "properties": {}},
        }))?);
    }
    for definition in with_arguments() {
        tools.push(parse(definition)?);
    }
    Ok(tools)
}

fn with_arguments() -> [Value; 7] {
    let text = |description: &str| json!({"type": "string", "description": description});
    [
        json!({
            "name": "test_sampling", "description": "Asks the client's model",
            "inputSchema": {"type": "object", "properties": {"prompt": text("What to ask")}, "required": ["prompt"]},
        }),
        json!({
            "name": "test_elicitation", "description": "Asks the user",
            "inputSchema": {"type": "object", "properties": {"message": text("What to ask")}, "required": ["message"]},
        }),
        json!({
            "name": "greet", "description": "Greets somebody by name",
            "inputSchema": {"type": "object", "properties": {"name": text("Whom")}, "required": ["name"]},
        }),
        json!({
            "name": "slow_compute", "description": "Sleeps, as a task where the client can follow tasks",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "seconds": {"type": "number", "minimum": 0, "maximum": 120},
                    "label": text("Repeated in the result"),
                },
            },
        }),
        json!({
            "name": "confirm_delete", "description": "A task that asks for confirmation; deletes nothing",
            "inputSchema": {"type": "object", "properties": {"filename": text("Named in the question")}},
        }),
        json!({
            "name": "test_parameter_header", "description": "Mirrors one argument into a request header",
            "inputSchema": {
                "type": "object",
                "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
            },
        }),
        json!({
            "name": "json_schema_2020_12_tool", "description": "Has a schema with the keywords of JSON Schema 2020-12",
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "$defs": {
                    "address": {
                        "$anchor": "addressDef",
                        "type": "object",
                        "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                    },
                },
                "properties": {
                    "name": {"type": "string"},
                    "address": {"$ref": "#/$defs/address"},
                    "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                    "phone": {"type": "string"},
                    "email": {"type": "string"},
                },
                "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
                "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
                "then": {"required": ["phone"]},
                "else": {"required": ["email"]},
                "additionalProperties": false,
            },
        }),
    ]
}

/// Every prompt.
///
/// # Errors
/// When a definition is not a valid `Prompt`; a mistake in this file.
pub(crate) fn prompts() -> anyhow::Result<Vec<Prompt>> {
    let argument = |name: &str, what: &str| json!({"name": name, "description": what, "required": true});
    [
        json!({"name": "test_simple_prompt", "description": "One message"}),
        json!({
            "name": "test_prompt_with_arguments", "description": "Repeats its arguments",
            "arguments": [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
        }),
        json!({
            "name": "test_prompt_with_embedded_resource", "description": "Embeds a resource",
            "arguments": [argument("resourceUri", "URI of the resource to embed")],
        }),
        json!({"name": "test_prompt_with_image", "description": "Holds an image"}),
        json!({"name": "test_input_required_result_prompt", "description": "Needs one answer from the user"}),
    ]
    .into_iter()
    .map(parse)
    .collect()
}

/// Every resource that has a URI of its own.
///
/// # Errors
/// When a definition is not a valid `Resource`; a mistake in this file.
pub(crate) fn resources() -> anyhow::Result<Vec<Resource>> {
    [
        json!({
            "uri": "test://static-text", "name": "Static text", "description": "A text that never changes",
            "mimeType": "text/plain",
        }),
        json!({
            "uri": "test://static-binary", "name": "Static image", "description": "An image that never changes",
            "mimeType": "image/png",
        }),
        json!({
            "uri": "test://watched-resource", "name": "Watched", "description": "A text one can subscribe to",
            "mimeType": "text/plain",
        }),
    ]
    .into_iter()
    .map(parse)
    .collect()
}

/// The one template.
///
/// # Errors
/// When the definition is not a valid `ResourceTemplate`; a mistake in this file.
pub(crate) fn templates() -> anyhow::Result<Vec<ResourceTemplate>> {
    Ok(vec![parse(json!({
        "uriTemplate": "test://template/{id}/data", "name": "Templated data", "description": "Data for an id",
        "mimeType": "application/json",
    }))?])
}
