use ids::{ClientId, MemberId, TokenId};
use proptest::prelude::*;

use super::*;
use crate::oauth::client::Shown;

const NOW: u64 = 1_795_600_000;

fn id(n: u8) -> ClientId {
    ClientId::from_parts(1, [n; 10])
}

fn client(n: u8) -> Client {
    let by = Shown::Secret(ids::ClientSecretId::from_parts(1, [n; 10]));
    Client { id: id(n), lifetime: Duration::from_secs(900), by, confirmation: None }
}

fn of_member(given_to: u8, act: Option<Actor>) -> Claims {
    Claims {
        iss: "https://auth.example/t/acme".to_owned(),
        sub: Subject::Member(MemberId::from_parts(1, [9; 10])),
        client_id: id(given_to),
        aud: "https://mcp.example/acme/tools/mcp".to_owned(),
        iat: NOW,
        exp: NOW + 600,
        nbf: None,
        jti: TokenId::from_parts(1, [1; 10]),
        scope: "a b".parse().unwrap(),
        cnf: None,
        auth_time: Some(NOW),
        act,
    }
}

#[test]
fn the_chain_of_who_acts_is_bounded_and_says_who_acted_before() {
    let mut subject = of_member(1, None);
    assert_eq!(actor(&subject, &client(1)).unwrap(), None, "its own");
    let mut depth = 1;
    for n in 2..20 {
        match actor(&subject, &client(n)) {
            Ok(act) => {
                let act = act.unwrap();
                depth += 1;
                assert_eq!((act.sub, act.depth()), (Subject::Client(id(n)), depth));
                // Nobody who acted before is left out, and nobody can get out.
                let own = actor(
                    &Claims { client_id: id(n), act: Some(act.clone()), ..subject.clone() },
                    &client(n),
                );
                assert_eq!(own.unwrap().as_ref(), Some(&act));
                subject = of_member(n, Some(act));
            }
            Err(error) => {
                assert!(matches!(error, OAuthError::Assertion(_)));
                assert_eq!(depth, MAX_ACTORS);
                return;
            }
        }
    }
    panic!("it went on and on");
}

#[test]
fn a_new_token_ends_no_later_than_the_old_one() {
    let subject = of_member(1, None);
    let at = |seconds: u64| lifetime(&subject, &client(1), Timestamp::from_secs(NOW + seconds));
    assert_eq!(at(0).unwrap(), Duration::from_secs(600));
    assert_eq!(at(599).unwrap(), Duration::from_secs(1));
    assert!(at(600).is_err() && at(10_000).is_err());
    let long = Claims { exp: NOW + 3_600, ..subject };
    let short = lifetime(&long, &client(1), Timestamp::from_secs(NOW)).unwrap();
    assert_eq!(short, Duration::from_secs(900), "the client's own");
}

proptest! {
    #[test]
    fn scope_never_widens(had in "[a-e]{0,3}( [a-e]){0,4}", asked in proptest::option::of("[a-f ]{0,9}")) {
        let had: Scopes = had.parse().unwrap();
        if let Ok(given) = narrowed(&had, asked.as_deref()) {
            prop_assert!(given.iter().all(|scope| had.has(scope.as_str())));
        }
    }
}
