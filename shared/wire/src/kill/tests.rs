use proptest::prelude::*;

use super::*;

fn kill_id(n: u8) -> KillId {
    KillId::from_parts(u64::from(n), [n; 10])
}

fn tenant(n: u8) -> TenantId {
    TenantId::from_parts(1, [n; 10])
}

fn target(n: u8) -> Target {
    let tenant = tenant(n % 3);
    let bytes = [n; 10];
    match n % 8 {
        0 => Target::Fleet,
        1 => Target::Tenant(tenant),
        2 => Target::Endpoint(tenant, Id::from_parts(2, bytes)),
        3 => Target::Upstream(tenant, Id::from_parts(3, bytes)),
        4 => Target::Tool(tenant, Id::from_parts(4, bytes)),
        5 => Target::Client(tenant, Id::from_parts(5, bytes)),
        6 => Target::Key(tenant, Id::from_parts(6, bytes)),
        _ => Target::Principal(tenant, format!("user:{n}").into()),
    }
}

fn kill(n: u8) -> Kill {
    Kill { id: kill_id(n), target: target(n), drill: n.is_multiple_of(5), at: Timestamp::from_secs(n.into()) }
}

/// What happens at the control plane.
#[derive(Debug, Clone)]
enum Act {
    Kill(u8),
    Lift(u8),
    Revoke(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..40u8).prop_map(Act::Kill),
        2 => (0..40u8).prop_map(Act::Lift),
        1 => (0..10u8).prop_map(Act::Revoke),
    ];
    proptest::collection::vec(act, 1..40)
}

/// The bodies the control plane would send, one after each act. A kill's id is used once.
fn bodies(acts: &[Act]) -> Vec<v1::KillBody> {
    let mut body = v1::KillBody::default();
    let mut used = std::collections::BTreeSet::new();
    let mut sent = vec![body.clone()];
    for act in acts {
        match act {
            Act::Kill(n) if used.insert(*n) => body.entries.push(kill(*n).write()),
            Act::Lift(n) if used.contains(n) => {
                let id = kill(*n).write().id;
                body.entries.retain(|entry| entry.id != id);
                body.lifted.push(id);
            }
            Act::Revoke(n) => {
                let at = Timestamp::from_micros(body.epoch + 1);
                body.revoked.push(Credential::Key(tenant(0), Id::from_parts(6, [*n; 10])).write(at));
            }
            Act::Kill(_) | Act::Lift(_) => continue,
        }
        body.epoch += 1;
        sent.push(body.clone());
    }
    sent
}

fn followed(bodies: &[v1::KillBody]) -> KillSet {
    let mut set = KillSet::default();
    for body in bodies {
        assert!(set.follow(body));
    }
    set
}

fn in_force(set: &KillSet) -> Vec<v1::KillEntry> {
    set.kills().map(Kill::write).collect()
}

