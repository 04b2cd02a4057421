//! What a tool needs from its first use on. There are many tools, and most are not called for long.

use std::sync::{Arc, OnceLock};

use ::mcp::{headers::ParamHeaders, raw::Raw};
use wire::v1::ToolClass;

use super::ToolIndex;
use crate::upstream::Breaker;

/// What only a tool that is called needs, each from its first use on.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct OfUse {
    resource: OnceLock<policy::Resource>,
    mirrored: OnceLock<Option<ParamHeaders>>,
    breaker: OnceLock<Arc<Breaker>>,
}

impl OfUse {
    /// Of a tool that has failed.
    pub(in crate::snapshot) fn failed(breaker: Arc<Breaker>) -> Self {
        Self { breaker: breaker.into(), ..Self::default() }
    }
}

impl ToolIndex {
    /// The tool as policies see it.
    #[must_use]
    pub fn resource(&self) -> &policy::Resource {
        self.of_use.get_or_init(Box::default).resource.get_or_init(|| {
            let class = match self.class {
                ToolClass::Read => policy::Class::Read,
                ToolClass::Write => policy::Class::Write,
                ToolClass::Destructive => policy::Class::Destructive,
                ToolClass::Unclassified | ToolClass::Unspecified => policy::Class::Unclassified,
            };
            policy::Resource::tool(self.id, self.upstream, &self.name, class, self.labels.iter())
        })
    }

    /// The arguments that its approved definition mirrors into headers; `None` where its annotations are not usable.
    #[must_use]
    pub fn mirrored(&self) -> Option<&ParamHeaders> {
        let compile = || ParamHeaders::compile(Raw::parse(&self.definition).ok()?).ok();
        self.of_use.get_or_init(Box::default).mirrored.get_or_init(compile).as_ref()
    }

    /// Its breaker, if it has ever failed.
    pub(crate) fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.of_use.get()?.breaker.get()
    }

    /// Its breaker, which it has from its first failure on.
    pub(crate) fn breaker_of_failures(&self) -> &Arc<Breaker> {
        self.of_use.get_or_init(Box::default).breaker.get_or_init(Arc::default)
    }
}
