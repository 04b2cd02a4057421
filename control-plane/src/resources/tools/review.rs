//! `/v1/tenants/{tenant}/tools/review`: many tools at once.

use std::collections::HashSet;

use ids::ToolId;
use policy::Class;
use serde::{Deserialize, Serialize};

use super::{
    queries,
    types::{ClassDocument, DefinitionDigest, Tool},
};
use crate::{
    db::{StoreError, TenantTx},
    http::prelude::*,
    publish::{commit::commit, rows::ToolState},
};

/// Decisions in one review.
const MAX: usize = 200;

/// What is decided about many tools: all of it, or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolReview {
    /// One for each tool.
    #[schema(min_items = 1, max_items = 200)]
    pub decisions: Vec<ToolDecision>,
}

/// What is decided about one tool.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolDecision {
    /// Which.
    #[schema(value_type = String, example = "tool_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub tool_id: ToolId,
    /// What.
    pub verdict: Verdict,
    /// With an approval: the class to give the tool; if absent it stays as it is.
    #[serde(default)]
    #[schema(value_type = Option<ClassDocument>)]
    pub class: Option<Class>,
    /// `seen_digest` of the definition that was reviewed: an approval needs it, so that nothing is approved that came since.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub digest: Option<DefinitionDigest>,
}

/// For or against a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The definition that was seen last is approved.
    Approve,
    /// Nothing of the tool is approved any more.
    Reject,
}

/// The tools that were decided about, in the order of the decisions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolsReviewed {
    /// As they are now.
    pub items: Vec<Tool>,
}

/// Approves and rejects many tools as one revision. If anything stands in the way of one, `errors` says so at its place and
/// nothing is changed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/tools/review", operation_id = "review_tools", tag = "tools",
    params(TenantPath, Wait), request_body = ToolReview,
    responses((status = 200, description = "Decided", body = ToolsReviewed), Problems),
    security(("token" = ["tools:write"])))]
pub async fn review(
    caller: InTenant<ToolsWrite>,
    State(core): State<Core>,
    Query(wait): Query<Wait>,
    Json(review): Json<ToolReview>,
) -> Result<Response, ApiError> {
    if !(1..=MAX).contains(&review.decisions.len()) {
        return Err(ApiError::invalid("/decisions", format!("must be 1 to {MAX} decisions")));
    }
    let mut tx = core.store.tenant_for_write(caller.tenant).await?;
    let now = core.clock.now().to_offset();
    let (mut errors, mut seen) = (Vec::new(), HashSet::new());
    for (index, decision) in review.decisions.iter().enumerate() {
        let place = |field: &str| format!("/decisions/{index}{field}");
        if !seen.insert(decision.tool_id) {
            errors.push(fault(place("/tool_id"), "is decided about twice"));
            continue;
        }
        match acceptable(&mut tx, decision).await? {
            Ok(class) if decision.verdict == Verdict::Approve => {
                queries::approve(&mut tx, decision.tool_id, class, now).await?;
            }
            Ok(_) => queries::reject(&mut tx, decision.tool_id, now).await?,
            Err((field, message)) => errors.push(fault(place(field), message)),
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    let mut items = Vec::with_capacity(review.decisions.len());
    for decision in &review.decisions {
        items.push(queries::get(&mut tx, decision.tool_id).await?.tool);
    }
    let ids: Vec<_> = review.decisions.iter().map(|decision| decision.tool_id.to_string()).collect();
    let published = commit(tx, &core, &caller.act("review_tools", ids.join(" "))).await?;
    Written::new(caller.tenant, published)
        .answer(&core, &wait, Reply::resource(&ToolsReviewed { items })?)
        .await
}

/// The class that the tool would have; or where the decision is wrong, and why.
async fn acceptable(
    tx: &mut TenantTx,
    decision: &ToolDecision,
) -> Result<Result<Class, (&'static str, &'static str)>, StoreError> {
    let tool = match queries::lock(tx, decision.tool_id).await {
        Ok(detail) => detail.tool,
        Err(StoreError::NotFound) => return Ok(Err(("/tool_id", "no such tool"))),
        Err(error) => return Err(error),
    };
    if decision.verdict == Verdict::Reject && (decision.class.is_some() || decision.digest.is_some()) {
        return Ok(Err(("/verdict", "a rejection has neither class nor digest")));
    }
    if tool.state == ToolState::Retired {
        return Ok(Err(("/tool_id", "the upstream no longer offers this tool")));
    }
    match decision.digest {
        None if decision.verdict == Verdict::Approve => {
            return Ok(Err(("/digest", "must be the `seen_digest` of the definition that was reviewed")));
        }
        Some(reviewed) if reviewed.to_string() != tool.seen_digest => {
            return Ok(Err(("/digest", "another definition was seen since; review that one")));
        }
        _ => {}
    }
    Ok(Ok(decision.class.unwrap_or(tool.settings.class)))
}

fn fault(pointer: String, message: &str) -> FieldError {
    FieldError { pointer, message: message.to_owned() }
}
