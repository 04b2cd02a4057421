//! How many fetches are under way: of all, of a tenant, and from a host. Nobody waits for a turn: whoever finds none is told so.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ids::TenantId;
use parking_lot::Mutex;

use super::{Asked, kind::NamedBy};

/// Turns; those for strangers are of no use to others, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Turns {
    strangers: Arc<Mutex<Counts>>,
    admins: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    tenants: HashMap<TenantId, usize>,
    hosts: HashMap<Box<str>, usize>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    counts: Arc<Mutex<Counts>>,
    tenant: TenantId,
    host: Box<str>,
}

impl Turns {
    /// A turn, if there is one.
    pub(super) fn take(&self, asked: &Asked) -> Option<Turn> {
        let named_by = asked.kind.named_by();
        let (counts, bounds) = (self.of(named_by), named_by.bounds());
        let (tenant, host) = (asked.tenant, Box::from(asked.host()));
        let mut held = counts.lock();
        let crowded = held.all >= bounds.all
            || held.tenants.get(&tenant).is_some_and(|&count| count >= bounds.of_tenant)
            || held.hosts.get(&host).is_some_and(|&count| count >= bounds.of_host);
        if crowded {
            return None;
        }
        held.all += 1;
        *held.tenants.entry(tenant).or_default() += 1;
        *held.hosts.entry(host.clone()).or_default() += 1;
        Some(Turn { counts: Arc::clone(counts), tenant, host })
    }

    const fn of(&self, named_by: NamedBy) -> &Arc<Mutex<Counts>> {
        match named_by {
            NamedBy::Stranger => &self.strangers,
            NamedBy::Admin => &self.admins,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut held = self.counts.lock();
        held.all -= 1;
        less(&mut held.tenants, &self.tenant);
        less(&mut held.hosts, &self.host);
    }
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Kind;

    fn asked(tenant: u8, host: usize, kind: Kind) -> Asked {
        let url = format!("https://h{host}.example/c").parse().unwrap();
        Asked { tenant: TenantId::from_parts(1, [tenant; 10]), kind, url, rules: None }
    }

    #[test]
    fn neither_a_tenant_nor_a_host_nor_strangers_take_the_turns_of_others() {
        let turns = Turns::default();
        let take = |tenant, host| turns.take(&asked(tenant, host, Kind::ClientMetadata));
        let of_one: Vec<_> = (0..9).map_while(|host| take(1, host)).collect();
        assert_eq!(of_one.len(), 4, "of a tenant, of any host");
        assert!(turns.take(&asked(1, 0, Kind::ClientKeys)).is_none(), "keys of clients are of strangers too");
        let of_host: Vec<_> =
            (2..9).flat_map(|tenant| [take(tenant, 99), take(tenant, 99)]).flatten().collect();
        assert_eq!(of_host.len(), 8, "of a host, of any tenant");
        // Of all.
        let rest: Vec<_> = (10..200)
            .flat_map(|tenant| [take(tenant, usize::from(tenant)), take(tenant, usize::from(tenant))])
            .flatten()
            .collect();
        assert_eq!(of_one.len() + of_host.len() + rest.len(), 128);
        assert!(take(201, 201).is_none());
        // What administrators named has its own.
        let admins: Vec<_> = (0..9).map_while(|host| turns.take(&asked(1, host, Kind::IssuerKeys))).collect();
        assert_eq!(admins.len(), 8);
        drop(of_one);
        assert!(take(1, 0).is_some());
        drop((of_host, rest, admins));
        let left = turns.strangers.lock();
        assert_eq!((left.all, left.tenants.len(), left.hosts.len()), (0, 0, 0));
    }
}
