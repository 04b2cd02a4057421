//! What is kept of each tenant, and no more than there is room for. A tenant that has its share gives up something of its own; when
//! all of the room is used, whoever has most does.

use std::{collections::HashMap, time::Duration};

use ids::TenantId;
use seams::Monotonic;

use super::{Asked, kind::Room};

#[derive(Debug)]
pub(super) struct Shelf<V> {
    room: Room,
    tenants: HashMap<TenantId, HashMap<Asked, Held<V>>>,
    count: usize,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    at: Monotonic,
    age: Duration,
    /// When somebody asked last.
    asked: Monotonic,
}

impl<V> Held<V> {
    fn is_fresh(&self, now: Monotonic) -> bool {
        now.since(self.at) < self.age
    }
}

impl<V: Clone> Shelf<V> {
    pub(super) fn new(room: Room) -> Self {
        Self { room, tenants: HashMap::new(), count: 0 }
    }

    /// What is kept, if it is not too old.
    pub(super) fn get(&mut self, asked: &Asked, now: Monotonic) -> Option<V> {
        let held = self.tenants.get_mut(&asked.tenant)?.get_mut(asked)?;
        held.asked = now;
        held.is_fresh(now).then(|| held.value.clone())
    }

    /// Keeps it for so long.
    pub(super) fn put(&mut self, asked: &Asked, value: V, age: Duration, now: Monotonic) {
        let held = Held { value, at: now, age, asked: now };
        let own = self.tenants.get_mut(&asked.tenant);
        if let Some(before) = own.and_then(|own| own.get_mut(asked)) {
            *before = held;
            return;
        }
        let own = self.tenants.get(&asked.tenant).map_or(0, HashMap::len);
        if own >= self.room.of_tenant {
            self.give_up(asked.tenant, now);
        } else if self.count >= self.room.all {
            let most = self.tenants.iter().max_by_key(|(_, own)| own.len()).map(|(tenant, _)| *tenant);
            if let Some(most) = most {
                self.give_up(most, now);
            }
        }
        self.tenants.entry(asked.tenant).or_default().insert(asked.clone(), held);
        self.count += 1;
    }

    /// What has become too old first, then what nobody has asked for longest.
    fn give_up(&mut self, tenant: TenantId, now: Monotonic) {
        let Some(own) = self.tenants.get_mut(&tenant) else { return };
        let least = own.iter().min_by_key(|(_, held)| (held.is_fresh(now), held.asked));
        if let Some(least) = least.map(|(asked, _)| asked.clone()) {
            own.remove(&least);
            self.count -= 1;
        }
        if own.is_empty() {
            self.tenants.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Kind;

    fn asked(tenant: u8, n: usize) -> Asked {
        let url = format!("https://app.example/{n}").parse().unwrap();
        Asked { tenant: TenantId::from_parts(1, [tenant; 10]), kind: Kind::ClientMetadata, url, rules: None }
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    const LONG: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_tenant_with_its_share_gives_up_what_is_too_old_and_then_what_nobody_asks_for() {
        let mut shelf = Shelf::new(Room { all: 100, of_tenant: 3 });
        for n in 0..3 {
            let age = if n == 1 { Duration::from_secs(5) } else { LONG };
            shelf.put(&asked(1, n), n, age, at(n as u64));
        }
        shelf.put(&asked(2, 0), 0, LONG, at(0));
        assert_eq!(shelf.get(&asked(1, 0), at(10)), Some(0));
        assert_eq!(shelf.get(&asked(1, 1), at(10)), None, "too old");
        // It was asked for just now, and is of no use all the same.
        shelf.put(&asked(1, 3), 3, LONG, at(11));
        // Then the one that nobody has asked for.
        shelf.put(&asked(1, 4), 4, LONG, at(12));
        let left: Vec<_> = (0..5).filter(|&n| shelf.get(&asked(1, n), at(13)).is_some()).collect();
        assert_eq!(left, [0, 3, 4]);
        assert_eq!(shelf.get(&asked(2, 0), at(13)), Some(0), "another tenant's stays");
        // What is kept anew takes no room of another.
        shelf.put(&asked(1, 4), 5, LONG, at(14));
        assert_eq!((shelf.get(&asked(1, 4), at(15)), shelf.count), (Some(5), 4));
    }

    #[test]
    fn when_all_room_is_used_whoever_has_most_gives_something_up() {
        let mut shelf = Shelf::new(Room { all: 10, of_tenant: 8 });
        // The oldest of all is of one who has little.
        shelf.put(&asked(1, 0), 0, LONG, at(0));
        for n in 0..8 {
            shelf.put(&asked(2, n), n, LONG, at(1));
        }
        for n in 0..3 {
            shelf.put(&asked(3, n), n, LONG, at(2));
        }
        let mut of = |tenant| (0..9).filter(|&n| shelf.get(&asked(tenant, n), at(3)).is_some()).count();
        assert_eq!((of(1), of(2), of(3)), (1, 6, 3));
        assert_eq!(shelf.count, 10);
        // Rules are part of what is asked for.
        let ruled = Asked { rules: Some(egress::Rules::default()), ..asked(1, 0) };
        assert_eq!(shelf.get(&ruled, at(3)), None);
    }
}
