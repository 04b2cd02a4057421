//! What a caller may see in lists and streams: the same decision that admits its calls, asked for each element.
//!
//! Of tools, prompts and templates, for somebody who has every scope: what is listed may be called at once, or after the caller has asked
//! for the scopes that its refusal names. Otherwise a client could never learn what it has to ask for. A list of resources says what there
//! is, and that one has changed says something of it: both are for whoever may read it with what they have shown.
//!
//! Asked against the configuration in force, not the one under which the request began, so that a stream that outlives a
//! change follows it.

use std::rc::Rc;

use ids::{TenantId, UpstreamId};
use policy::Held;
use wire::v1::ToolState;

use crate::{
    checks::Principal,
    decisions::{self, Wanted, Who},
    mcp::Visible,
    snapshot::index::{TenantIndex, ToolIndex},
    worker::Worker,
};

/// One caller's view of one upstream.
#[derive(Debug)]
pub(crate) struct View {
    worker: Rc<Worker>,
    tenant: TenantId,
    caller: Principal,
    upstream: UpstreamId,
}

impl View {
    pub(crate) fn new(worker: Rc<Worker>, tenant: TenantId, caller: Principal, upstream: UpstreamId) -> Self {
        Self { worker, tenant, caller, upstream }
    }

    /// A tenant, client or member that is gone sees nothing.
    fn ask(&self, question: impl FnOnce(&TenantIndex, Who<'_>) -> bool) -> bool {
        self.worker.with_fleet(|fleet| {
            let Some(tenant) = fleet.tenant(self.tenant) else { return false };
            let known = self.caller.as_of(tenant);
            known.is_some_and(|(client, member)| question(tenant, Who::from((&client, member.as_ref()))))
        })
    }

    fn permitted(&self, wanted: &Wanted<'_>, held: Held<'_>) -> bool {
        self.ask(|tenant, who| decisions::decide(tenant, who, self.upstream, wanted).with(held).is_permit())
    }
}

impl Visible for View {
    fn tool(&self, tool: &ToolIndex) -> bool {
        self.ask(|tenant, who| {
            let now =
                tenant.upstreams.get(&self.upstream).and_then(|upstream| upstream.tools.get(&tool.name));
            now.is_some_and(|now| {
                now.id == tool.id
                    && matches!(now.state, ToolState::Approved | ToolState::Quarantined)
                    && now.digest.is_some()
                    && self.worker.decisions.tool(tenant, who, now).with(Held::All).is_permit()
            })
        })
    }

    fn prompt(&self, name: &str) -> bool {
        self.permitted(&Wanted::Prompt(name), Held::All)
    }

    fn resource(&self, uri: &str) -> bool {
        self.permitted(&Wanted::Resource(uri), self.caller.held())
    }

    fn template(&self, uri_template: &str) -> bool {
        self.permitted(&Wanted::Resource(uri_template), Held::All)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use policy::{Effect, GrantedAction};

    use super::*;
    use crate::{
        audit::testing::Log,
        testing::{self, World},
    };

    #[test]
    fn which_resources_there_are_is_for_whoever_may_read_them_and_of_the_rest_all_is_shown_that_scopes_open()
    {
        let mut world = World::new();
        let upstream = world.upstream();
        let uris = vec!["file:///*".to_owned()];
        world.grant_with(Some("files"), Effect::Permit, GrantedAction::ReadResource { upstream, uris });
        let log = Log::new();
        let worker = Rc::new(Worker::new(Arc::new(testing::shared(&world, &log))));
        let view = |caller: Principal| View::new(Rc::clone(&worker), world.sample.tenant, caller, upstream);
        let sees = |view: &View| {
            (view.resource("file:///a"), view.template("file:///{name}"), view.resource("other:///a"))
        };
        assert_eq!(sees(&view(world.principal().with_scopes(""))), (false, true, false));
        assert_eq!(sees(&view(world.principal().with_scopes("files"))), (true, true, false));
        assert_eq!(sees(&view(world.principal())), (true, true, false), "an API key has every scope");
    }
}
