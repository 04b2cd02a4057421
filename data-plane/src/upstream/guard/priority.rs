//! Which calls go first where not all can.

use ::mcp::Method;
use wire::v1::ToolClass;

/// How much it matters that a call goes through now, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Lists, handshakes and what else only prepares work: clients ask again, and have what they were told before.
    Protocol,
    /// What changes nothing, and so can be asked again.
    Read,
    /// What changes something, or may: somebody has decided that it should be so.
    Write,
}

impl Priority {
    pub(super) const ALL: [Self; 3] = [Self::Protocol, Self::Read, Self::Write];

    /// Of a request for this method, and this class of tool if it calls one. `None`: it takes no place and does not wait, because
    /// it frees the server, asks whether it lives, or only waits for what it does already.
    pub(crate) const fn of(method: Method, class: Option<ToolClass>) -> Option<Self> {
        match (method, class) {
            (Method::Ping | Method::TasksCancel | Method::TasksResult | Method::SubscriptionsListen, _) => {
                None
            }
            (Method::ToolsCall, Some(ToolClass::Read)) => Some(Self::Read),
            (Method::ToolsCall | Method::TasksUpdate, _) => Some(Self::Write),
            (
                Method::PromptsGet | Method::ResourcesRead | Method::CompletionComplete | Method::TasksGet,
                _,
            ) => Some(Self::Read),
            _ => Some(Self::Protocol),
        }
    }
}

/// Whether a request may be sent again although the server may have read it: it asks for something, and changes nothing. What a
/// tool does is what an administrator says of it, not what its server says.
pub(crate) const fn is_repeatable(method: Method, class: Option<ToolClass>) -> bool {
    match method {
        Method::ToolsCall => matches!(class, Some(ToolClass::Read)),
        Method::Ping
        | Method::Discover
        | Method::ToolsList
        | Method::PromptsList
        | Method::PromptsGet
        | Method::ResourcesList
        | Method::ResourceTemplatesList
        | Method::ResourcesRead
        | Method::CompletionComplete => true,
        // Among them `initialize`: a session would be begun that nobody ends.
        _ => false,
    }
}
