//! The decision over one slice of policies.

use std::sync::LazyLock;

use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request};
use errors::ErrorCode;

use crate::{
    facts::{Principal, Resource, action_uid},
    grant::Action,
};

/// What the policies say. Each case names the policies that made it so, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A grant permits it and none forbids it.
    Permit {
        /// The permits that hold.
        policies: Vec<Box<str>>,
    },
    /// Nothing permits it, or a grant forbids it.
    Deny {
        /// The forbids that hold; empty when nothing permits it.
        policies: Vec<Box<str>>,
    },
    /// A policy could not be parsed or evaluated. Whatever the others say, the call is refused.
    Error {
        /// Those that could not.
        policies: Vec<Box<str>>,
    },
}

impl Decision {
    /// Whether it may go on.
    #[must_use]
    pub const fn is_permit(&self) -> bool {
        matches!(self, Self::Permit { .. })
    }

    /// The policies that made the decision.
    #[must_use]
    pub fn policies(&self) -> &[Box<str>] {
        match self {
            Self::Permit { policies } | Self::Deny { policies } | Self::Error { policies } => policies,
        }
    }

    /// Why it may not go on; `None` for a permit.
    #[must_use]
    pub const fn code(&self, action: Action) -> Option<ErrorCode> {
        match self {
            Self::Permit { .. } => None,
            Self::Error { .. } => Some(ErrorCode::PolicyError),
            Self::Deny { .. } => Some(match action {
                Action::CallTool => ErrorCode::ToolNotGranted,
                Action::GetPrompt => ErrorCode::PromptNotGranted,
                Action::ReadResource | Action::Subscribe => ErrorCode::ResourceNotGranted,
                Action::Complete | Action::UseTasks => ErrorCode::ActionNotGranted,
            }),
        }
    }
}

/// The policies that can bear on a principal and a resource, parsed. Worth keeping as long as its snapshot lives.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    pub(crate) set: PolicySet,
    /// Policies that do not parse: with any of them nothing is permitted.
    pub(crate) broken: Vec<Box<str>>,
}

impl Slice {
    /// Decides.
    #[must_use]
    pub fn decide(&self, principal: &Principal, action: Action, resource: &Resource) -> Decision {
        if !self.broken.is_empty() {
            return Decision::Error { policies: self.broken.clone() };
        }
        if self.set.is_empty() {
            return Decision::Deny { policies: Vec::new() };
        }
        // Without facts nothing can be decided: that is an error of all policies, never a permit.
        let Some((request, entities)) = facts(principal, action, resource) else {
            return Decision::Error {
                policies: sorted(self.set.policies().map(|policy| policy.id().to_string())),
            };
        };
        let response = AUTHORIZER.is_authorized(&request, &self.set, &entities);
        let failed = sorted(response.diagnostics().errors().map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
        }));
        if !failed.is_empty() {
            return Decision::Error { policies: failed };
        }
        let policies = sorted(response.diagnostics().reason().map(ToString::to_string));
        match response.decision() {
            cedar_policy::Decision::Allow => Decision::Permit { policies },
            cedar_policy::Decision::Deny => Decision::Deny { policies },
        }
    }
}

fn facts(principal: &Principal, action: Action, resource: &Resource) -> Option<(Request, Entities)> {
    let entities =
        Entities::from_entities([principal.entity.clone(), resource.entity.clone()?], None).ok()?;
    let request =
        Request::new(principal.uid.clone(), action_uid(action), resource.uid.clone(), Context::empty(), None)
            .ok()?;
    Some((request, entities))
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<Box<str>> {
    let mut ids: Vec<Box<str>> = ids.map(String::into_boxed_str).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);
