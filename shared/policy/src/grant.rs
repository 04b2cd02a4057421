//! Grants: what a tenant writes to say who may do what. Each compiles to one Cedar policy ([`crate::compile_grant`]).

use std::fmt;

use ids::{ClientId, GrantId, MemberId, RoleId, Scope, UpstreamId, Uuid};
use serde::{Deserialize, Serialize};

/// Actions one grant may list.
pub const MAX_ACTIONS: usize = 16;
/// Names, classes or patterns one action may list.
pub const MAX_NAMES: usize = 256;
/// Bytes in a tool's or prompt's name.
pub const MAX_NAME_BYTES: usize = 256;
/// Bytes in a resource URI or a pattern of URIs.
pub const MAX_URI_BYTES: usize = 2048;

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantSpec {
    /// Also the id of the policy it compiles to.
    pub id: GrantId,
    /// Whom it is for.
    pub subject: Subject,
    /// Whether it allows or, winning over everything that allows, refuses.
    pub effect: Effect,
    /// Without which in their token it does not count for whoever shows one. Never of a forbid: whoever asks for less would be
    /// forbidden less.
    pub scope: Option<Scope>,
    /// What it covers; at least one.
    pub actions: Vec<GrantedAction>,
}

/// Whom a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Every client and every member that has the role.
    Role(RoleId),
    /// One client.
    Client(ClientId),
    /// One member, through whichever client.
    Member(MemberId),
}

impl Subject {
    /// The id as slices carry it: roles, clients and members share one number space, since UUIDs do not repeat.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Role(id) => id.uuid(),
            Self::Client(id) => id.uuid(),
            Self::Member(id) => id.uuid(),
        }
    }
}

/// What a grant does. A forbid wins over every permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Allows.
    Permit,
    /// Refuses.
    Forbid,
}

/// How dangerous an administrator says a tool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Destroys.
    Destructive,
    /// Nobody has said: only a grant that names the tool permits it.
    Unclassified,
}

/// One kind of access, to one upstream. In JSON an object tagged by `action`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantedAction {
    /// `tools/call`, and seeing the tool in `tools/list`.
    CallTool {
        /// Whose tools.
        upstream: UpstreamId,
        /// Which of them.
        tools: ToolSelector,
    },
    /// `prompts/get`, and seeing the prompt in `prompts/list`.
    GetPrompt {
        /// Whose prompts.
        upstream: UpstreamId,
        /// Which of them.
        prompts: NameSelector,
    },
    /// `resources/read`, and seeing the resource in `resources/list`.
    ReadResource {
        /// Whose resources.
        upstream: UpstreamId,
        /// Patterns of URIs; see [`crate::UriPattern`].
        uris: Vec<String>,
    },
    /// Notices that a resource has changed.
    Subscribe {
        /// Whose resources.
        upstream: UpstreamId,
        /// Patterns of URIs; see [`crate::UriPattern`].
        uris: Vec<String>,
    },
    /// `completion/complete`.
    Complete {
        /// Whose completions.
        upstream: UpstreamId,
    },
    /// Tasks: reading, updating and cancelling the caller's own.
    UseTasks {
        /// Whose tasks.
        upstream: UpstreamId,
    },
}

/// Which tools: by the upstream's own names, exactly, or all of some classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolSelector {
    /// These names, compared byte for byte; no character is a wildcard.
    Names(Vec<String>),
    /// Every tool an administrator gave one of these classes. A permit cannot list `unclassified`.
    Classes(Vec<Class>),
}

/// Which prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSelector {
    /// All of them.
    All,
    /// These names, compared byte for byte; no character is a wildcard.
    Names(Vec<String>),
}

/// What a principal wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Call a tool, or see it listed.
    CallTool,
    /// Get a prompt, or see it listed.
    GetPrompt,
    /// Read a resource, or see it listed.
    ReadResource,
    /// Be told when a resource changes.
    Subscribe,
    /// Ask for completions.
    Complete,
    /// Use tasks.
    UseTasks,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CallTool,
        Self::GetPrompt,
        Self::ReadResource,
        Self::Subscribe,
        Self::Complete,
        Self::UseTasks,
    ];

    /// The action's name in grants and in Cedar.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallTool => "call_tool",
            Self::GetPrompt => "get_prompt",
            Self::ReadResource => "read_resource",
            Self::Subscribe => "subscribe",
            Self::Complete => "complete",
            Self::UseTasks => "use_tasks",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Class {
    /// The class's name in grants and in Cedar.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
            Self::Unclassified => "unclassified",
        }
    }

    /// The class with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Destructive, Self::Unclassified]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

impl GrantedAction {
    /// The kind of access.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::CallTool { .. } => Action::CallTool,
            Self::GetPrompt { .. } => Action::GetPrompt,
            Self::ReadResource { .. } => Action::ReadResource,
            Self::Subscribe { .. } => Action::Subscribe,
            Self::Complete { .. } => Action::Complete,
            Self::UseTasks { .. } => Action::UseTasks,
        }
    }

    /// Whose tools, prompts or resources.
    #[must_use]
    pub const fn upstream(&self) -> UpstreamId {
        match self {
            Self::CallTool { upstream, .. }
            | Self::GetPrompt { upstream, .. }
            | Self::ReadResource { upstream, .. }
            | Self::Subscribe { upstream, .. }
            | Self::Complete { upstream }
            | Self::UseTasks { upstream } => *upstream,
        }
    }
}
