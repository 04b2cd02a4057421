//! Access tokens (R4; RFC 9068, RFC 8725, RFC 8707).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::jwt::{self, Algorithm, PrivateKey};
use ids::{ClientId, MemberId, SigningKeyId, TokenId};
use seams::SeededEntropy;
use serde_json::{Value, json};
use wire::v1::{CredentialKind, Domain, Issuer, IssuerKey, Member, SignatureAlgorithm};

use super::*;

pub(super) const ISSUER: &str = "https://auth.example.com/t/tenant-1";
pub(super) const GATEWAY: &str = "https://gw.example.com";
const AUDIENCE: &str = "https://gw.example.com/tenant-1/tools/mcp";

/// A key of the issuer.
pub(super) struct Signer {
    id: SigningKeyId,
    private: PrivateKey,
    published: IssuerKey,
}

pub(super) fn signer(number: u8, algorithm: Algorithm) -> Signer {
    let (private, public) = jwt::generate(algorithm, &SeededEntropy::new(u64::from(number))).unwrap();
    let id = SigningKeyId::from_parts(1, [number; 10]);
    let algorithm = match algorithm {
        Algorithm::Rs256 => SignatureAlgorithm::Rs256,
        Algorithm::Es256 => SignatureAlgorithm::Es256,
        Algorithm::EdDsa => SignatureAlgorithm::Eddsa,
    };
    let published = IssuerKey {
        id: id.uuid().as_bytes().to_vec(),
        algorithm: algorithm.into(),
        public_key: public.bytes().to_vec(),
        not_after_micros: 0,
    };
    Signer { id, private, published }
}

pub(super) fn publish(world: &mut World, signers: &[&Signer]) {
    let keys = signers.iter().map(|signer| signer.published.clone()).collect();
    let issuer =
        Issuer { url: ISSUER.to_owned(), gateway: GATEWAY.to_owned(), keys, baseline_scopes: Vec::new() };
    world.add([("issuer".to_owned(), Body::Issuer(issuer))]);
}

pub(super) fn claims(world: &World) -> Value {
    let client = world.client().to_string();
    json!({
        "iss": ISSUER, "sub": client, "client_id": client, "aud": AUDIENCE, "iat": NOW.secs(),
        "exp": NOW.secs() + 900, "jti": TokenId::from_parts(NOW.millis(), [3; 10]).to_string(), "scope": "",
    })
}

pub(super) fn sign(signer: &Signer, claims: &Value) -> String {
    signer.private.sign(&signer.id.to_string(), "at+jwt", claims).unwrap()
}

fn present(world: &World, token: &str) -> Result<Principal, Refusal> {
    knock(world, with(&format!("Bearer {token}")))
}

fn refused(world: &World, token: &str) -> bool {
    matches!(present(world, token), Err(Refusal::CredentialInvalid))
}

pub(super) fn world() -> (World, Signer) {
    let (mut world, signer) = (World::new(), signer(1, Algorithm::Es256));
    publish(&mut world, &[&signer]);
    (world, signer)
}

#[test]
fn a_token_of_the_tenants_issuer_is_its_client() {
    for algorithm in Algorithm::ALL {
        let (mut world, signer) = (World::new(), signer(1, algorithm));
        publish(&mut world, &[&signer]);
        let principal = present(&world, &sign(&signer, &claims(&world))).unwrap();
        assert_eq!(principal.client_id(), world.client());
        assert_eq!(principal.not_after(), Some(NOW.plus(Duration::from_secs(900))));
        assert_eq!(principal.shown(), Shown::Token(TokenId::from_parts(NOW.millis(), [3; 10])));
    }
}

