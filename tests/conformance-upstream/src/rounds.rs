//! Tools and the prompt of 2026-07-28 that need input from the client and get it in several rounds (SEP-2322): the
//! first answer says what is missing, the client repeats its request with the inputs.

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolResponse, ClientCapabilities, GetPromptResponse, InputRequiredResult, InputResponses},
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{
    plain::text,
    server::{Shared, typed},
};

/// What a repeated request brings along.
pub(crate) struct Round<'a> {
    pub(crate) responses: Option<&'a InputResponses>,
    pub(crate) state: Option<&'a str>,
}

impl Round<'_> {
    /// The client's response to `key`, if it is an object; anything else counts as missing.
    fn response(&self, key: &str) -> Option<&Value> {
        self.responses.and_then(|all| all.get(key)).filter(|response| response.is_object())
    }
}

fn elicit(message: &str, field: &str, kind: &str) -> Value {
    json!({"method": "elicitation/create", "params": {
        "mode": "form",
        "message": message,
        "requestedSchema": {"type": "object", "properties": {field: {"type": kind}}, "required": [field]},
    }})
}

fn sample(prompt: &str, tokens: u32) -> Value {
    json!({"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": prompt}}], "maxTokens": tokens,
    }})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

/// "Send me these first", with a state to send along when there is one.
fn need(requests: Value, state: Option<String>) -> Result<InputRequiredResult, ErrorData> {
    Ok(InputRequiredResult::new(Some(typed(requests)?), state))
}

/// The question of `test_tool_with_task`, and the name once it was answered.
pub(crate) fn name_for_task(round: &Round<'_>) -> Result<Result<String, InputRequiredResult>, ErrorData> {
    match round.response("user_name").and_then(|r| r["content"]["name"].as_str()) {
        Some(name) => Ok(Ok(name.to_owned())),
        None => need(json!({"user_name": elicit("What is your name?", "name", "string")}), None).map(Err),
    }
}

/// `test_input_required_result_prompt`.
pub(crate) fn prompt(round: &Round<'_>) -> Result<GetPromptResponse, ErrorData> {
    let Some(answer) = round.response("user_context") else {
        let requests =
            json!({"user_context": elicit("What context should the prompt use?", "context", "string")});
        return need(requests, None).map(Into::into);
    };
    let said = format!("Use this context: {}", answer["content"]["context"].as_str().unwrap_or_default());
    typed(json!({
        "resultType": "complete",
        "messages": [{"role": "user", "content": {"type": "text", "text": said}}],
    }))
    .map(GetPromptResponse::Complete)
}

/// The tools of this file; `None` when `name` is none of them.
pub(crate) fn call(
    shared: &Shared,
    name: &str,
    round: &Round<'_>,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let kind = name.strip_prefix("test_input_required_result_");
    Some(match kind {
        Some("elicitation") => one(
            round,
            "user_name",
            || elicit("What is your name?", "name", "string"),
            |answer| format!("Hello, {}!", answer["content"]["name"].as_str().unwrap_or_default()),
        ),
        Some("sampling") => one(
            round,
            "capital_question",
            || sample("What is the capital of France?", 100),
            |answer| answer["content"]["text"].as_str().unwrap_or_default().to_owned(),
        ),
        Some("list_roots") => {
            one(round, "client_roots", roots, |answer| format!("Roots: {}", answer["roots"]))
        }
        Some("request_state") => stateful(shared, name, round, "state-ok"),
        Some("tampered_state") => stateful(shared, name, round, "The state is the one issued."),
        Some("multiple_inputs") => several(shared, name, round),
        Some("multi_round") => in_turn(shared, name, round),
        Some("capabilities") => within_capabilities(&capabilities(context), round),
        _ if name == "test_streaming_elicitation" => one(
            round,
            "user_name",
            || elicit("What is your name?", "name", "string"),
            |answer| format!("Hello, {}!", answer["content"]["name"].as_str().unwrap_or_default()),
        ),
        _ => return None,
    })
}

/// What the client declared, in its request or in its handshake.
pub(crate) fn capabilities(context: &RequestContext<RoleServer>) -> ClientCapabilities {
    context.client_capabilities().unwrap_or_default()
}

fn one(
    round: &Round<'_>,
    key: &str,
    request: impl Fn() -> Value,
    finish: impl Fn(&Value) -> String,
) -> Result<CallToolResponse, ErrorData> {
    match round.response(key) {
        Some(answer) => text(finish(answer)).map(Into::into),
        None => need(json!({key: request()}), None).map(Into::into),
    }
}

/// One question whose repetition must carry the sealed state unchanged.
fn stateful(
    shared: &Shared,
    name: &str,
    round: &Round<'_>,
    done: &str,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(state) = round.state {
        open(shared, name, state)?;
        if round.response("confirm").is_some() {
            return text(done).map(Into::into);
        }
    }
    let requests = json!({"confirm": elicit("Please confirm", "ok", "boolean")});
    need(requests, Some(seal(shared, name, "confirm"))).map(Into::into)
}

fn several(shared: &Shared, name: &str, round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let keys = ["user_name", "greeting", "client_roots"];
    if let Some(state) = round.state {
        open(shared, name, state)?;
        if keys.iter().all(|key| round.response(key).is_some()) {
            return text("All three inputs arrived.").map(Into::into);
        }
    }
    let requests = json!({
        "user_name": elicit("What is your name?", "name", "string"),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": roots(),
    });
    need(requests, Some(seal(shared, name, "inputs"))).map(Into::into)
}

/// Two questions in turn; which was asked last is in the state.
fn in_turn(shared: &Shared, name: &str, round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let asked = round.state.map(|state| open(shared, name, state)).transpose()?;
    match asked.as_deref() {
        Some("step1") if round.response("step1").is_some() => {
            let requests =
                json!({"step2": elicit("Step 2: What is your favorite color?", "color", "string")});
            need(requests, Some(seal(shared, name, "step2"))).map(Into::into)
        }
        Some("step2") if round.response("step2").is_some() => text("Both answers arrived.").map(Into::into),
        _ => {
            let requests = json!({"step1": elicit("Step 1: What is your name?", "name", "string")});
            need(requests, Some(seal(shared, name, "step1"))).map(Into::into)
        }
    }
}

/// Asks by the means the client declared, and by no other.
fn within_capabilities(
    declared: &ClientCapabilities,
    round: &Round<'_>,
) -> Result<CallToolResponse, ErrorData> {
    if round.response("answer").is_some() {
        return text("Answered by a declared means.").map(Into::into);
    }
    let request = if declared.sampling.is_some() {
        sample("Say something", 50)
    } else if declared.elicitation.is_some() {
        elicit("Say something", "words", "string")
    } else {
        return text("The client declared no means of input.").map(Into::into);
    };
    need(json!({"answer": request}), None).map(Into::into)
}

/// A state that only this process and this tool accept back.
fn seal(shared: &Shared, tool: &str, state: &str) -> String {
    use rmcp::model::SealOptions;
    shared.states.seal_with(state.as_bytes(), &SealOptions::new().associated_data(tool.as_bytes()))
}

fn open(shared: &Shared, tool: &str, sealed: &str) -> Result<String, ErrorData> {
    let refused = || ErrorData::invalid_params("requestState was not issued here", None);
    let state = shared.states.open_with(sealed, tool.as_bytes()).map_err(|_| refused())?;
    String::from_utf8(state).map_err(|_| refused())
}
