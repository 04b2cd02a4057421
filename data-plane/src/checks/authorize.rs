//! Row 11, authorize: principal, action and target, without arguments. Most refusals end here, cheaply.
//!
//! Tools, prompts, resources, completions, subscriptions and tasks need a grant; every other method is decided by the
//! endpoint's method set. Default deny, forbid wins, and a policy that cannot be evaluated refuses. What the catalogue
//! does not know is not granted to anyone. A token's scopes limit what grants give: whoever lacks nothing else is told which to ask
//! for.

use std::{collections::BTreeSet, sync::Arc};

use ::mcp::{
    Decide, Method, ProtocolError, Target,
    envelope::same_but_case,
    raw::{Kind, Raw},
};
use ids::Scopes;
use policy::{Action, Decision, Held, Ruling};

use super::{Call, EndpointEvidence, Principal, Reservation};
use crate::{
    decisions::{self, Decisions, Wanted},
    refuse::Refusal,
    snapshot::index::{AttachmentIndex, EndpointIndex, ToolIndex},
};

/// Evidence: the tenant's policies permit it.
#[derive(Debug)]
pub(crate) struct Permit {
    grounds: Grounds,
    decision: Option<Arc<Decision>>,
}

/// What was permitted, by the upstream's own names. A later snapshot is asked the same.
#[derive(Debug, Clone)]
pub(crate) enum Grounds {
    /// A tool, to be pinned at row 12.
    Tool(Arc<ToolIndex>),
    /// A prompt.
    Prompt(Box<str>),
    /// A resource.
    Resource(Box<str>),
    /// Subscriptions to resources, each by URI, and to what becomes of tasks.
    Subscriptions { uris: Box<[Box<str>]>, tasks: bool },
    /// Completions.
    Completion,
    /// Tasks.
    Tasks,
    /// A method of the endpoint's set.
    MethodSet(Method),
    /// What keeps a conversation going.
    Lifecycle,
}

impl Permit {
    pub(crate) fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// What was permitted, to be asked again while the call runs.
    pub(crate) fn into_grounds(self) -> Grounds {
        self.grounds
    }

    /// Grants that decided.
    pub(crate) fn policies(&self) -> &[Box<str>] {
        self.decision.as_deref().map_or(&[], Decision::policies)
    }
}

/// The tool a caller's name stands for at this attachment; `None` for every other call, and for names the catalogue
/// does not know.
pub(crate) fn named_tool<'a>(
    attachment: &'a AttachmentIndex,
    target: &Target<'_>,
) -> Option<&'a Arc<ToolIndex>> {
    let Target::Tool { name, .. } = target else { return None };
    attachment.upstream.tools.get(original(attachment, name)?)
}

/// A name without the attachment's prefix; `None` for one that lacks it, which is therefore no name here.
pub(crate) fn original<'a>(attachment: &AttachmentIndex, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(&*attachment.prefix)
}

/// Authorizes; `tool` is what [`named_tool`] found.
pub(crate) fn check(
    decisions: &Decisions,
    place: &EndpointEvidence,
    attachment: &AttachmentIndex,
    principal: &Principal,
    call: &Call<'_>,
    tool: Option<&Arc<ToolIndex>>,
    _reservation: &Reservation,
) -> Result<Permit, Refusal> {
    let asked = Asked { place, attachment, principal };
    // GET, DELETE and answers to the server's requests: the session they are bound to is what permits them.
    let Some(method) = call.method() else {
        return Ok(Permit { grounds: Grounds::Lifecycle, decision: None });
    };
    match method.decided_by() {
        Decide::Lifecycle => Ok(Permit { grounds: Grounds::Lifecycle, decision: None }),
        Decide::MethodSet => asked.method_set(method),
        // A server lists the tasks of whoever asks, and who asks is the gateway, with one credential for all callers:
        // which of the tasks are this caller's cannot be told.
        Decide::Grant(_) if method == Method::TasksList => Err(Refusal::MethodClosed),
        Decide::Grant(_) => match call.target() {
            Target::Tool { .. } => asked.tool(decisions, tool),
            Target::Prompt { name, .. } => {
                let name = original(attachment, name).ok_or(Refusal::not_granted(Action::GetPrompt))?;
                asked.grant(&Wanted::Prompt(name), Grounds::Prompt(name.into()))
            }
            Target::Resource { uri } if method == Method::ResourcesRead => {
                asked.grant(&Wanted::Resource(uri), Grounds::Resource((&**uri).into()))
            }
            Target::Resource { uri } => {
                let grounds = Grounds::Subscriptions { uris: [(&**uri).into()].into(), tasks: false };
                asked.grant(&Wanted::Subscription(uri), grounds)
            }
            Target::Listen { filter } => asked.listen(method, *filter),
            Target::CompletePrompt { name } if original(attachment, name).is_none() => {
                Err(Refusal::not_granted(Action::Complete))
            }
            Target::CompletePrompt { .. } | Target::CompleteResource { .. } => {
                asked.grant(&Wanted::Completion, Grounds::Completion)
            }
            Target::Task { .. } | Target::Nothing => asked.grant(&Wanted::Tasks, Grounds::Tasks),
        },
    }
}