#[test]
fn a_claim_that_is_not_as_it_should_be_is_refused() {
    let (world, signer) = world();
    let other = ClientId::from_parts(1, [200; 10]).to_string();
    let now = NOW.secs();
    for (claim, value) in [
        ("iss", json!("https://auth.example.com/t/tenant-2")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("aud", json!("https://gw.example.com/tenant-1/other/mcp")),
        ("aud", json!("https://gw.example.com/tenant-2/tools/mcp")),
        ("aud", json!(format!("{AUDIENCE}/"))),
        ("aud", json!("https://up.example.com/mcp")),
        ("aud", json!([AUDIENCE])),
        ("aud", Value::Null),
        ("sub", json!(other)),
        ("client_id", json!(other)),
        ("client_id", Value::Null),
        ("jti", json!("1")),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 3601)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!("soon")),
        ("iat", json!(now + 61)),
        ("iat", json!(now + 901)),
        ("nbf", json!(now + 61)),
        ("nbf", json!(u64::MAX)),
        ("cnf", json!({"jkt": "x"})),
        ("cnf", json!({"x5t#S256": "x"})),
    ] {
        let mut claims = claims(&world);
        claims[claim] = value.clone();
        assert!(refused(&world, &sign(&signer, &claims)), "{claim} {value}");
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(
            refused(&world, &sign(&signer, &claims)),
            !["nbf", "cnf"].contains(&claim),
            "without {claim}"
        );
    }
    let mut unknown = claims(&world);
    (unknown["sub"], unknown["client_id"]) = (json!(other), json!(other));
    assert!(refused(&world, &sign(&signer, &unknown)));
}

#[test]
fn only_a_key_that_is_published_makes_a_token_by_its_own_algorithm() {
    let (world, signer) = world();
    let claims = claims(&world);
    let stranger = super::tokens::signer(2, Algorithm::Es256);
    assert!(refused(&world, &sign(&stranger, &claims)));
    // Its name on another's signature.
    let forged = Signer { id: signer.id, ..stranger };
    assert!(refused(&world, &sign(&forged, &claims)));
    let good = sign(&signer, &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    for token in [
        format!("{message}."),
        format!("{message}.{first}{}", &signature[1..]),
        format!("{message}.{signature}.{signature}"),
        format!("{good}{}", "A".repeat(9 * 1024)),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert!(refused(&world, &token), "{token}");
    }
    // What a header may say at all is `crypto::jwt`'s; that it decides nothing is shown here.
    let kid = signer.id.to_string();
    let claims = good.split('.').nth(1).unwrap();
    for header in [
        json!({"alg": "none", "typ": "at+jwt", "kid": kid}),
        json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}),
        json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}),
        json!({"alg": "ES256", "typ": "at+jwt"}),
        json!({"alg": "ES256", "typ": "at+jwt", "kid": "../../etc/passwd"}),
        json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "jku": "https://evil.example"}),
        json!({"alg": "ES256", "typ": "at+jwt", "kid": kid, "crit": ["exp"]}),
    ] {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        assert!(refused(&world, &format!("{header}.{claims}.{signature}")), "{header}");
    }
}

/// With a good signature over each.
#[test]
fn an_id_token_is_no_access_token() {
    let (world, signer) = world();
    let claims = claims(&world);
    for typ in ["JWT", "jwt", "id+jwt", "dpop+jwt", "oauth-id-jag+jwt", ""] {
        let token = signer.private.sign(&signer.id.to_string(), typ, &claims).unwrap();
        assert!(refused(&world, &token), "{typ}");
    }
    let token = signer.private.sign(&signer.id.to_string(), "application/at+jwt", &claims).unwrap();
    assert!(present(&world, &token).is_ok());
}

