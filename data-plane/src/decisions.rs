//! The bridge to the decision point: one principal, one thing it wants, at one revision of its tenant's policies.
//!
//! Calls, list filters and running streams ask the same question here, so what is listed is what may be called: at once, or with
//! scopes for which the caller can ask. Decisions about tools need no arguments and are kept per worker for (configuration, client,
//! member, tool), for all scopes together.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use ids::{ClientId, MemberId, RoleId, TenantId, ToolId, UpstreamId};
use policy::{Action, Resource, Ruling, Slices};
use wire::v1::GrantedAction;

use crate::snapshot::index::{ClientIndex, Map, MemberIndex, TenantIndex, ToolIndex};

/// Decisions one worker keeps. Beyond it all are forgotten and made again.
const KEPT: usize = 32 * 1024;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// A prompt, by the upstream's own name.
    Prompt(&'a str),
    /// To read a resource, by URI.
    Resource(&'a str),
    /// To be told about a resource, by URI.
    Subscription(&'a str),
    /// Completions of the upstream.
    Completion,
    /// Tasks at the upstream.
    Tasks,
}

impl Wanted<'_> {
    pub(crate) const fn action(&self) -> Action {
        match self {
            Self::Prompt(_) => Action::GetPrompt,
            Self::Resource(_) => Action::ReadResource,
            Self::Subscription(_) => Action::Subscribe,
            Self::Completion => Action::Complete,
            Self::Tasks => Action::UseTasks,
        }
    }

    const fn granted(&self) -> GrantedAction {
        match self {
            Self::Prompt(_) => GrantedAction::GetPrompt,
            Self::Resource(_) => GrantedAction::ReadResource,
            Self::Subscription(_) => GrantedAction::Subscribe,
            Self::Completion => GrantedAction::Complete,
            Self::Tasks => GrantedAction::UseTasks,
        }
    }

    fn facts(&self, upstream: UpstreamId) -> Resource {
        match self {
            Self::Prompt(name) => Resource::prompt(upstream, name),
            Self::Resource(uri) | Self::Subscription(uri) => Resource::resource(upstream, uri),
            Self::Completion | Self::Tasks => Resource::upstream(upstream),
        }
    }
}

/// Who wants it: a client, for itself or for a member. Then permits are the member's alone, and forbids of both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) client: &'a ClientIndex,
    pub(crate) member: Option<&'a MemberIndex>,
}

impl<'a> From<(&'a Arc<ClientIndex>, Option<&'a Arc<MemberIndex>>)> for Who<'a> {
    fn from((client, member): (&'a Arc<ClientIndex>, Option<&'a Arc<MemberIndex>>)) -> Self {
        Self { client, member: member.map(AsRef::as_ref) }
    }
}

impl Who<'_> {
    fn decide(self, tenant: &TenantIndex, slices: &Slices, action: Action, resource: &Resource) -> Ruling {
        let of = |principal| tenant.policies.decide(slices, principal, action, resource);
        let client = of(self.client.principal());
        match self.member {
            None => client,
            Some(member) => of(member.principal()).unless_forbidden(&client),
        }
    }
}

/// Decides about something that is no tool.
pub(crate) fn decide(
    tenant: &TenantIndex,
    who: Who<'_>,
    upstream: UpstreamId,
    wanted: &Wanted<'_>,
) -> Ruling {
    // Without a slice no grant gives it to anyone, and nothing needs to be asked.
    let Some(slices) = tenant.method_slices(wanted.granted(), upstream) else {
        return Ruling::nothing();
    };
    who.decide(tenant, slices, wanted.action(), &wanted.facts(upstream))
}

/// Decides about a tool.
pub(crate) fn decide_tool(tenant: &TenantIndex, who: Who<'_>, tool: &ToolIndex) -> Ruling {
    who.decide(tenant, &tool.slices, Action::CallTool, tool.resource())
}

struct Kept {
    /// The configuration's, and not its revision: after a restore of the control plane a number may come again.
    digest: [u8; 32],
    ruling: Rc<Ruling>,
}

/// One worker's decisions about tools.
#[derive(Default)]
pub(crate) struct Decisions(RefCell<Map<Question, Kept>>);

/// Roles are those that a token gives beside the client's own; few have any.
type Question = (TenantId, ClientId, Option<MemberId>, Box<[RoleId]>, ToolId);

impl Decisions {
    /// Decides about a tool, or says again what was decided under this configuration.
    pub(crate) fn tool(&self, tenant: &TenantIndex, who: Who<'_>, tool: &ToolIndex) -> Rc<Ruling> {
        let mut kept = self.0.borrow_mut();
        let member = who.member.map(|member| member.id);
        let key = (tenant.id, who.client.id, member, who.client.given.clone(), tool.id);
        if let Some(known) = kept.get(&key)
            && known.digest == tenant.digest
        {
            return Rc::clone(&known.ruling);
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let ruling = Rc::new(decide_tool(tenant, who, tool));
        kept.insert(key, Kept { digest: tenant.digest, ruling: Rc::clone(&ruling) });
        ruling
    }
}
