use super::*;

fn who(client: u8) -> (TenantId, ClientId) {
    (TenantId::from_parts(1, [1; 10]), ClientId::from_parts(1, [client; 10]))
}

fn id(number: usize) -> [u8; 32] {
    crypto::digest::sha256(&number.to_be_bytes())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

#[test]
fn a_proof_is_taken_once() {
    let proofs = Proofs::default();
    assert_eq!(proofs.take(who(1), &id(1), at(0), at(0)), Novelty::New);
    for later in [0, 59, 299] {
        assert_eq!(proofs.take(who(1), &id(1), at(0), at(later)), Novelty::Taken, "{later}");
    }
    assert_eq!(proofs.take(who(1), &id(2), at(0), at(0)), Novelty::New);
    assert_eq!(proofs.take(who(2), &id(1), at(0), at(0)), Novelty::New);
}

/// Whatever is forgotten is refused for its age, so that nothing is ever taken twice.
#[test]
fn a_client_that_sends_many_has_its_older_ones_refused_and_newer_ones_taken() {
    let proofs = Proofs::default();
    let per_second = 1_000;
    for number in 0..KEPT_PER_CLIENT * 3 {
        let now = at((number / per_second) as u64);
        assert_eq!(proofs.take(who(1), &id(number), now, now), Novelty::New, "{number}");
    }
    let now = at((KEPT_PER_CLIENT * 3 / per_second) as u64);
    let held = proofs.0.lock().count;
    assert!(held <= KEPT_PER_CLIENT * 2, "{held}");
    for number in 0..KEPT_PER_CLIENT * 3 {
        let made = at((number / per_second) as u64);
        assert_ne!(proofs.take(who(1), &id(number), made, now), Novelty::New, "{number}");
    }
    assert_eq!(proofs.take(who(1), &id(0), at(0), now), Novelty::Unknown);
    // Nobody else feels it.
    assert_eq!(proofs.take(who(2), &id(0), at(0), now), Novelty::New);
}

#[test]
fn what_all_clients_have_is_bounded_and_whoever_has_most_pays_for_it() {
    let proofs = Proofs::default();
    let clients = KEPT / KEPT_PER_CLIENT + 4;
    for client in 0..clients {
        for number in 0..KEPT_PER_CLIENT {
            let client = u8::try_from(client).unwrap();
            assert_eq!(proofs.take(who(client), &id(number), at(1), at(1)), Novelty::New);
        }
    }
    let held = proofs.0.lock().count;
    assert!(held <= KEPT + 1, "{held}");
    // What was forgotten is not taken again.
    let again =
        (0..clients).map(|client| proofs.take(who(u8::try_from(client).unwrap()), &id(0), at(1), at(1)));
    assert!(again.into_iter().all(|novelty| novelty != Novelty::New));
    // Later everything is over, and its room free.
    let later = at(400);
    assert_eq!(proofs.take(who(0), &id(9), later, later), Novelty::New);
    proofs.0.lock().make_room(later);
    let taken = proofs.0.lock();
    assert_eq!((taken.count, taken.of.len()), (1, 1));
}