#[test]
fn what_was_found_good_once_is_asked_again_with_each_call() {
    let (mut world, signer) = world();
    let (tokens, token) = (Tokens::default(), sign(&signer, &claims(&world)));
    let knock = |world: &World, now| {
        let addresses = testing::addresses();
        let exchange = testing::exchange(with(&format!("Bearer {token}")));
        check(
            &exchange,
            &world.place(),
            &testing::counted(&addresses),
            Known { tokens: &tokens, proofs: &Proofs::default(), shown: None },
            now,
        )
    };
    let verified = |knocked: Result<Principal, Refusal>| match knocked.unwrap().credential {
        Credential::Token(verified) => verified,
        Credential::Key(_) | Credential::External(..) | Credential::Certificate(_) => panic!("a token"),
    };
    let first = verified(knock(&world, NOW));
    assert!(Arc::ptr_eq(&first, &verified(knock(&world, NOW.plus(Duration::from_secs(899))))), "once");
    assert!(knock(&world, NOW.plus(Duration::from_secs(900))).is_err());
    // Its client is switched off, and on again.
    for enabled in [false, true] {
        world.edit(|body| {
            if let Body::Client(client) = body {
                client.enabled = enabled;
            }
        });
        assert_eq!(knock(&world, NOW).is_ok(), enabled);
    }
    // The endpoint takes keys alone; and both again.
    for (accepts, good) in [(vec![CredentialKind::ApiKey.into()], false), (Vec::new(), true)] {
        world.edit(|body| {
            if let Some(endpoint) = testing::endpoint_of(body) {
                endpoint.accepts.clone_from(&accepts);
            }
        });
        assert_eq!(knock(&world, NOW).is_ok(), good);
        assert!(super::knock(&world, world.authorized(Request::post(PATH))).is_ok());
    }
    // The issuer is called otherwise; and as before.
    for (url, good) in [("https://auth.example.org/t/tenant-1", false), (ISSUER, true)] {
        world.edit(|body| {
            if let Body::Issuer(issuer) = body {
                url.clone_into(&mut issuer.url);
            }
        });
        assert_eq!(knock(&world, NOW).is_ok(), good);
    }
    // The key that signed it ends, and the token with it; and is gone.
    for (micros, good) in [(NOW.micros() + 1, true), (NOW.micros(), false)] {
        world.edit(|body| {
            if let Body::Issuer(issuer) = body {
                issuer.keys[0].not_after_micros = micros;
            }
        });
        let end = knock(&world, NOW).ok().map(|principal| principal.not_after());
        assert_eq!(end, good.then(|| Some(Timestamp::from_micros(micros))));
    }
    world.edit(|body| {
        if let Body::Issuer(issuer) = body {
            issuer.keys.clear();
        }
    });
    assert!(knock(&world, NOW).is_err());
    assert_eq!(tokens.len(), 1);
}

fn member(number: u8, enabled: bool) -> (String, Body) {
    let id = MemberId::from_parts(1, [number; 10]);
    let member = Member { id: id.uuid().as_bytes().to_vec(), enabled, role_ids: Vec::new() };
    (id.to_string(), Body::Member(member))
}

#[test]
fn a_token_of_a_member_is_the_member_through_its_client() {
    let (mut world, signer) = world();
    let mut claims = claims(&world);
    let id = MemberId::from_parts(1, [7; 10]);
    claims["sub"] = json!(id.to_string());
    let token = sign(&signer, &claims);
    assert!(refused(&world, &token), "nobody of this name");
    world.add([member(7, true), member(8, true)]);
    let principal = present(&world, &token).unwrap();
    assert_eq!(principal.holder(), Holder { client: world.client(), member: Some(id) });
    assert_eq!(principal.shown(), Shown::Token(TokenId::from_parts(NOW.millis(), [3; 10])));
    // Both have to be there, and on.
    for (member_on, client_on) in [(false, true), (true, false), (true, true)] {
        world.edit(|body| match body {
            Body::Member(member) if member.id == id.uuid().as_bytes() => member.enabled = member_on,
            Body::Client(client) => client.enabled = client_on,
            _ => {}
        });
        assert_eq!(present(&world, &token).is_ok(), member_on && client_on);
    }
    let other = json!(ClientId::from_parts(1, [200; 10]).to_string());
    claims["client_id"] = other;
    assert!(refused(&world, &sign(&signer, &claims)), "through a client that is not there");
}

