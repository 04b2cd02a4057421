//! The server's handler: which request goes to which fixture.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, CompleteRequestParams,
        CompleteResult, DetailedTask, GetPromptRequestParams, GetPromptResponse, GetTaskParams,
        GetTaskResult, Implementation, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
        ListResourcesResult, ListToolsResult, PaginatedRequestParams, Prompt, ProtocolVersion,
        ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec, Resource, ResourceTemplate,
        ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter,
        Tool, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{RequestContext, SubscriptionContext},
    task_manager::TaskManager,
    transport::streamable_http_server::session::local::LocalSessionManager,
};
use seams::Entropy;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::{catalogue, conversation, jobs, plain, rounds};

/// A list that clients were told has changed.
#[derive(Debug, Clone, Copy)]
enum Changed {
    Tools,
    Prompts,
}

/// What all sessions and all stateless requests share.
pub(crate) struct Shared {
    pub(crate) sessions: Arc<LocalSessionManager>,
    pub(crate) tasks: TaskManager,
    pub(crate) states: RequestStateCodec,
    changes: broadcast::Sender<Changed>,
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    resources: Vec<Resource>,
    templates: Vec<ResourceTemplate>,
}

impl Shared {
    /// # Errors
    /// When a definition of the catalogue is malformed.
    pub(crate) fn new(sessions: Arc<LocalSessionManager>, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        Ok(Self {
            sessions,
            tasks: TaskManager::new(),
            states: RequestStateCodec::try_new(entropy.bytes::<32>())?,
            changes: broadcast::channel(64).0,
            tools: catalogue::tools()?,
            prompts: catalogue::prompts()?,
            resources: catalogue::resources()?,
            templates: catalogue::templates()?,
        })
    }
}

/// The handler: one per session, and one per request where there are no sessions.
pub(crate) struct Fixture(Arc<Shared>);

impl Fixture {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// `test_trigger_*_change`: tells every listener, and the caller's own session where it has one. The list stays as
    /// it is, so that a run's other scenarios see the same tools.
    async fn announce(
        &self,
        changed: Changed,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // An error says that nobody listens.
        let _ = self.0.changes.send(changed);
        if context.protocol_version().is_some_and(|version| version < ProtocolVersion::V_2026_07_28) {
            let told = match changed {
                Changed::Tools => context.peer.notify_tool_list_changed().await,
                Changed::Prompts => context.peer.notify_prompt_list_changed().await,
            };
            told.map_err(plain::undelivered)?;
        }
        plain::text("Announced.").map(Into::into)
    }
}

/// `value` as one of rmcp's types.
///
/// # Errors
/// An internal error: the fixture is wrong.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(format!("a fixture is malformed: {error}"), None))
}

/// The text argument `name`; empty when it is absent or no text.
pub(crate) fn argument(arguments: &JsonObject, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_resources_list_changed()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new(
            "portcullis-conformance-upstream",
            env!("CARGO_PKG_VERSION"),
        ))
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values: Vec<String> = ["paris", "park", "party", "test1", "test2"]
            .into_iter()
            .filter(|value| value.starts_with(&request.argument.value))
            .map(Into::into)
            .collect();
        let total = values.len();
        typed(json!({
            "resultType": "complete", "completion": {"values": values, "total": total, "hasMore": false},
        }))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.0.tools.clone()))
    }

    /// Where the transport finds the schema against which it checks `Mcp-Param-*` headers.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        let arguments = request.arguments.unwrap_or_default();
        let round = rounds::Round {
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        };

        match name {
            "test_tool_with_logging" => return plain::log_thrice(&context).await.map(Into::into),
            "test_logging_tool" => return plain::log_if_asked(&context).await.map(Into::into),
            "test_tool_with_progress" => return plain::progress(&context).await.map(Into::into),
            "test_sampling" => return conversation::sample(&context, &arguments).await.map(Into::into),
            "test_reconnection" => return conversation::reconnect(&self.0, &context).await.map(Into::into),
            "test_trigger_tool_change" => return self.announce(Changed::Tools, &context).await,
            "test_trigger_prompt_change" => return self.announce(Changed::Prompts, &context).await,
            "test_missing_capability" => {
                if rounds::capabilities(&context).sampling.is_none() {
                    let needed = ClientCapabilities::builder().enable_sampling().build();
                    return Err(ErrorData::missing_required_client_capability(needed));
                }
                return plain::text("The client can sample.").map(Into::into);
            }
            _ => {}
        }
        if let Some(result) = plain::call(name, &arguments) {
            return result.map(Into::into);
        }
        if let Some(question) = conversation::question(name, &arguments) {
            return conversation::ask(&context, question).await.map(Into::into);
        }
        if let Some(result) = rounds::call(&self.0, name, &round, &context) {
            return result;
        }
        if let Some(result) = jobs::call(&self.0, name, &arguments, &round, &context).await {
            return result;
        }
        Err(ErrorData::invalid_params(format!("Unknown tool: {name}"), None))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(self.0.prompts.clone()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let round = rounds::Round {
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        };
        if request.name == "test_input_required_result_prompt" {
            return rounds::prompt(&round);
        }
        match plain::prompt(&request.name, &request.arguments.unwrap_or_default()) {
            Some(result) => result.map(Into::into),
            None => Err(ErrorData::invalid_params(format!("Unknown prompt: {}", request.name), None)),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(self.0.resources.clone()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(self.0.templates.clone()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        plain::read(&request.uri).map(Into::into)
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.0.changes.subscribe();
        let accepted = subscription.accepted().clone();
        loop {
            let changed = tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                changed = changes.recv() => changed,
            };
            let sent = match changed {
                Ok(Changed::Tools) if accepted.tools_list_changed == Some(true) => {
                    subscription.sink().notify_tool_list_changed().await
                }
                Ok(Changed::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    subscription.sink().notify_prompt_list_changed().await
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let task: DetailedTask = self.0.tasks.get_task(&request.task_id)?;
        Ok(GetTaskResult::new(task))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tasks.cancel_task(&request.task_id)
    }
}