proptest! {
    /// However messages are lost, repeated and reordered, whoever got the newest is where it says.
    #[test]
    fn the_newest_message_decides_whatever_came_before_or_comes_late(
        acts in acts(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let sent = bodies(&acts);
        let newest = sent.last().unwrap();
        let mut set = KillSet::default();
        let place = at.index(picks.len() + 1);
        for (number, (pick, by_stream)) in picks.iter().enumerate() {
            if number == place {
                prop_assert!(set.follow(newest));
            }
            let body = pick.get(&sent);
            // From Redis it may be any old one.
            let whole = if *by_stream { set.follow(body) } else { set.add(body) };
            prop_assert!(whole);
        }
        prop_assert!(set.follow(newest));
        let mut expected = newest.entries.clone();
        expected.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(in_force(&set), expected);
        prop_assert_eq!(set.epoch(), newest.epoch);
        prop_assert_eq!(set, followed(std::slice::from_ref(newest)));
    }

    /// A kill leaves a set by its lift alone, whatever else comes.
    #[test]
    fn a_kill_never_disappears_without_its_lift(acts in acts(), picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let sent = bodies(&acts);
        let mut set = KillSet::default();
        let mut seen = std::collections::BTreeSet::new();
        for pick in picks {
            prop_assert!(set.follow(pick.get(&sent)));
            seen.extend(pick.get(&sent).entries.iter().map(|entry| entry.id.clone()));
            for id in &seen {
                let id = KillId::from_uuid(Uuid::from_slice(id).unwrap());
                prop_assert!(set.is_lifted(id) || set.kills().any(|kill| kill.id == id));
            }
        }
    }

    #[test]
    fn nothing_that_only_adds_lifts(acts in acts(), pick in any::<prop::sample::Index>()) {
        let sent = bodies(&acts);
        let mut set = followed(&[pick.get(&sent).clone()]);
        let before = in_force(&set);
        for body in &sent {
            prop_assert!(set.add(body));
        }
        let after = in_force(&set);
        prop_assert!(before.iter().all(|entry| after.contains(entry)));
        prop_assert_eq!(set.epoch(), pick.get(&sent).epoch);
    }

    #[test]
    fn disks_keep_all_of_it(acts in acts(), orders in proptest::collection::vec((100..120u8, any::<bool>()), 0..10)) {
        let mut set = followed(&bodies(&acts));
        for (n, lifts) in orders {
            prop_assert!(set.obey(&order(n, lifts)));
        }
        prop_assert_eq!(KillSet::decode(&set.encode(&[[7; 32]])), Some((set, vec![[7; 32]])));
    }

    /// The signature is checked before, but no bytes whatever may do harm.
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        use prost::Message as _;
        if let Ok(body) = v1::KillBody::decode(bytes.as_slice()) {
            let mut set = KillSet::default();
            let _whole = set.follow(&body);
        }
        let _refused = KillSet::decode(&bytes);
        if let Ok(order) = Unverified::parse(&bytes) {
            prop_assert_eq!(Unverified::parse(order.to_text().as_bytes()), Ok(order));
        }
    }
}

fn order(n: u8, lifts: bool) -> Order {
    Order {
        issued: Timestamp::from_secs(10),
        expires: Timestamp::from_secs(20),
        kill: (!lifts).then(|| kill(n)),
        lifted: if lifts { vec![kill_id(n)] } else { Vec::new() },
    }
}

#[test]
fn orders_lift_what_orders_brought_and_nothing_else() {
    let body = v1::KillBody { epoch: 1, entries: vec![kill(1).write()], ..v1::KillBody::default() };
    let mut set = KillSet::default();
    // Even when the lift comes first.
    for order in [order(1, true), order(2, false)] {
        assert!(set.obey(&order));
    }
    assert!(set.follow(&body));
    assert_eq!(in_force(&set), [kill(1).write(), kill(2).write()]);
    for _replayed in 0..2 {
        for order in [order(2, true), order(2, false)] {
            assert!(set.obey(&order));
        }
        assert_eq!(in_force(&set), [kill(1).write()]);
    }
    // The control plane lifts those of orders too, by name.
    assert!(set.obey(&order(3, false)));
    assert!(set.follow(&v1::KillBody { epoch: 2, lifted: vec![kill(3).write().id], ..body }));
    assert!(set.obey(&order(3, false)));
    assert_eq!(in_force(&set), [kill(1).write()]);
}

#[test]
fn an_entry_of_a_later_build_is_said_to_be_missing_and_the_rest_holds() {
    let later = v1::KillEntry { level: 99, ..kill(2).write() };
    let odd = v1::KillEntry { subject_id: vec![1; 16], ..kill(1).write() };
    let body = v1::KillBody { entries: vec![later, odd, kill(3).write()], ..v1::KillBody::default() };
    let mut set = KillSet::default();
    assert!(!set.follow(&body));
    assert_eq!(in_force(&set), [kill(3).write()]);
}