struct Asked<'a> {
    place: &'a EndpointEvidence,
    attachment: &'a AttachmentIndex,
    principal: &'a Principal,
}

impl Asked<'_> {
    fn tool(&self, decisions: &Decisions, tool: Option<&Arc<ToolIndex>>) -> Result<Permit, Refusal> {
        let tool = tool.ok_or(Refusal::not_granted(Action::CallTool))?;
        let ruling = decisions.tool(self.place.tenant(), self.principal.who(), tool);
        self.permit(Grounds::Tool(Arc::clone(tool)), &ruling, Action::CallTool)
    }

    fn grant(&self, wanted: &Wanted<'_>, grounds: Grounds) -> Result<Permit, Refusal> {
        let who = self.principal.who();
        let ruling = decisions::decide(self.place.tenant(), who, self.attachment.upstream.id, wanted);
        self.permit(grounds, &ruling, wanted.action())
    }

    fn permit(&self, grounds: Grounds, ruling: &Ruling, action: Action) -> Result<Permit, Refusal> {
        let held = self.principal.held();
        let decision = ruling.with(held);
        let policies = || decision.policies().to_vec();
        match &*decision {
            Decision::Permit { .. } => Ok(Permit { grounds, decision: Some(decision) }),
            Decision::Deny { .. } => Err(Refusal::NotGranted { action, policies: policies() }),
            Decision::Error { .. } => Err(Refusal::PolicyError { policies: policies() }),
            Decision::Lacking { scopes, .. } => {
                let own = match held {
                    Held::These(own) => own.clone(),
                    Held::All => Scopes::none(),
                };
                Err(Refusal::ScopesLacking { scopes: own.with(scopes), policies: policies() })
            }
        }
    }

    /// Changes of lists are part of the method set, like the lists; changes of resources need a grant for each URI, and those of tasks
    /// the one for tasks. Whoever lacks scopes is told of those for all of them at once.
    fn listen(&self, method: Method, filter: Raw<'_>) -> Result<Permit, Refusal> {
        let uris = subscribed(filter).ok_or(Refusal::not_granted(Action::Subscribe))?;
        let tasks = names_tasks(filter).ok_or(Refusal::not_granted(Action::UseTasks))?;
        if uris.len() > MOST_URIS {
            return Err(Refusal::Protocol(ProtocolError::invalid_params(200, "more than 256 resources")));
        }
        let mut permit = self.method_set(method)?;
        let mut lacking: Option<(Scopes, BTreeSet<Box<str>>)> = None;
        let wanted = uris.iter().map(|uri| Wanted::Subscription(uri));
        for wanted in wanted.chain(tasks.then_some(Wanted::Tasks)) {
            match self.grant(&wanted, Grounds::Lifecycle) {
                Ok(granted) => permit.decision = granted.decision,
                Err(Refusal::ScopesLacking { scopes, policies }) => {
                    let (all, of) = lacking.get_or_insert_default();
                    *all = all.with(&scopes);
                    of.extend(policies);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        if let Some((scopes, policies)) = lacking {
            let policies = policies.into_iter().collect();
            return Err(Refusal::ScopesLacking { scopes, policies });
        }
        if tasks || !uris.is_empty() {
            permit.grounds = Grounds::Subscriptions { uris: uris.into(), tasks };
        }
        Ok(permit)
    }

    fn method_set(&self, method: Method) -> Result<Permit, Refusal> {
        if is_open(self.place.endpoint(), method) {
            Ok(Permit { grounds: Grounds::MethodSet(method), decision: None })
        } else {
            Err(Refusal::MethodClosed)
        }
    }
}

/// URIs that one request may listen to: each is decided by itself, on a thread that other tenants' calls wait for.
const MOST_URIS: usize = 256;

/// The URIs of a subscription's filter, each once, and one more than may be where they are too many; `None` where they are no list of texts,
/// or a reader that ignores case would find others.
fn subscribed(filter: Raw<'_>) -> Option<Vec<Box<str>>> {
    const MEMBER: &str = "resourceSubscriptions";
    if filter.members().any(|(name, _)| name != MEMBER && same_but_case(&name, MEMBER)) {
        return None;
    }
    let Some(uris) = filter.get(MEMBER) else { return Some(Vec::new()) };
    if uris.kind() != Kind::Array {
        return None;
    }
    let mut found = BTreeSet::new();
    for uri in uris.elements() {
        found.insert(Box::from(uri.string()?));
        if found.len() > MOST_URIS {
            break;
        }
    }
    Some(found.into_iter().collect())
}

/// Whether a subscription's filter names tasks; `None` where a reader that ignores case would find some.
fn names_tasks(filter: Raw<'_>) -> Option<bool> {
    const MEMBER: &str = "taskIds";
    let hidden = filter.members().any(|(name, _)| name != MEMBER && same_but_case(&name, MEMBER));
    (!hidden).then(|| filter.get(MEMBER).is_some())
}

/// Whether the endpoint's method set has a method.
pub(crate) fn is_open(endpoint: &EndpointIndex, method: Method) -> bool {
    !endpoint.closed_methods.iter().any(|closed| **closed == *method.as_str())
}

#[cfg(test)]
mod tests;
