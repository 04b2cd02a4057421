//! An upstream speaking to the sample tenant's client.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, sync::Arc};

use ::mcp::Revision;
use seams::{SeededEntropy, SystemClock};
use tokio::sync::mpsc;

use super::{Handles, Opened, Speaker, Visible};
use crate::{
    snapshot::{
        index::{TenantIndex, ToolIndex},
        samples::Sample,
        store::Snapshots,
    },
    testing::World,
    upstream::{Noticed, Watched},
};

/// Shows everything but what is named here.
#[derive(Debug, Default, Clone)]
pub(crate) struct AllBut(pub(crate) Rc<RefCell<BTreeSet<String>>>);

impl AllBut {
    pub(crate) fn these(names: &[&str]) -> Self {
        Self(Rc::new(RefCell::new(names.iter().map(|name| (*name).to_owned()).collect())))
    }

    fn shows(&self, name: &str) -> bool {
        !self.0.borrow().contains(name)
    }
}

impl Visible for AllBut {
    fn tool(&self, tool: &ToolIndex) -> bool {
        tool.digest.is_some() && self.shows(&tool.name)
    }
    fn prompt(&self, name: &str) -> bool {
        self.shows(name)
    }
    fn resource(&self, uri: &str) -> bool {
        self.shows(uri)
    }
    fn template(&self, uri_template: &str) -> bool {
        self.shows(uri_template)
    }
}

pub(crate) fn handles(world: &World) -> Handles {
    let tenant = world.tenant();
    let endpoint = tenant.endpoints.values().next().expect("an endpoint").id;
    let client = *tenant.clients.keys().next().expect("a client");
    let upstream = *tenant.upstreams.keys().next().expect("an upstream");
    Handles::new(&tenant, endpoint, client, upstream)
}

/// A tenant that has nothing in common with [`World`]'s.
pub(crate) fn other_tenant() -> Arc<TenantIndex> {
    let snapshots = Snapshots::new(Arc::new(SystemClock));
    let sample = Sample::new(2);
    snapshots.apply(&sample.replace()).expect("a valid snapshot");
    snapshots.load().tenant(sample.tenant).expect("the tenant").clone()
}

/// With the receiver of what is noticed.
pub(crate) fn speaker(
    world: &World,
    revision: Revision,
    visible: AllBut,
) -> (Speaker, mpsc::Receiver<Noticed>) {
    let tenant = world.tenant();
    let (watched, noticed) = Watched::new();
    let speaker = Speaker {
        endpoint: tenant.endpoints.values().next().expect("an endpoint").clone(),
        upstream: tenant.upstreams.values().next().expect("an upstream").clone(),
        prefix: Box::from(""),
        revision,
        handles: handles(world),
        opened: Opened::default(),
        visible: Rc::new(visible),
        watched,
        entropy: Arc::new(SeededEntropy::new(11)),
        max_message: 64 * 1024,
        tenant,
    };
    (speaker, noticed)
}
