//! R2, R3, R11: who asks for a token proves to be a client of that tenant, by a secret or by a signature, and nobody learns from a
//! refusal whether there is such a client.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{
    ExposeSecret as _,
    jwt::{Algorithm, PrivateKey},
    key::{self, KeyKind},
};
use harness::{
    Answered, Gateway, Machine, Tenant,
    machine::{FormBody as _, send},
};
use seams::SystemEntropy;
use serde_json::{Value, json};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn machine(gateway: &Gateway, slug: &str) -> (Tenant, Machine) {
    let tenant = gateway.tenant(slug).await;
    let tools = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "tools"})).await, "id");
    let machine = Machine::new(gateway, &tenant, "machine", &[&tools]).await;
    (tenant, machine)
}

fn is_no_client(answered: &Answered, why: &str) {
    assert_eq!((answered.status, answered.error().as_str()), (401, "invalid_client"), "{why}: {answered:?}");
}

fn random_secret() -> String {
    key::mint(KeyKind::ClientSecret, &SystemEntropy).text.expose_secret().to_owned()
}

/// Well formed, with the same public part and another secret one.
fn with_another_secret(secret: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (rest, _) = secret.split_at(secret.len() - 6);
    let last = if rest.ends_with('a') { 'b' } else { 'a' };
    let changed = format!("{}{last}", &rest[..rest.len() - 1]);
    // CRC-32 of ISO 3309, as in gzip.
    let crc = !changed.bytes().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    });
    let digit = |place: u32| char::from(DIGITS[(crc / 62_u32.pow(place) % 62) as usize]);
    let forged = changed + &(0..6).rev().map(digit).collect::<String>();
    assert!(key::parse(KeyKind::ClientSecret, &forged).is_ok());
    forged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_client_and_a_wrong_secret_are_answered_alike() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, machine) = machine(&gateway, "acme").await;
    let (_, other) = self::machine(&gateway, "other").await;
    let wrong = Machine { secret: random_secret(), ..machine.clone() };
    let unknown = Machine { client: other.client.clone(), secret: random_secret(), ..machine.clone() };
    let foreign = Machine { client: other.client.clone(), secret: other.secret.clone(), ..machine.clone() };
    let mixed = Machine { secret: other.secret.clone(), ..machine.clone() };
    let guessed = Machine { secret: with_another_secret(&machine.secret), ..machine.clone() };
    let mut seen = Vec::new();
    for who in [&wrong, &unknown, &foreign, &mixed, &guessed] {
        let answered = who.basic("token", &[GRANT]).await;
        is_no_client(&answered, "wrong");
        let challenge = answered.headers["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Basic "), "{challenge}");
        seen.push((answered.body.to_string(), challenge));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "texts differ: {seen:?}");
    assert_eq!(machine.ask(&[]).await.status, 200, "the right one");

    // Where Basic was not tried it is not asked for; where nothing was, it is.
    let answered = wrong.ask(&[]).await;
    is_no_client(&answered, "in the form");
    assert!(!answered.headers.contains_key("www-authenticate"));
    let answered = machine.bare("token", &[GRANT]).await;
    is_no_client(&answered, "nothing");
    assert!(answered.headers.contains_key("www-authenticate"));
    let bearer = send(machine.request("token").bearer_auth("x").form(&[GRANT])).await;
    is_no_client(&bearer, "another scheme");
    // A tenant that does not exist has no issuer.
    let nobody = Machine { url: machine.url.replace("acme", "nobody"), ..machine.clone() };
    assert_eq!(nobody.ask(&[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_credentials_are_form_encoded_inside() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, machine) = machine(&gateway, "acme").await;
    let encoded: String = machine.client.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let request = machine.request("token").basic_auth(&encoded, Some(&machine.secret)).form(&[GRANT]);
    assert_eq!(send(request).await.status, 200);
    let broken = machine.request("token").basic_auth(format!("{}%", machine.client), Some(&machine.secret));
    is_no_client(&send(broken.form(&[GRANT])).await, "broken encoding");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_works_until_its_overlap_ends_or_it_is_revoked() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, old) = machine(&gateway, "acme").await;
    let path = format!("/clients/{}/secrets", old.client);
    let made = tenant.post(&format!("{path}/{}/rotate", old.secret_id), json!({"overlap_seconds": 60})).await;
    let new = Machine { secret: text(&made, "secret"), ..old.clone() };
    for _ in 0..2 {
        assert_eq!((old.ask(&[]).await.status, new.ask(&[]).await.status), (200, 200), "both");
    }
    gateway.control_clock().set_forward(Duration::from_secs(61));
    is_no_client(&old.ask(&[]).await, "after the overlap, though it was good here");
    assert_eq!(new.ask(&[]).await.status, 200);
    tenant.admin.delete(&format!("{}{path}/{}", tenant.base, text(&made, "id"))).await.unwrap();
    is_no_client(&new.ask(&[]).await, "revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_is_slowed_down_and_locks_nobody_out() {
    let gateway = Gateway::with_proxies(0).await;
    let (_, machine) = machine(&gateway, "acme").await;
    let guesser = Machine { secret: "pcs_wrong".to_owned(), ..machine.from([127, 0, 0, 7]) };
    let mut statuses = Vec::new();
    for _ in 0..33 {
        statuses.push(guesser.ask(&[]).await);
    }
    let last = statuses.last().unwrap();
    assert_eq!((last.status, last.error().as_str()), (429, "temporarily_unavailable"), "{last:?}");
    assert_eq!(last.code(), "token_requests_limited");
    assert!(last.headers.contains_key("retry-after"));
    // From as many addresses as it takes to use up what there is for the client.
    for n in 8..11 {
        let guesser = Machine { secret: "pcs_wrong".to_owned(), ..machine.from([127, 0, 0, n]) };
        for _ in 0..33 {
            guesser.ask(&[]).await;
        }
    }
    let guesser = Machine { secret: "pcs_wrong".to_owned(), ..machine.from([127, 0, 0, 12]) };
    assert_eq!(
        (guesser.ask(&[]).await.status, guesser.ask(&[]).await.status),
        (401, 429),
        "one guess an address"
    );
    assert_eq!(machine.ask(&[]).await.status, 200, "the good secret, from elsewhere");
    assert_eq!(
        machine.from([127, 0, 0, 7]).ask(&[]).await.status,
        200,
        "and then also from where they guess"
    );
}

fn sign(key: &PrivateKey, kid: &str, claims: &Value) -> String {
    key.sign(kid, "JWT", claims).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_proves_itself_by_what_it_signs_once() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = machine(&gateway, "acme").await;
    for (number, algorithm) in Algorithm::ALL.into_iter().enumerate() {
        let kid = format!("key-{number}");
        let key = machine.key(&tenant, algorithm, &kid).await;
        let assertion = sign(&key, &kid, &machine.claims(&kid));
        let answered = machine.assert(&assertion).await;
        assert_eq!(answered.status, 200, "{algorithm:?}: {answered:?}");
        is_no_client(&machine.assert(&assertion).await, "a replayed assertion");
        let other = gateway.replica().await;
        let elsewhere = Machine { url: format!("{}/t/acme", other.auth_url), ..machine.clone() };
        is_no_client(&elsewhere.assert(&assertion).await, "replayed at another replica");
        let mut again = machine.claims(&format!("{kid}-again"));
        again["aud"] = json!([format!("{}/token", machine.issuer)]);
        assert_eq!(machine.assert(&sign(&key, &kid, &again)).await.status, 200, "for the token endpoint");
        let said =
            key.sign(&kid, "client-authentication+jwt", &machine.claims(&format!("{kid}-said"))).unwrap();
        assert_eq!(machine.assert(&said).await.status, 200, "that says what it is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_for_others_too_long_or_by_another_key_is_none() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = machine(&gateway, "acme").await;
    let (_, stranger) = self::machine(&gateway, "other").await;
    let key = machine.key(&tenant, Algorithm::Es256, "one").await;
    let others = crypto::jwt::generate(Algorithm::Es256, &SystemEntropy).unwrap().0;
    let exp = machine.claims("x")["exp"].as_u64().unwrap();
    let changed = |name: &str, value: Value| {
        let mut claims = machine.claims(&format!("{name}-{value}"));
        claims[name] = value;
        claims
    };
    for (claims, why) in [
        (changed("aud", json!(stranger.issuer)), "another issuer's"),
        (changed("aud", json!([machine.issuer, stranger.issuer])), "for two"),
        (changed("sub", json!(stranger.client)), "about another"),
        (changed("iss", json!(stranger.client)), "by another"),
        (changed("exp", json!(exp - 120)), "expired"),
        (changed("exp", json!(exp + 600)), "far `exp`"),
        (changed("nbf", json!(exp + 60)), "far `nbf`"),
        (changed("jti", json!("")), "without a name"),
        (changed("jti", json!("x".repeat(257))), "with a long name"),
    ] {
        is_no_client(&machine.assert(&sign(&key, "one", &claims)).await, why);
    }
    let mut nameless = machine.claims("n");
    nameless.as_object_mut().unwrap().remove("jti");
    is_no_client(&machine.assert(&sign(&key, "one", &nameless)).await, "without jti");
    let good = machine.claims("good");
    is_no_client(&machine.assert(&sign(&others, "one", &good)).await, "by another key");
    is_no_client(&machine.assert(&sign(&key, "two", &good)).await, "by a key of another name");
    is_no_client(&machine.assert(&sign(&key, "../one", &good)).await, "a path as kid");
    is_no_client(&machine.assert(&key.sign("one", "at+jwt", &good).unwrap()).await, "an access token's type");
    let text = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = sign(&key, "one", &good);
    let (_, rest) = signed.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    for header in [
        json!({"alg": "none", "kid": "one"}),
        json!({"alg": "HS256", "kid": "one"}),
        json!({"alg": "ES256", "kid": "one", "crit": ["exp"]}),
        json!({"alg": "ES256", "kid": "one", "jku": "https://evil.example/"}),
        json!({"alg": "ES256", "kid": "one", "x5u": "https://evil.example/"}),
        json!({"alg": "ES256", "kid": "one", "jwk": {"kty": "EC"}}),
    ] {
        let forged = format!("{}.{claims}.{signature}", text(header.clone()));
        is_no_client(&machine.assert(&forged).await, &header.to_string());
    }
    is_no_client(&machine.assert(&format!("{}.{claims}.", text(json!({"alg": "none"})))).await, "unsigned");
    // What was refused used nothing up, and a deleted key signs no more.
    assert_eq!(machine.assert(&signed).await.status, 200);
    let path = format!("{}/clients/{}/public-keys", tenant.base, machine.client);
    let keys = tenant.admin.get(&path).await.unwrap();
    tenant.admin.delete(&format!("{path}/{}", self::text(&keys["items"][0], "id"))).await.unwrap();
    is_no_client(&machine.assert(&sign(&key, "one", &machine.claims("late"))).await, "a deleted key");
}

fn text(value: &Value, member: &str) -> String {
    harness::text(value, member)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_keys_weak_keys_and_too_many_are_not_taken() {
    let gateway = Gateway::with_proxies(0).await;
    let (tenant, machine) = machine(&gateway, "acme").await;
    let path = format!("{}/clients/{}/public-keys", tenant.base, machine.client);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let good = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let mut private = good.clone();
    private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    for wrong in
        [private, json!({"kty": "oct", "k": "c2VjcmV0"}), json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})]
    {
        let refused = tenant.admin.post(&path, json!({"name": "n", "key": wrong})).await.unwrap_err();
        assert!(refused.to_string().contains("422"), "{wrong}: {refused}");
    }
    let made = tenant.admin.post(&path, json!({"name": "n", "key": good})).await.unwrap();
    assert_eq!(made["key"]["kid"], made["id"], "its id is its name");
    for n in 1..16 {
        let mut key = good.clone();
        key["kid"] = json!(format!("k{n}"));
        tenant.admin.post(&path, json!({"name": "n", "key": key})).await.unwrap();
    }
    let refused = tenant.admin.post(&path, json!({"name": "n", "key": good})).await.unwrap_err();
    assert!(refused.to_string().contains("409"), "{refused}");
}
