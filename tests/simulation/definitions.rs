//! What a proxy holds of the definitions of tools, and what may be sent of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ids::TenantId;
use wire::{
    snapshot::{
        definitions::{Address, address, find, restore, restore_changed},
        delta::Misfit,
    },
    stream::ADDRESS_SHOWN,
    v1::{self, proxy_message::Body},
};

use crate::World;

#[derive(Debug, Default)]
pub(crate) struct Definitions {
    /// A proxy of an earlier build, which knows nothing of them.
    is_old: bool,
    held: BTreeMap<Address, Bytes>,
    /// What the control plane of this connection knows to be held: it was said, or sent.
    known: BTreeSet<Address>,
    /// Tenants of which the whole was asked for on this connection, and not yet applied.
    needed: BTreeSet<TenantId>,
}

impl Definitions {
    /// Of what it has on its disk.
    pub(crate) fn of(disk: &BTreeMap<TenantId, v1::Replace>, is_old: bool) -> Self {
        let mut definitions = Self { is_old, ..Self::default() };
        disk.values().for_each(|replace| definitions.keep(replace));
        definitions
    }

    /// It enforces this.
    pub(crate) fn keep(&mut self, replace: &v1::Replace) {
        let places = find(&replace.snapshot);
        self.held.extend(places.iter().map(|place| (place.address, place.of(&replace.snapshot))));
    }

    /// Fills in what the machine does not know, and notes what it says.
    pub(crate) fn says(&mut self, message: &mut v1::ProxyMessage) {
        let tenant = |id: &[u8]| TenantId::from_uuid(ids::Uuid::from_slice(id).expect("an id"));
        match &mut message.body {
            Some(Body::Hello(_)) if self.is_old => {}
            Some(Body::Hello(hello)) => {
                self.needed.clear();
                self.known = self.held.keys().copied().collect();
                hello.definitions =
                    self.known.iter().flat_map(|address| address[..ADDRESS_SHOWN].to_vec()).collect();
            }
            Some(Body::Need(need)) => drop(self.needed.insert(tenant(&need.tenant_id))),
            Some(Body::Ack(ack)) => drop(self.needed.remove(&tenant(&ack.tenant_id))),
            _ => {}
        }
    }

    pub(crate) fn learn(&mut self, world: &World, new: v1::Definitions) {
        for definition in new.definitions {
            world.count(|outcome| outcome.definitions += 1);
            let address = address(&definition);
            if !self.known.insert(address) {
                world.broken(format!("a definition was sent again: {definition:?}"));
            }
            self.held.insert(address, definition);
        }
    }

    /// The whole of what came.
    pub(crate) fn whole(
        &mut self,
        world: &World,
        tenant: TenantId,
        replace: v1::Replace,
    ) -> Result<v1::Replace, Misfit> {
        self.lose_some(world);
        if replace.cuts.is_empty() && !self.needed.contains(&tenant) && self.reads(&replace) {
            world.broken(format!("{tenant} came with its definitions, and nobody had asked for them"));
        }
        let snapshot = restore(&replace.snapshot, &replace.cuts, self.lookup(world, &replace.cuts))?;
        Ok(v1::Replace { snapshot, cuts: Vec::new(), ..replace })
    }

    /// The same of changes.
    pub(crate) fn change(&mut self, world: &World, delta: &v1::Delta) -> Result<v1::Delta, Misfit> {
        self.lose_some(world);
        let changes = delta.changes.as_ref().ok_or(Misfit::Changes)?;
        let changes = restore_changed(changes, &delta.cuts, self.lookup(world, &delta.cuts))?;
        Ok(v1::Delta { changes: Some(changes), cuts: Vec::new(), ..delta.clone() })
    }

    /// Whether there are definitions in it that this proxy could have had on their own.
    fn reads(&self, replace: &v1::Replace) -> bool {
        !self.is_old && !find(&replace.snapshot).is_empty()
    }

    fn lookup<'a>(&'a self, world: &'a World, cuts: &[v1::Cut]) -> impl Fn(&Address) -> Option<Bytes> + 'a {
        world.count(|outcome| outcome.cut += u64::from(!cuts.is_empty()));
        move |address| {
            let held = self.held.get(address).cloned();
            world.count(|outcome| outcome.missed += u64::from(held.is_none()));
            held
        }
    }

    /// What it holds is what it uses, and that is for nobody else to know.
    fn lose_some(&mut self, world: &World) {
        if !world.calm.get() && world.dice.percent(4) {
            self.held.retain(|_, _| world.dice.percent(50));
        }
    }
}