#[test]
fn every_level_reads_back_and_needs_exactly_its_names() {
    for n in 0..8 {
        let kill = kill(n);
        assert_eq!(Kill::read(&kill.write()).as_ref(), Some(&kill));
        let subject = kill.target.subject();
        let parse = |tenant, subject| Target::parse(kill.target.level(), tenant, subject);
        assert_eq!(parse(kill.target.tenant(), subject.as_deref()), Some(kill.target.clone()));
        let other_tenant = if n == 0 { Some(tenant(1)) } else { None };
        assert_eq!(parse(other_tenant, subject.as_deref()), None);
        if kill.target.level() != KillLevel::Principal {
            let other = if subject.is_some() { None } else { Some("x") };
            assert_eq!(parse(kill.target.tenant(), other), None);
        }
    }
    assert_eq!(Target::parse(KillLevel::Principal, Some(tenant(1)), Some("with space")), None);
}

#[test]
fn more_than_fits_is_said_and_what_was_there_stays() {
    let entry = |n: usize| {
        let id = KillId::from_parts(n as u64, [0; 10]);
        Kill { id, target: Target::Fleet, drill: true, at: Timestamp::default() }.write()
    };
    let entries: Vec<_> = (0..=MAX_KILLS).map(entry).collect();
    let mut set = KillSet::default();
    assert!(!set.follow(&v1::KillBody { entries, ..v1::KillBody::default() }));
    assert_eq!(set.kills().count(), MAX_KILLS);
    assert!(set.follow(&v1::KillBody { entries: vec![entry(0)], ..v1::KillBody::default() }));
}

#[test]
fn expired_and_empty_orders_are_refused() {
    let text = |order: &Order| Unverified { body: order.encode(), signature: vec![0; 64] }.to_text();
    let read = |order: &Order, now| Unverified::parse(text(order).as_bytes()).unwrap().read(now);
    let good = order(1, false);
    assert_eq!(read(&good, Timestamp::from_secs(19)), Ok(good.clone()));
    assert_eq!(read(&good, Timestamp::from_secs(20)), Err(OrderError::Expired));
    let empty = Order { kill: None, ..good.clone() };
    assert_eq!(read(&empty, Timestamp::from_secs(19)), Err(OrderError::Body));
    let mut longer = Unverified::parse(text(&good).as_bytes()).unwrap();
    longer.body.extend([0x78, 1]);
    assert_eq!(longer.read(Timestamp::from_secs(19)), Err(OrderError::Body));
    for wrong in [
        "",
        "portcullis-kill-order v1 ",
        "portcullis-kill-order v1 AAAA AAAA",
        "portcullis-kill-order v2 A A",
    ] {
        assert_eq!(Unverified::parse(wrong.as_bytes()), Err(OrderError::Format), "{wrong}");
    }
}

/// However many credentials one tenant revokes, another's are remembered.
#[test]
fn no_tenant_uses_up_the_room_for_revocations_of_another() {
    let key = |tenant, n: usize| Credential::Key(tenant, Id::from_parts(n as u64, [0; 10]));
    let revoked = |tenant, n: usize, at| key(tenant, n).write(Timestamp::from_secs(at));
    let (quiet, busy) = (tenant(1), tenant(2));
    let mut body = v1::KillBody::default();
    body.revoked.push(revoked(quiet, 0, 1));
    body.revoked.extend((0..MAX_REVOKED).map(|n| revoked(busy, n, 2 + n as u64)));
    let mut set = KillSet::default();
    assert!(set.follow(&body));
    assert_eq!(set.revoked().count(), MAX_REVOKED);
    let remembered = |set: &KillSet, credential| set.revoked().any(|(each, _)| each == credential);
    assert!(remembered(&set, key(quiet, 0)), "it died first, and is the only one of its tenant");
    assert!(!remembered(&set, key(busy, 0)) && remembered(&set, key(busy, 1)));
}

