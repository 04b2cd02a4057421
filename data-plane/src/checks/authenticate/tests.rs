use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Request;
use wire::v1::resource::Body;

use super::*;
use crate::{
    snapshot::samples::Sample,
    testing::{self, NOW, PATH, World},
};

mod metadata;
mod proofs;
mod tokens;

fn knock(world: &World, request: http::request::Builder) -> Result<Principal, Refusal> {
    let addresses = testing::addresses();
    let known = Known { tokens: &Tokens::default(), proofs: &Proofs::default(), shown: None };
    check(&testing::exchange(request), &world.place(), &testing::counted(&addresses), known, NOW)
}

fn with(authorization: &str) -> http::request::Builder {
    Request::post(PATH).header("authorization", authorization)
}

#[test]
fn a_current_key_is_its_client() {
    let world = World::new();
    let principal = knock(&world, world.authorized(Request::post(PATH))).unwrap();
    let tenant = world.tenant();
    assert_eq!(principal.client_id(), *tenant.clients.keys().next().unwrap());
    assert_eq!(principal.shown(), Shown::Key(tenant.keys.values().next().unwrap().id));
    let lower = with(&format!("bearer   {}", world.sample.key_text));
    assert!(knock(&world, lower).is_ok());
}

#[test]
fn nothing_presented_is_missing_and_another_scheme_is_nothing() {
    let world = World::new();
    assert!(matches!(knock(&world, Request::post(PATH)), Err(Refusal::CredentialMissing)));
    for scheme in ["Basic dXNlcjpwYXNz", "Digest x=y", ""] {
        assert!(matches!(knock(&world, with(scheme)), Err(Refusal::CredentialMissing)), "{scheme}");
    }
}

/// R6: a client's id and one of its keys, where the endpoint says so.
#[test]
fn a_password_is_a_key_of_the_client_that_is_named() {
    let accepting = |kinds: &[CredentialKind]| {
        let kinds: Vec<i32> = kinds.iter().map(|kind| *kind as i32).collect();
        World::with(|body| {
            if let Some(endpoint) = testing::endpoint_of(body) {
                endpoint.accepts.clone_from(&kinds);
            }
        })
    };
    let basic = |user: &str, password: &str| {
        with(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    };
    let world = accepting(&[CredentialKind::Basic]);
    let (client, key) = (world.client().to_string(), world.sample.key_text.clone());
    let principal = knock(&world, basic(&client, &key)).unwrap();
    assert_eq!((principal.client_id(), principal.by()), (world.client(), Some(CredentialKind::Basic)));
    let foreign = Sample::new(2).key_text;
    for (user, password) in [
        ("cl_01hzy3v5d1f4m8q2w6x9c0b7ka", &*key),
        ("", &key),
        (&client, "pck_short"),
        (&client, ""),
        (&client, &foreign),
        (&client, &format!("{key}:")),
        (&key, &client),
    ] {
        let refused = knock(&world, basic(user, password));
        assert!(matches!(refused, Err(Refusal::CredentialInvalid)), "{user}");
    }
    for malformed in ["Basic !", "Basic", "Basic YQ", "Basic YQ==", &format!("Basic {}", "YWFh".repeat(64))] {
        assert!(matches!(knock(&world, with(malformed)), Err(Refusal::CredentialMalformed)), "{malformed}");
    }
    // A key that is accepted as a password alone is none by itself, and the other way round.
    let bare = knock(&world, world.authorized(Request::post(PATH)));
    assert!(matches!(bare, Err(Refusal::CredentialInvalid)));
    let usual = accepting(&[]);
    assert!(matches!(knock(&usual, basic(&client, &key)), Err(Refusal::CredentialMissing)));
    // Nor does a principal outlive the endpoint's word.
    let (tenant, place) = (usual.tenant(), usual.place());
    assert!(principal.still(&tenant, place.endpoint(), (testing::ADDRESS, NOW)).is_none());
    let (tenant, place) = (world.tenant(), world.place());
    assert!(principal.still(&tenant, place.endpoint(), (testing::ADDRESS, NOW)).is_some());
}

#[test]
fn what_is_no_bearer_token_is_malformed() {
    let world = World::new();
    for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \"a\""] {
        assert!(matches!(knock(&world, with(value)), Err(Refusal::CredentialMalformed)), "{value}");
    }
    let twice = world.authorized(world.authorized(Request::post(PATH)));
    assert!(matches!(knock(&world, twice), Err(Refusal::CredentialMalformed)));
}

