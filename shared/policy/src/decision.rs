//! The decision over one slice of policies.
//!
//! Cedar is asked once, for somebody who has every scope that the slice's policies ask for; what it says to somebody who has fewer
//! follows, because a scope only ever makes a permit count ([`Ruling::with`]). So what is asked often is kept once for all scopes.

use std::sync::{Arc, LazyLock};

use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request, RestrictedExpression};
use errors::ErrorCode;
use ids::{Scope, Scopes};

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
    /// Grants would permit it, each with a scope that is not there, and none forbids it.
    Lacking {
        /// Those grants.
        policies: Vec<Box<str>>,
        /// What they ask for: with one of them it may go on.
        scopes: Scopes,
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
            Self::Permit { policies }
            | Self::Deny { policies }
            | Self::Lacking { policies, .. }
            | Self::Error { policies } => policies,
        }
    }

    /// Why it may not go on; `None` for a permit.
    #[must_use]
    pub const fn code(&self, action: Action) -> Option<ErrorCode> {
        match self {
            Self::Permit { .. } => None,
            Self::Error { .. } => Some(ErrorCode::PolicyError),
            Self::Lacking { .. } => Some(ErrorCode::ScopeInsufficient),
            Self::Deny { .. } => Some(match action {
                Action::CallTool => ErrorCode::ToolNotGranted,
                Action::GetPrompt => ErrorCode::PromptNotGranted,
                Action::ReadResource | Action::Subscribe => ErrorCode::ResourceNotGranted,
                Action::Complete | Action::UseTasks => ErrorCode::ActionNotGranted,
            }),
        }
    }
}

/// Which scopes somebody has.
#[derive(Debug, Clone, Copy)]
pub enum Held<'a> {
    /// Whatever is asked for: an API key's.
    All,
    /// These: an access token's.
    These(&'a Scopes),
}

/// What the policies say, to whoever has which scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// To somebody who has all of them.
    most: Arc<Decision>,
    /// Of the permits that hold, those that ask for a scope, sorted.
    scoped: Box<[(Box<str>, Scope)]>,
}

impl Ruling {
    fn new(most: Decision) -> Self {
        Self { most: Arc::new(most), scoped: Box::default() }
    }

    /// Nothing permits it.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(Decision::Deny { policies: Vec::new() })
    }

    /// The same, unless what is said to somebody who also takes part forbids it, or cannot be said. What is permitted to that one does
    /// not count.
    #[must_use]
    pub fn unless_forbidden(self, other: &Self) -> Self {
        match &*other.most {
            Decision::Deny { policies } if policies.is_empty() => self,
            Decision::Permit { .. } | Decision::Lacking { .. } => self,
            Decision::Deny { .. } | Decision::Error { .. }
                if matches!(*self.most, Decision::Error { .. }) =>
            {
                self
            }
            Decision::Deny { .. } | Decision::Error { .. } => other.clone(),
        }
    }

    /// What they say to somebody with these scopes.
    #[must_use]
    pub fn with(&self, held: Held<'_>) -> Arc<Decision> {
        let (Held::These(scopes), false) = (held, self.scoped.is_empty()) else {
            return Arc::clone(&self.most);
        };
        let lacked = |policy: &str| {
            let asks = self.scoped.iter().find(|(scoped, _)| **scoped == *policy);
            asks.is_some_and(|(_, scope)| !scopes.has(scope.as_str()))
        };
        let counting: Vec<Box<str>> =
            self.most.policies().iter().filter(|policy| !lacked(policy)).cloned().collect();
        Arc::new(if counting.is_empty() {
            let asked = Scopes::first(self.scoped.iter().map(|(_, scope)| scope.clone()));
            Decision::Lacking { policies: self.most.policies().to_vec(), scopes: asked }
        } else {
            Decision::Permit { policies: counting }
        })
    }
}

/// The policies that can bear on a principal and a resource, parsed. Worth keeping as long as its snapshot lives.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    pub(crate) set: PolicySet,
    /// The scopes that some of them ask for.
    pub(crate) scopes: Vec<(Box<str>, Scope)>,
    /// Policies that do not parse: with any of them nothing is permitted.
    pub(crate) broken: Vec<Box<str>>,
}

impl Slice {
    /// Decides.
    #[must_use]
    pub fn decide(&self, principal: &Principal, action: Action, resource: &Resource) -> Ruling {
        if !self.broken.is_empty() {
            return Ruling::new(Decision::Error { policies: self.broken.clone() });
        }
        if self.set.is_empty() {
            return Ruling::nothing();
        }
        let circumstances = if self.scopes.is_empty() {
            UNSCOPED.clone()
        } else {
            circumstances(self.scopes.iter().map(|(_, scope)| scope.as_str()))
        };
        let decision = self.ask(principal, action, resource, circumstances);
        let holds = |policy: &str| decision.policies().iter().any(|held| **held == *policy);
        let scoped = self.scopes.iter().filter(|(policy, _)| decision.is_permit() && holds(policy));
        let scoped = scoped.cloned().collect();
        Ruling { most: Arc::new(decision), scoped }
    }

    /// What Cedar says. Without facts nothing can be decided: that is an error of all policies, never a permit.
    pub(crate) fn ask(
        &self,
        principal: &Principal,
        action: Action,
        resource: &Resource,
        circumstances: Option<Context>,
    ) -> Decision {
        let facts = circumstances.and_then(|known| facts(principal, action, resource, known));
        let Some((request, entities)) = facts else {
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

fn facts(
    principal: &Principal,
    action: Action,
    resource: &Resource,
    circumstances: Context,
) -> Option<(Request, Entities)> {
    let entities =
        Entities::from_entities([principal.entity.clone(), resource.entity.clone()?], None).ok()?;
    let action = action_uid(action);
    let request = Request::new(principal.uid.clone(), action, resource.uid.clone(), circumstances, None);
    Some((request.ok()?, entities))
}

/// The circumstances of a call by somebody with these scopes.
pub(crate) fn circumstances<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Option<Context> {
    let scopes = scopes.into_iter().map(|scope| RestrictedExpression::new_string(scope.to_owned()));
    Context::from_pairs([("scopes".to_owned(), RestrictedExpression::new_set(scopes))]).ok()
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<Box<str>> {
    let mut ids: Vec<Box<str>> = ids.map(String::into_boxed_str).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

/// Where no policy asks for a scope.
static UNSCOPED: LazyLock<Option<Context>> = LazyLock::new(|| circumstances([]));