/// Tokens end by themselves: what was revoked long before something else takes nobody's room. Keys are remembered.
#[test]
fn tokens_that_were_revoked_long_ago_are_forgotten() {
    let token = |n: u8| Credential::Token(tenant(1), Id::from_parts(1, [n; 10]));
    let key = Credential::Key(tenant(1), Id::from_parts(1, [9; 10]));
    let (begin, kept) = (1_000_000, TOKENS_KEPT.as_secs());
    let at = |credential: Credential, secs: u64| credential.write(Timestamp::from_secs(begin + secs));
    let mut set = KillSet::default();
    let follow = |set: &mut KillSet, revoked: Vec<_>| {
        assert!(set.follow(&v1::KillBody { revoked, ..Default::default() }));
        set.revoked().map(|(credential, _)| credential).collect::<Vec<_>>()
    };
    assert_eq!(follow(&mut set, vec![at(token(1), 0), at(key, 0), at(token(2), kept)]).len(), 3);
    assert_eq!(follow(&mut set, vec![at(token(3), kept + 1)]), [key, token(2), token(3)]);
    // Whatever comes later says how late it is.
    let other = Credential::Client(tenant(2), Id::from_parts(1, [1; 10]));
    assert_eq!(follow(&mut set, vec![at(other, 3 * kept)]), [key, other]);
}

/// Tokens, which clients end themselves and which end by themselves, leave room for their tenant's keys.
#[test]
fn single_tokens_use_up_no_room_for_keys() {
    let (key, client) = (Credential::Key(tenant(1), Id::from_parts(1, [0; 10])), Id::from_parts(1, [1; 10]));
    let mut body = v1::KillBody::default();
    for dead in [key, Credential::Client(tenant(1), client), Credential::TokensOf(tenant(1), client)] {
        body.revoked.push(dead.write(Timestamp::from_secs(1)));
    }
    let token = |n: usize| Credential::Token(tenant(1), Id::from_parts(n as u64, [0; 10]));
    body.revoked
        .extend((0..MAX_REVOKED).map(|n| token(n).write(Timestamp::from_micros(2_000_000 + n as u64))));
    let mut set = KillSet::default();
    assert!(set.follow(&body));
    assert_eq!(set.revoked().count(), MAX_REVOKED);
    let held: Vec<_> = set.revoked().map(|(each, _)| each).collect();
    assert!(held.contains(&key) && held.contains(&Credential::TokensOf(tenant(1), client)));
    assert!(!held.contains(&token(0)) && held.contains(&token(MAX_REVOKED - 1)));
}

#[test]
fn the_end_of_a_members_tokens_is_forgotten_with_them() {
    let kept = TOKENS_KEPT.as_secs();
    let (member, client) = (Id::from_parts(1, [1; 10]), Id::from_parts(1, [2; 10]));
    let ends = [
        Credential::TokensOfMember(tenant(1), member),
        Credential::TokensOfMemberBy(tenant(1), member, client),
    ];
    let mut set = KillSet::default();
    let follow = |set: &mut KillSet, credential: Credential, secs: u64| {
        let revoked = vec![credential.write(Timestamp::from_secs(secs))];
        assert!(set.follow(&v1::KillBody { revoked, ..Default::default() }));
    };
    ends.into_iter().for_each(|each| follow(&mut set, each, 1));
    assert!(set.revoked().map(|(each, _)| each).eq(ends));
    let key = Credential::Key(tenant(1), Id::from_parts(1, [0; 10]));
    follow(&mut set, key, kept + 2);
    assert!(set.revoked().map(|(each, _)| each).eq([key]));
    // Half of the two is nobody.
    let half = v1::MemberThrough { member_id: vec![1; 16], client_id: Vec::new() };
    let subject = Some(v1::revoked_credential::Subject::TokensOfMemberThrough(half));
    let revoked = vec![v1::RevokedCredential { tenant_id: vec![1; 16], subject, issued_before_micros: 1 }];
    assert!(!set.follow(&v1::KillBody { revoked, ..Default::default() }));
}