#[test]
fn a_wrong_key_an_unknown_one_and_another_tenants_are_the_same() {
    let world = World::new();
    let foreign = Sample::new(2).key_text;
    let mut wrong = world.sample.key_text.clone().into_bytes();
    wrong[20] = if wrong[20] == b'a' { b'b' } else { b'a' };
    let wrong = String::from_utf8(wrong).unwrap();
    for key in [&*foreign, &*wrong, "pck_short", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(
            matches!(knock(&world, with(&format!("Bearer {key}"))), Err(Refusal::CredentialInvalid)),
            "{key}"
        );
    }
}

#[test]
fn a_key_that_has_ended_is_refused_from_that_moment() {
    let ends = |micros: u64| {
        World::with(|body| {
            if let Body::ApiKey(key) = body {
                key.not_after_micros = micros;
            }
        })
    };
    let over = ends(NOW.micros());
    assert!(matches!(knock(&over, over.authorized(Request::post(PATH))), Err(Refusal::CredentialInvalid)));
    let lives = ends(NOW.micros() + 1);
    assert!(knock(&lives, lives.authorized(Request::post(PATH))).is_ok());
}

#[test]
fn a_good_key_is_told_where_and_when_it_is_not_accepted_and_a_wrong_one_is_not() {
    let restricted = |networks: &[&str], until_minute: u32| {
        World::with(|body| {
            if let Body::ApiKey(key) = body {
                key.allow = networks.iter().map(|network| (*network).to_owned()).collect();
                key.hours = vec![wire::v1::KeyHours { days: 127, from_minute: 0, until_minute }];
            }
        })
    };
    // The clock of these tests shows some minutes after midnight, or many: what counts is which.
    let minutes = u32::try_from(NOW.micros() / 60_000_000 % 1440).expect("of a day");
    let here = restricted(&["198.51.100.0/24"], 1440);
    let principal = knock(&here, here.authorized(Request::post(PATH))).unwrap();
    let midnight = NOW.micros() - NOW.micros() % 86_400_000_000 + 86_400_000_000;
    assert_eq!(principal.not_after(), Some(Timestamp::from_micros(midnight)));
    for world in [restricted(&["198.51.101.0/24"], 1440), restricted(&["198.51.100.0/24"], minutes.max(1))] {
        let refused = knock(&world, world.authorized(Request::post(PATH)));
        assert!(matches!(refused, Err(Refusal::CredentialRestricted)), "{refused:?}");
        let mut wrong = world.sample.key_text.clone().into_bytes();
        wrong[20] = if wrong[20] == b'a' { b'b' } else { b'a' };
        let wrong = format!("Bearer {}", String::from_utf8(wrong).unwrap());
        assert!(matches!(knock(&world, with(&wrong)), Err(Refusal::CredentialInvalid)));
    }
}

#[test]
fn a_disabled_client_is_unknown_and_one_without_the_endpoint_is_told() {
    let disabled = World::with(|body| {
        if let Body::Client(client) = body {
            client.enabled = false;
        }
    });
    let refused = knock(&disabled, disabled.authorized(Request::post(PATH)));
    assert!(matches!(refused, Err(Refusal::CredentialInvalid)));
    let elsewhere = World::with(|body| {
        if let Body::Client(client) = body {
            client.endpoint_ids.clear();
        }
    });
    let refused = knock(&elsewhere, elsewhere.authorized(Request::post(PATH)));
    assert!(matches!(refused, Err(Refusal::ClientNotAllowed)));
}
