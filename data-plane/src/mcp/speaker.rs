//! What is known while an upstream speaks to one caller: who it is, what it may see, how its handles are sealed.

use std::{fmt, rc::Rc, sync::Arc};

use ::mcp::{Direction, Method, Revision};
use seams::Entropy;

use super::handles::{Handles, Opened};
use crate::{
    snapshot::index::{EndpointIndex, TenantIndex, ToolIndex, UpstreamIndex},
    upstream::Watched,
};

/// What the caller may see of an upstream: the same decisions that calls pass.
pub(crate) trait Visible {
    /// Whether the tool is listed: approved, and callable with some arguments.
    fn tool(&self, tool: &ToolIndex) -> bool;
    /// Whether the prompt is listed; the upstream's own name.
    fn prompt(&self, name: &str) -> bool;
    /// Whether the resource is listed, and updates of it are passed on.
    fn resource(&self, uri: &str) -> bool;
    /// Whether the template is listed.
    fn template(&self, uri_template: &str) -> bool;
}

/// One upstream speaking to one caller.
pub(crate) struct Speaker {
    pub(crate) tenant: Arc<TenantIndex>,
    pub(crate) endpoint: Arc<EndpointIndex>,
    pub(crate) upstream: Arc<UpstreamIndex>,
    /// Put before every exposed name.
    pub(crate) prefix: Box<str>,
    pub(crate) revision: Revision,
    pub(crate) handles: Handles,
    /// What the caller brought along.
    pub(crate) opened: Opened,
    pub(crate) visible: Rc<dyn Visible>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Bytes one message may have.
    pub(crate) max_message: usize,
}

impl Speaker {
    /// Whether the server may send this method to this caller: part of the revision, and not switched off.
    pub(super) fn may_send(&self, method: Method) -> bool {
        method.allowed_in(self.revision, Direction::ServerToClient) && self.is_open(method)
    }

    /// Whether the endpoint has not switched the method off.
    pub(super) fn is_open(&self, method: Method) -> bool {
        !self.endpoint.closed_methods.iter().any(|closed| **closed == *method.as_str())
    }
}

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker")
            .field("endpoint", &self.endpoint.id)
            .field("upstream", &self.upstream.id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
