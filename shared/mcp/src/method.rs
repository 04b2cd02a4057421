//! Every method of the supported revisions as a closed enum: who may send it in which revision, and who decides on it.
//!
//! A method that is not in this table does not exist for the gateway; it is answered as unknown and never forwarded.

use crate::revision::Revision;

/// Whether a method expects an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Carries an id and is answered.
    Request,
    /// Carries no id and is not answered.
    Notification,
}

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The agent, to the endpoint.
    ClientToServer,
    /// The upstream, to the agent.
    ServerToClient,
}

/// What a grant must cover for a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantKind {
    /// A tool by name.
    Tool,
    /// A prompt by name.
    Prompt,
    /// A resource by URI.
    Resource,
    /// Completion of a prompt's or a resource template's arguments.
    Complete,
    /// Subscriptions: to a resource by URI, or to changes of lists.
    Subscribe,
    /// Tasks, bound to the principal that started them.
    Tasks,
}

/// The member of `params` that `Mcp-Name` mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameMember {
    /// `params.name`
    Name,
    /// `params.uri`
    Uri,
    /// `params.taskId`
    TaskId,
}

/// Who decides whether a method may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decide {
    /// A grant naming the tool, prompt, URI or task.
    Grant(GrantKind),
    /// The endpoint's method set. Lists are here because their content is filtered by the same decision that grants
    /// use, element by element.
    MethodSet,
    /// Needed to keep a conversation going at all; always allowed where the revision has it.
    Lifecycle,
}

/// Tasks as of 2026-07-28 (SEP-2663).
const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// In which supported revisions, oldest first, one direction has a method.
type Revisions = [bool; 3];

const NEVER: Revisions = [false, false, false];
const ALWAYS: Revisions = [true, true, true];
/// Removed in 2026-07-28.
const LEGACY: Revisions = [true, true, false];
/// 2025-11-25 only: experimental tasks, URL elicitation.
const ONLY_2025_11: Revisions = [false, true, false];
/// From 2025-11-25.
const SINCE_2025_11: Revisions = [false, true, true];
/// New in 2026-07-28.
const MODERN: Revisions = [false, false, true];

struct Row {
    name: &'static str,
    shape: Shape,
    decide: Decide,
    to_server: Revisions,
    to_client: Revisions,
}

macro_rules! methods {
    ($($method:ident $name:literal $shape:ident $decide:expr, $to_server:ident $to_client:ident;)*) => {
        /// A method of a supported revision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $method,)*
        }

        impl Method {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$method,)*];

            /// The method written so (case-sensitive), or `None` for one that no supported revision has.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$method),)*
                    _ => None,
                }
            }

            const fn row(self) -> Row {
                match self {
                    $(Self::$method => Row {
                        name: $name,
                        shape: Shape::$shape,
                        decide: $decide,
                        to_server: $to_server,
                        to_client: $to_client,
                    },)*
                }
            }
        }
    };
}

use Decide::{Grant, Lifecycle, MethodSet};
use GrantKind::{Complete, Prompt, Resource, Subscribe, Tasks, Tool};

methods! {
    // Method, name, shape, who decides; revisions towards the server, towards the client.
    Initialize "initialize" Request Lifecycle, LEGACY NEVER;
    Ping "ping" Request Lifecycle, LEGACY LEGACY;
    Discover "server/discover" Request Lifecycle, MODERN NEVER;
    ToolsList "tools/list" Request MethodSet, ALWAYS NEVER;
    ToolsCall "tools/call" Request Grant(Tool), ALWAYS NEVER;
    PromptsList "prompts/list" Request MethodSet, ALWAYS NEVER;
    PromptsGet "prompts/get" Request Grant(Prompt), ALWAYS NEVER;
    ResourcesList "resources/list" Request MethodSet, ALWAYS NEVER;
    ResourceTemplatesList "resources/templates/list" Request MethodSet, ALWAYS NEVER;
    ResourcesRead "resources/read" Request Grant(Resource), ALWAYS NEVER;
    ResourcesSubscribe "resources/subscribe" Request Grant(Subscribe), LEGACY NEVER;
    ResourcesUnsubscribe "resources/unsubscribe" Request Grant(Subscribe), LEGACY NEVER;
    CompletionComplete "completion/complete" Request Grant(Complete), ALWAYS NEVER;
    LoggingSetLevel "logging/setLevel" Request MethodSet, LEGACY NEVER;
    SubscriptionsListen "subscriptions/listen" Request Grant(Subscribe), MODERN NEVER;
    // Experimental in 2025-11-25 (there also towards the client, for sampling and elicitation that run as tasks),
    // the extension `io.modelcontextprotocol/tasks` in 2026-07-28.
    TasksGet "tasks/get" Request Grant(Tasks), SINCE_2025_11 ONLY_2025_11;
    TasksCancel "tasks/cancel" Request Grant(Tasks), SINCE_2025_11 ONLY_2025_11;
    TasksList "tasks/list" Request Grant(Tasks), ONLY_2025_11 ONLY_2025_11;
    TasksResult "tasks/result" Request Grant(Tasks), ONLY_2025_11 ONLY_2025_11;
    TasksUpdate "tasks/update" Request Grant(Tasks), MODERN NEVER;
    // Towards the client; from 2026-07-28 these travel inside results instead (`inputRequests`).
    SamplingCreateMessage "sampling/createMessage" Request MethodSet, NEVER LEGACY;
    RootsList "roots/list" Request MethodSet, NEVER LEGACY;
    ElicitationCreate "elicitation/create" Request MethodSet, NEVER LEGACY;

    Initialized "notifications/initialized" Notification Lifecycle, LEGACY NEVER;
    Cancelled "notifications/cancelled" Notification Lifecycle, ALWAYS ALWAYS;
    Progress "notifications/progress" Notification Lifecycle, LEGACY ALWAYS;
    RootsListChanged "notifications/roots/list_changed" Notification MethodSet, LEGACY NEVER;
    LoggingMessage "notifications/message" Notification MethodSet, NEVER ALWAYS;
    ResourceUpdated "notifications/resources/updated" Notification Grant(Subscribe), NEVER ALWAYS;
    ResourcesListChanged "notifications/resources/list_changed" Notification MethodSet, NEVER ALWAYS;
    ToolsListChanged "notifications/tools/list_changed" Notification MethodSet, NEVER ALWAYS;
    PromptsListChanged "notifications/prompts/list_changed" Notification MethodSet, NEVER ALWAYS;
    ElicitationComplete "notifications/elicitation/complete" Notification MethodSet, NEVER ONLY_2025_11;
    TaskStatus "notifications/tasks/status" Notification Grant(Tasks), ONLY_2025_11 ONLY_2025_11;
    Task "notifications/tasks" Notification Grant(Tasks), NEVER MODERN;
    SubscriptionsAcknowledged "notifications/subscriptions/acknowledged" Notification Lifecycle, NEVER MODERN;
}

