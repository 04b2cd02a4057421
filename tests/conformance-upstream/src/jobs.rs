//! Tools that go on as tasks (extension `io.modelcontextprotocol/tasks`, SEP-2663) where the client declared it.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolResponse, ClientCapabilities, CreateTaskResult, JsonObject},
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskFuture, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    plain::{failure, text},
    rounds::{Round, capabilities, name_for_task},
    server::{Shared, argument, typed},
};

/// The tools of this file; `None` when `name` is none of them.
pub(crate) async fn call(
    shared: &Shared,
    name: &str,
    arguments: &JsonObject,
    round: &Round<'_>,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let follows_tasks = capabilities(context).supports_tasks();
    if name == "slow_compute" && !follows_tasks {
        return Some(compute_here(arguments, context).await);
    }
    if !matches!(
        name,
        "slow_compute"
            | "failing_job"
            | "protocol_error_job"
            | "confirm_delete"
            | "multi_input"
            | "test_tool_with_task"
    ) {
        return None;
    }
    if !follows_tasks {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Some(Err(ErrorData::missing_required_client_capability(needed)));
    }
    Some(match name {
        "slow_compute" => {
            let (pause, label) = (pause(arguments), argument(arguments, "label"));
            start(shared, move |task| Box::pin(compute(task, pause, label)))
        }
        "failing_job" => start(shared, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(failure("This job always fails")?)
            })
        }),
        "protocol_error_job" => start(shared, |_| {
            Box::pin(async { Err(ErrorData::internal_error("This job breaks the protocol", None).into()) })
        }),
        "confirm_delete" => {
            let file = argument(arguments, "filename");
            start(shared, move |task| Box::pin(confirm(task, file)))
        }
        "multi_input" => start(shared, |task| Box::pin(two_questions(task))),
        _ => match name_for_task(round) {
            Ok(Ok(user)) => {
                start(shared, move |_| Box::pin(async move { Ok(text(format!("Worked for {user}."))?) }))
            }
            Ok(Err(missing)) => Ok(missing.into()),
            Err(error) => Err(error),
        },
    })
}

fn start(
    shared: &Shared,
    work: impl FnOnce(TaskContext) -> TaskFuture,
) -> Result<CallToolResponse, ErrorData> {
    let options = TaskOptions::new().with_poll_interval_ms(200);
    Ok(CreateTaskResult::new(shared.tasks.spawn(options, work)).into())
}

/// At most two minutes, whatever is asked for.
fn pause(arguments: &JsonObject) -> Duration {
    let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    Duration::from_secs_f64(seconds.clamp(0.0, 120.0))
}

/// `slow_compute` for a client that cannot follow tasks: the answer comes when it is done.
async fn compute_here(
    arguments: &JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    tokio::select! {
        () = tokio::time::sleep(pause(arguments)) => text(computed(&argument(arguments, "label"))).map(Into::into),
        () = context.ct.cancelled() => failure("Cancelled").map(Into::into),
    }
}

async fn compute(
    task: TaskContext,
    pause: Duration,
    label: String,
) -> Result<rmcp::model::CallToolResult, TaskExit> {
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(text(computed(&label))?),
        () = task.cancelled() => Err(TaskExit::Cancelled),
    }
}

fn computed(label: &str) -> String {
    format!("Computed {label}.")
}

fn question(message: String, field: &str, kind: &str) -> Result<rmcp::model::InputRequest, ErrorData> {
    typed(json!({"method": "elicitation/create", "params": {
        "mode": "form",
        "message": message,
        "requestedSchema": {"type": "object", "properties": {field: {"type": kind}}, "required": [field]},
    }}))
}

async fn confirm(task: TaskContext, file: String) -> Result<rmcp::model::CallToolResult, TaskExit> {
    let request = question(format!("Delete {file}?"), "confirm", "boolean")?;
    let answer = task.request_input("confirm", request).await?;
    let confirmed = answer["content"]["confirm"].as_bool().unwrap_or(false);
    Ok(text(if confirmed { format!("{file} would be deleted.") } else { format!("{file} is kept.") })?)
}

async fn two_questions(task: TaskContext) -> Result<rmcp::model::CallToolResult, TaskExit> {
    let first = question("First name?".into(), "name", "string")?;
    let second = question("Second name?".into(), "name", "string")?;
    let (first, second) =
        tokio::join!(task.request_input("first", first), task.request_input("second", second));
    let name = |answer: Value| answer["content"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(text(format!("{} and {}", name(first?), name(second?)))?)
}
