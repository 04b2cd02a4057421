//! What a caller may see in lists and streams: the same decision that admits its calls, asked for each element, and for somebody who has
//! every scope: what is listed may be called at once, or after the caller has asked for the scopes that its refusal names. Otherwise a
//! client could never learn what it has to ask for.
//!
//! Asked against the configuration in force, not the one under which the request began, so that a stream that outlives a
//! change follows it.

use std::rc::Rc;

use ids::{ClientId, TenantId, UpstreamId};
use policy::Held;
use wire::v1::ToolState;

use crate::{
    decisions::{self, Wanted},
    mcp::Visible,
    snapshot::index::{ClientIndex, TenantIndex, ToolIndex},
    worker::Worker,
};

/// One caller's view of one upstream.
#[derive(Debug)]
pub(crate) struct View {
    worker: Rc<Worker>,
    tenant: TenantId,
    client: ClientId,
    upstream: UpstreamId,
}

impl View {
    pub(crate) fn new(worker: Rc<Worker>, tenant: TenantId, client: ClientId, upstream: UpstreamId) -> Self {
        Self { worker, tenant, client, upstream }
    }

    /// A tenant or client that is gone sees nothing.
    fn ask(&self, question: impl FnOnce(&TenantIndex, &ClientIndex) -> bool) -> bool {
        self.worker.with_fleet(|fleet| {
            let Some(tenant) = fleet.tenant(self.tenant) else { return false };
            tenant.client(self.client).is_some_and(|client| client.enabled && question(tenant, client))
        })
    }

    fn permitted(&self, wanted: &Wanted<'_>) -> bool {
        self.ask(|tenant, client| {
            decisions::decide(tenant, client, self.upstream, wanted).with(Held::All).is_permit()
        })
    }
}

impl Visible for View {
    fn tool(&self, tool: &ToolIndex) -> bool {
        self.ask(|tenant, client| {
            let now =
                tenant.upstreams.get(&self.upstream).and_then(|upstream| upstream.tools.get(&tool.name));
            now.is_some_and(|now| {
                now.id == tool.id
                    && matches!(now.state, ToolState::Approved | ToolState::Quarantined)
                    && now.digest.is_some()
                    && self.worker.decisions.tool(tenant, client, now).with(Held::All).is_permit()
            })
        })
    }

    fn prompt(&self, name: &str) -> bool {
        self.permitted(&Wanted::Prompt(name))
    }

    fn resource(&self, uri: &str) -> bool {
        self.permitted(&Wanted::Resource(uri))
    }

    fn template(&self, uri_template: &str) -> bool {
        self.permitted(&Wanted::Resource(uri_template))
    }
}