impl Method {
    /// As written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Request or notification.
    #[must_use]
    pub const fn shape(self) -> Shape {
        self.row().shape
    }

    /// Who decides on it.
    #[must_use]
    pub const fn decided_by(self) -> Decide {
        self.row().decide
    }

    /// Whether this revision has the method in this direction.
    #[must_use]
    pub const fn allowed_in(self, revision: Revision, direction: Direction) -> bool {
        let row = self.row();
        let revisions = match direction {
            Direction::ClientToServer => row.to_server,
            Direction::ServerToClient => row.to_client,
        };
        revisions[revision as usize]
    }

    /// The extension that has the method in 2026-07-28: its caller must declare it. `None` where the revision itself has it.
    #[must_use]
    pub const fn extension(self) -> Option<&'static str> {
        match self {
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some(TASKS_EXTENSION),
            _ => None,
        }
    }

    /// The member of `params` that `Mcp-Name` mirrors (2026-07-28, "Standard Request Headers"; tasks by their
    /// extension); `None` where the method has no such header.
    #[must_use]
    pub const fn name_member(self) -> Option<NameMember> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some(NameMember::Name),
            Self::ResourcesRead => Some(NameMember::Uri),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some(NameMember::TaskId),
            _ => None,
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_every_method_is_sent_somewhere() {
        for &method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
            let sent = Revision::ALL.into_iter().any(|revision| {
                method.allowed_in(revision, Direction::ClientToServer)
                    || method.allowed_in(revision, Direction::ServerToClient)
            });
            assert!(sent, "{method}");
            let is_notification = method.as_str().starts_with("notifications/");
            assert_eq!(method.shape() == Shape::Notification, is_notification, "{method}");
        }
        for unknown in ["", "tools/Call", "tools/call ", "sampling/create", "notifications/unknown"] {
            assert_eq!(Method::parse(unknown), None);
        }
    }

    /// The unions `ClientRequest`, `ClientNotification`, `ServerRequest` and `ServerNotification` of the three schemas.
    #[test]
    fn each_revision_has_exactly_its_methods() {
        let names = |revision, direction| {
            let mut names: Vec<_> = Method::ALL
                .iter()
                .filter(|method| method.allowed_in(revision, direction))
                .map(|method| method.as_str())
                .collect();
            names.sort_unstable();
            names
        };
        let sorted = |text: &'static str| {
            let mut names: Vec<_> = text.split_whitespace().collect();
            names.sort_unstable();
            names
        };
        let to_server_2025_06 = "ping initialize completion/complete logging/setLevel prompts/get prompts/list \
            resources/list resources/templates/list resources/read resources/subscribe resources/unsubscribe tools/call \
            tools/list notifications/cancelled notifications/progress notifications/initialized \
            notifications/roots/list_changed";
        let to_client_2025_06 = "ping sampling/createMessage roots/list elicitation/create notifications/cancelled \
            notifications/progress notifications/message notifications/resources/updated \
            notifications/resources/list_changed notifications/tools/list_changed notifications/prompts/list_changed";
        let tasks_2025_11 = " tasks/get tasks/result tasks/list tasks/cancel notifications/tasks/status";
        let to_server_2025_11 = [to_server_2025_06, tasks_2025_11].concat().leak() as &str;
        let to_client_2025_11 =
            [to_client_2025_06, tasks_2025_11, " notifications/elicitation/complete"].concat().leak() as &str;
        let to_server_2026_07 = "server/discover completion/complete prompts/get prompts/list resources/list \
            resources/templates/list resources/read subscriptions/listen tools/call tools/list tasks/get tasks/update \
            tasks/cancel notifications/cancelled";
        let to_client_2026_07 = "notifications/cancelled notifications/progress notifications/message \
            notifications/resources/updated notifications/resources/list_changed notifications/tools/list_changed \
            notifications/prompts/list_changed notifications/subscriptions/acknowledged notifications/tasks";
        for (revision, to_server, to_client) in [
            (Revision::V2025_06_18, to_server_2025_06, to_client_2025_06),
            (Revision::V2025_11_25, to_server_2025_11, to_client_2025_11),
            (Revision::V2026_07_28, to_server_2026_07, to_client_2026_07),
        ] {
            assert_eq!(names(revision, Direction::ClientToServer), sorted(to_server), "{revision}");
            assert_eq!(names(revision, Direction::ServerToClient), sorted(to_client), "{revision}");
        }
    }
}
