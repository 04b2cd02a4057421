use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn all() -> Vec<SocketAddr> {
    ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"].map(at).to_vec()
}

fn first(addresses: &Addresses, now: Instant) -> SocketAddr {
    addresses.order(all(), None, now).addresses[0]
}

#[test]
fn each_address_has_its_turn_and_families_alternate() {
    let (addresses, now) = (Addresses::default(), Instant::now());
    assert_eq!([(); 4].map(|()| first(&addresses, now)), [all()[0], all()[1], all()[2], all()[0]]);
    assert_eq!(first(&Addresses::beginning_at(2), now), all()[2]);
    let mixed = ["[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80", "192.0.2.2:80"].map(at).to_vec();
    let order = |turn| Addresses::beginning_at(turn).order(mixed.clone(), None, now).addresses;
    assert_eq!(order(0), [mixed[0], mixed[2], mixed[1], mixed[3]]);
    assert_eq!(order(2), [mixed[2], mixed[0], mixed[3], mixed[1]]);
    // A session's own address comes first, whoever has the turn.
    let sticky = Addresses::default().order(all(), Some(all()[1]), now).addresses;
    assert_eq!(sticky, [all()[1], all()[2], all()[0]]);
    assert!(Addresses::default().order(Vec::new(), None, now).addresses.is_empty());
}

#[test]
fn an_address_that_fails_is_left_alone_for_twice_as_long_each_time_and_tried_by_one() {
    let addresses = Addresses::default();
    let mut now = Instant::now();
    let bad = all()[0];
    for secs in [1, 2, 4, 8, 16, 32, 60, 60] {
        addresses.unreachable(bad, now);
        // What failed with it counts once.
        addresses.unreachable(bad, now);
        let order = addresses.order(all(), Some(bad), now);
        assert_eq!((order.well, order.addresses[2]), (2, bad));
        let nearly = now + Duration::from_secs(secs) - Duration::from_millis(1);
        assert_ne!(addresses.order(all(), Some(bad), nearly).addresses[0], bad, "{secs}");
        now += Duration::from_secs(secs);
        assert_eq!(addresses.order(all(), Some(bad), now).addresses[0], bad, "{secs}");
        assert_ne!(addresses.order(all(), Some(bad), now).addresses[0], bad, "one tries");
    }
    addresses.connected(bad);
    assert_eq!(addresses.order(all(), Some(bad), now).addresses[0], bad);
    // It connects; whether it answers is another matter.
    addresses.unreachable(bad, now);
    let later = now + Duration::from_secs(59);
    assert_eq!(addresses.order(all(), Some(bad), later).well, 2);
    addresses.answered(bad);
    assert_eq!(addresses.troubled.load(Ordering::Relaxed), 0);
    addresses.unreachable(bad, now);
    assert_eq!(addresses.order(all(), Some(bad), now + EJECTED_FOR).addresses[0], bad);
}

#[test]
fn where_all_are_ejected_all_are_tried() {
    let (addresses, now) = (Addresses::default(), Instant::now());
    for address in all() {
        addresses.unreachable(address, now);
    }
    let order = addresses.order(all(), None, now);
    assert_eq!((order.well, order.addresses), (3, all()));
}

#[test]
fn calls_in_a_row_that_come_to_nothing_eject_an_address_and_one_answer_is_enough_against_it() {
    let (addresses, now) = (Addresses::default(), Instant::now());
    let bad = all()[0];
    for _ in 0..2 {
        assert!(!addresses.unanswered(bad, now) && !addresses.unanswered(bad, now));
        addresses.answered(bad);
    }
    assert_eq!([(); 3].map(|()| addresses.unanswered(bad, now)), [false, false, true]);
    assert_eq!(addresses.order(all(), None, now).well, 2);
    // Until a call is answered, one more is enough.
    let later = now + EJECTED_FOR;
    assert_eq!(addresses.order(all(), Some(bad), later).addresses[0], bad);
    addresses.connected(bad);
    assert!(addresses.unanswered(bad, later));
    assert_eq!(addresses.order(all(), None, later + EJECTED_FOR).well, 2);
}

#[test]
fn what_is_remembered_is_bounded() {
    let (addresses, now) = (Addresses::default(), Instant::now());
    for port in 0..1_000 {
        addresses.unreachable(SocketAddr::new(all()[0].ip(), port), now);
    }
    assert_eq!(addresses.known.lock().troubled.len(), AT_MOST);
}
