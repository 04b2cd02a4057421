//! What a grant looks like.

use ids::{ClientId, GrantId, MemberId, RoleId, Scope};
use policy::{Effect, GrantSpec, GrantedAction, Subject};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    http::problem::{ApiError, FieldError},
    resources::fields::moment,
};

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grant {
    /// Id; also the name of its policy in the audit log.
    #[schema(value_type = String, example = "gr_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: GrantId,
    /// Whom it is for; never changes.
    pub subject: GrantSubject,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: GrantSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// Whom a grant is for: `{"role": "rol_…"}`, `{"client": "cl_…"}` or `{"member": "mem_…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantSubject {
    /// Every client and every member that has the role.
    #[schema(value_type = String)]
    Role(RoleId),
    /// One client.
    #[schema(value_type = String)]
    Client(ClientId),
    /// One member, through whichever client.
    #[schema(value_type = String)]
    Member(MemberId),
}

impl GrantSubject {
    /// Where in a grant's JSON the subject's id is, and what to say when the tenant has no such thing.
    #[must_use]
    pub const fn unknown(self) -> (&'static str, &'static str) {
        match self {
            Self::Role(_) => ("/subject/role", "no such role"),
            Self::Client(_) => ("/subject/client", "no such client"),
            Self::Member(_) => ("/subject/member", "no such member"),
        }
    }
}

/// What can be changed of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// `forbid` wins over every `permit`.
    #[serde(default = "permit")]
    #[schema(value_type = EffectDocument)]
    pub effect: Effect,
    /// A scope by name, without which in their token it does not count for whoever shows one; API keys have all. Null: it counts for
    /// everybody it is for. Never of a `forbid`.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub scope: Option<Scope>,
    /// What it covers.
    #[schema(value_type = Vec<ActionDocument>, min_items = 1, max_items = 16)]
    pub actions: Vec<GrantedAction>,
}

/// A grant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantNew {
    /// Whom it is for.
    pub subject: GrantSubject,
    /// `forbid` wins over every `permit`.
    #[serde(default = "permit")]
    #[schema(value_type = EffectDocument)]
    pub effect: Effect,
    /// A scope by name, without which in their token it does not count for whoever shows one; API keys have all. Null: it counts for
    /// everybody it is for. Never of a `forbid`.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub scope: Option<Scope>,
    /// What it covers.
    #[schema(value_type = Vec<ActionDocument>, min_items = 1, max_items = 16)]
    pub actions: Vec<GrantedAction>,
}

const fn permit() -> Effect {
    Effect::Permit
}

impl GrantSettings {
    /// Refuses what would not compile to a policy.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each place.
    pub fn check(&self, id: GrantId, subject: GrantSubject) -> Result<(), ApiError> {
        let subject = match subject {
            GrantSubject::Role(id) => Subject::Role(id),
            GrantSubject::Client(id) => Subject::Client(id),
            GrantSubject::Member(id) => Subject::Member(id),
        };
        let (scope, actions) = (self.scope.clone(), self.actions.clone());
        let spec = GrantSpec { id, subject, effect: self.effect, scope, actions };
        policy::compile_grant(&spec).map(|_| ()).map_err(|error| {
            let places = error.faults.into_iter();
            ApiError::Invalid(
                places
                    .map(|fault| FieldError { pointer: fault.pointer, message: fault.message.into() })
                    .collect(),
            )
        })
    }
}

/// What a grant does.
#[derive(Debug, ToSchema)]
#[schema(as = Effect)]
#[serde(rename_all = "snake_case")]
pub enum EffectDocument {
    /// Allows.
    Permit,
    /// Refuses.
    Forbid,
}

/// One kind of access to one upstream, tagged by `action`.
#[derive(Debug, ToSchema)]
#[schema(as = GrantedAction)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ActionDocument {
    /// `tools/call`, and seeing the tool in `tools/list`.
    CallTool {
        /// Whose tools (`ups_…`).
        upstream: String,
        /// Which of them.
        tools: ToolSelectorDocument,
    },
    /// `prompts/get`, and seeing the prompt in `prompts/list`.
    GetPrompt {
        /// Whose prompts (`ups_…`).
        upstream: String,
        /// Which of them.
        prompts: NameSelectorDocument,
    },
    /// `resources/read`, and seeing the resource in `resources/list`.
    ReadResource {
        /// Whose resources (`ups_…`).
        upstream: String,
        /// Patterns of URIs; `*` stands for any characters.
        uris: Vec<String>,
    },
    /// Notices that a resource has changed.
    Subscribe {
        /// Whose resources (`ups_…`).
        upstream: String,
        /// Patterns of URIs; `*` stands for any characters.
        uris: Vec<String>,
    },
    /// `completion/complete`.
    Complete {
        /// Whose completions (`ups_…`).
        upstream: String,
    },
    /// Tasks: reading, updating and cancelling the caller's own.
    UseTasks {
        /// Whose tasks (`ups_…`).
        upstream: String,
    },
}

/// Which tools.
#[derive(Debug, ToSchema)]
#[schema(as = ToolSelector)]
#[serde(rename_all = "snake_case")]
pub enum ToolSelectorDocument {
    /// The upstream's own names, compared byte for byte.
    Names(Vec<String>),
    /// Every tool of these classes: `read`, `write`, `destructive`; a forbid may also list `unclassified`.
    Classes(Vec<String>),
}

/// Which prompts: `"all"` or `{"names": […]}`.
#[derive(Debug, ToSchema)]
#[schema(as = NameSelector)]
#[serde(rename_all = "snake_case")]
pub enum NameSelectorDocument {
    /// All of them.
    All,
    /// These names, compared byte for byte.
    Names(Vec<String>),
}