#[test]
fn what_was_found_good_ends_with_its_member() {
    let (mut world, signer) = world();
    world.add([member(7, true)]);
    let mut claims = claims(&world);
    claims["sub"] = json!(MemberId::from_parts(1, [7; 10]).to_string());
    let (tokens, token) = (Tokens::default(), sign(&signer, &claims));
    let knock = |world: &World| {
        let addresses = testing::addresses();
        let exchange = testing::exchange(with(&format!("Bearer {token}")));
        check(
            &exchange,
            &world.place(),
            &testing::counted(&addresses),
            Known { tokens: &tokens, proofs: &Proofs::default(), shown: None },
            NOW,
        )
    };
    let principal = knock(&world).unwrap();
    for enabled in [false, true] {
        world.edit(|body| {
            if let Body::Member(member) = body {
                member.enabled = enabled;
            }
        });
        assert_eq!(knock(&world).is_ok(), enabled);
        let (tenant, place) = (world.tenant(), world.place());
        assert_eq!(
            principal.still(&tenant, place.endpoint(), (testing::ADDRESS, NOW)).is_some(),
            enabled,
            "an open stream"
        );
    }
}

#[test]
fn an_endpoint_that_takes_tokens_alone_refuses_keys() {
    let (mut world, signer) = world();
    world.edit(|body| {
        if let Some(endpoint) = testing::endpoint_of(body) {
            endpoint.accepts = vec![CredentialKind::AccessToken.into()];
        }
    });
    assert!(present(&world, &sign(&signer, &claims(&world))).is_ok());
    let key = knock(&world, world.authorized(Request::post(PATH)));
    assert!(matches!(key, Err(Refusal::CredentialInvalid)));
}

#[test]
fn a_token_for_a_domain_is_good_while_the_domain_is_the_tenants() {
    let (mut world, signer) = world();
    let mut claims = claims(&world);
    claims["aud"] = json!("https://mcp.acme.example/tools/mcp");
    let token = sign(&signer, &claims);
    assert!(refused(&world, &token));
    world.add([domain()]);
    assert!(present(&world, &token).is_ok());
}

/// `mcp.acme.example`, for all endpoints of the tenant.
pub(super) fn domain() -> (String, Body) {
    let id = ids::DomainId::from_parts(1, [7; 10]);
    let name = "mcp.acme.example".to_owned();
    let domain = Domain { id: id.uuid().as_bytes().to_vec(), name, ..Default::default() };
    (id.to_string(), Body::Domain(domain))
}

#[test]
fn a_client_without_the_endpoint_is_told_so() {
    let (mut world, signer) = world();
    let token = sign(&signer, &claims(&world));
    world.edit(|body| {
        if let Body::Client(client) = body {
            client.endpoint_ids.clear();
        }
    });
    assert!(matches!(present(&world, &token), Err(Refusal::ClientNotAllowed)));
}

#[test]
fn a_worker_keeps_a_bounded_number_of_a_tenants_tokens() {
    let (world, _) = world();
    let (tenant, tokens) = (world.tenant().id, Tokens::default());
    let verified = |number: u64| {
        let end = NOW.plus(Duration::from_secs(number % 3_600));
        token::Seen::Own(Arc::new(token::Verified::testing(world.client(), end)))
    };
    for number in 0..2_048_u64 {
        tokens.keep(tenant, crypto::digest::sha256(&number.to_be_bytes()), &verified(number + 1), NOW);
    }
    assert_eq!(tokens.len(), 2_048);
    // Room is made by those that are over, and by all where none is.
    let later = NOW.plus(Duration::from_secs(100));
    tokens.keep(tenant, [1; 32], &verified(3_599), later);
    assert_eq!(tokens.len(), 2_048 - 100 + 1);
    for number in 0..100_u64 {
        tokens.keep(
            tenant,
            crypto::digest::sha256(&(number + 10_000).to_be_bytes()),
            &verified(3_599),
            later,
        );
    }
    assert_eq!(tokens.len(), 1);
}
