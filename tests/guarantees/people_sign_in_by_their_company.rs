//! R3, R8, R57: people sign in to their tenant by their company's OpenID provider. Who somebody is says its `sub`, signed, for this client and
//! this browser and now; it lets in people of its own domains, to its own tenant, and nobody else anywhere.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::jwt::{Algorithm, Jwk, PrivateKey, generate};
use harness::{
    App, Gateway, Page, Person, Tenant, Web,
    app::told,
    person::{ORIGIN, Shown},
    text,
};
use seams::{Clock as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

pub(crate) const HOST: &str = "idp.example";
const CLIENT: &str = "portcullis at acme";
const SECRET: &str = "pa:ss/word+of%the=client";
const TOOLS: &str = "http://127.0.0.1:3/acme/tools/mcp";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) acme: Tenant,
    pub(crate) web: Web,
    pub(crate) key: PrivateKey,
    pub(crate) provider: Value,
    app: App,
}

/// A browser that was sent to the provider.
pub(crate) struct Away {
    pub(crate) asked: BTreeMap<String, String>,
}

impl World {
    pub(crate) async fn new(settings: Value) -> Self {
        let gateway = Gateway::with_proxies(0).await;
        let web = Web::start(&[HOST]).await;
        gateway.dns.set_addresses(HOST, &[&[IpAddr::from([127, 0, 0, 1])]]);
        let acme = gateway.tenant("acme").await;
        acme.allow_egress(web.address.port()).await;
        let (key, public) = generate(Algorithm::Rs256, &SystemEntropy).unwrap();
        let issuer = web.url(HOST, "");
        web.set("/jwks", Page::json(json!({"keys": [Jwk::new("one", &public)]}).to_string()));
        let mut all = json!({
            "name": "Acme & Sons", "issuer": issuer, "client_id": CLIENT.replace(' ', "-"), "client_secret": SECRET,
            "email_domains": ["acme.example"],
        });
        for (name, value) in settings.as_object().unwrap() {
            all[name] = value.clone();
        }
        let provider = acme.post("/sign-in-providers", all).await;
        let endpoint = text(&acme.post("/endpoints", json!({"slug": "tools", "name": "n"})).await, "id");
        let app = App::public(&gateway, &acme, "app", &[&endpoint]).await;
        let world = Self { gateway, acme, web, key, provider, app };
        world.describe(&json!({}));
        world
    }

    /// What the provider says of itself.
    pub(crate) fn describe(&self, other: &Value) {
        let url = |path: &str| self.web.url(HOST, path);
        let mut metadata = json!({
            "issuer": url(""), "authorization_endpoint": url("/authorize"), "token_endpoint": url("/token"),
            "jwks_uri": url("/jwks"),
        });
        for (name, value) in other.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        self.web.set("/.well-known/openid-configuration", Page::json(metadata.to_string()));
    }

    pub(crate) fn id(&self) -> String {
        text(&self.provider, "id")
    }

    /// The page at which the application has people sign in.
    pub(crate) fn ask(&self, other: &[(&str, &str)]) -> String {
        self.app.ask(TOOLS, other)
    }

    /// Follows the link on the page of sign-in.
    pub(crate) async fn set_out(&self, person: &Person, place: &str) -> Away {
        let page = person.get(place).await.page;
        let link = page.split("<a href=\"").nth(1).unwrap_or_else(|| panic!("no link: {page}"));
        assert!(link.contains("Sign in with Acme &amp; Sons"), "{page}");
        let link = link.split('"').next().unwrap().replace("&amp;", "&");
        let sent = person.get(&link).await;
        assert_eq!(sent.status, 303, "{sent:?}");
        let to: url::Url = sent.location().parse().unwrap();
        assert!(sent.location().starts_with(&self.web.url(HOST, "/authorize")), "{to}");
        Away { asked: to.query_pairs().into_owned().collect() }
    }

    pub(crate) fn claims(&self, away: &Away, email: &str) -> Value {
        let now = SystemClock.now().secs();
        json!({
            "iss": self.web.url(HOST, ""), "aud": CLIENT.replace(' ', "-"), "sub": format!("sub of {email}"), "email": email,
            "email_verified": true, "iat": now, "exp": now + 300, "auth_time": now, "nonce": away.asked["nonce"],
        })
    }

    /// Comes back with a code for which the provider gives this.
    pub(crate) async fn back_with(
        &self,
        person: &Person,
        away: &Away,
        token: &str,
        query: &[(&str, &str)],
    ) -> Shown {
        self.web.set(
            "/token",
            Page::json(json!({"id_token": token, "access_token": "x", "token_type": "Bearer"}).to_string()),
        );
        let own = [("code", "the code"), ("state", away.asked["state"].as_str())];
        let own = own.into_iter().filter(|(name, _)| query.iter().all(|(other, _)| name != other));
        let all = own.chain(query.iter().copied()).filter(|(_, value)| !value.is_empty());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        person.get(&format!("/t/acme/sign-in/{}/callback?{query}", self.id())).await
    }

    pub(crate) async fn back(&self, person: &Person, away: &Away, claims: &Value) -> Shown {
        self.back_with(person, away, &self.key.sign("one", "JWT", claims).unwrap(), &[]).await
    }

    /// Signs in by the provider on the way to the application.
    pub(crate) async fn sign_in(&self, person: &Person, claims: impl Fn(&mut Value)) -> Shown {
        let away = self.set_out(person, &self.ask(&[])).await;
        let mut all = self.claims(&away, &person.email);
        claims(&mut all);
        self.back(person, &away, &all).await
    }

    pub(crate) async fn members(&self) -> Vec<Value> {
        let page = self.acme.admin.get(&format!("{}/members?limit=200", self.acme.base)).await.unwrap();
        page["items"].as_array().unwrap().clone()
    }

    pub(crate) fn person(&self, email: &str) -> Person {
        Person::new(&self.gateway, email)
    }
}

pub(crate) fn refused(shown: &Shown) -> bool {
    (shown.status, shown.code().as_str()) == (403, "company_sign_in_refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_first_becomes_a_member_and_goes_on_to_where_they_were() {
    let world = World::new(json!({"creates_members": true})).await;
    let ann = world.person("ann@acme.example");
    let away = world.set_out(&ann, &world.ask(&[])).await;
    let asked = |name: &str| away.asked[name].as_str();
    assert_eq!((asked("response_type"), asked("code_challenge_method")), ("code", "S256"));
    assert_eq!(asked("redirect_uri"), text(&world.provider, "redirect_uri"));
    assert!(
        asked("redirect_uri").starts_with(ORIGIN) && asked("scope").contains("openid"),
        "{:?}",
        away.asked
    );
    assert!(!away.asked.contains_key("prompt"));
    let mut claims = world.claims(&away, "ann@acme.example");
    claims["email"] = json!("Ann@Acme.example");
    let back = world.back(&ann, &away, &claims).await;
    assert_eq!((back.status, back.location()), (303, world.ask(&[])), "{back:?}");
    assert!(told(&ann.follow(&back.location()).await).contains_key("code"));
    let members = world.members().await;
    assert_eq!(
        (members.len(), &members[0]["email"], &members[0]["admin_role"]),
        (1, &json!("ann@acme.example"), &json!("user"))
    );
    let member = text(&members[0], "id");
    let records = world.acme.audit("method=sign_in&decision=allowed").await;
    assert_eq!(text(&records[0], "actor"), member);
    assert!(text(&records[0], "target").contains(&world.id()), "{records:?}");

    // What it was asked: by the client, with the verifier of this sign-in.
    let sent = world.web.heads("/token").pop().unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let basic = head.lines().find_map(|line| line.strip_prefix("authorization: Basic ")).unwrap();
    let basic = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(basic).unwrap()).unwrap();
    assert_eq!(basic, "portcullis-at-acme:pa%3Ass%2Fword%2Bof%25the%3Dclient");
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let made = URL_SAFE_NO_PAD.encode(crypto::digest::sha256(form["code_verifier"].as_bytes()));
    assert_eq!((form["code"].as_str(), &made), ("the code", &away.asked["code_challenge"]));

    // The second time they are the same, whatever their address is by now; the session has no password behind it.
    let again = world.person("ann@acme.example");
    let same = world.sign_in(&again, |claims| claims["email"] = json!("new.name@acme.example")).await;
    assert_eq!(same.status, 303, "{same:?}");
    assert_eq!(world.members().await.len(), 1, "who they are says `sub`");
    assert!(again.get("/account").await.page.contains("ann@acme.example"));
    assert_eq!(
        world.person("ann@acme.example").sign_in("/account").await.status,
        401,
        "there is no password"
    );
    // The secret is nowhere.
    let mut conn = PgConnection::connect(&world.gateway.database_url).await.unwrap();
    let row: String =
        sqlx::query_scalar("SELECT p::text FROM sign_in_providers p").fetch_one(&mut conn).await.unwrap();
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!row.contains(SECRET) && !row.contains(&hex), "{row}");
    let shown =
        world.acme.admin.get(&format!("{}/sign-in-providers/{}", world.acme.base, world.id())).await.unwrap();
    assert!(
        !shown.to_string().contains("client_secret\":") && shown.to_string().contains("fingerprint"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_is_of_this_provider_client_browser_and_moment() {
    let world = World::new(json!({"creates_members": true})).await;
    let ann = world.person("ann@acme.example");
    let now = SystemClock.now().secs();
    for (why, name, value) in [
        ("another issuer", "iss", json!("https://elsewhere.example")),
        ("another client", "aud", json!("another")),
        ("several", "aud", json!(["portcullis-at-acme", "another"])),
        ("for another's use", "azp", json!("another")),
        ("another sign-in", "nonce", json!("A".repeat(43))),
        ("no nonce", "nonce", Value::Null),
        ("ended", "exp", json!(now - 31)),
        ("no end", "exp", Value::Null),
        ("from the future", "iat", json!(now + 120)),
        ("old", "iat", json!(now - 600)),
        ("not yet", "nbf", json!(now + 120)),
        ("signed in in the future", "auth_time", json!(now + 120)),
        ("an address that nobody has verified", "email_verified", json!(false)),
        ("one of which it is not said", "email_verified", Value::Null),
        ("said as a text", "email_verified", json!("true")),
        ("another domain", "email", json!("ann@elsewhere.example")),
        ("a domain below", "email", json!("ann@sub.acme.example")),
        ("a domain that ends so", "email", json!("ann@notacme.example")),
        ("no address", "email", json!("ann")),
        ("no `sub`", "sub", Value::Null),
        ("an empty one", "sub", json!("")),
        ("a long one", "sub", json!("s".repeat(256))),
    ] {
        let back = world.sign_in(&ann, |claims| match &value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        });
        let back = back.await;
        assert!(refused(&back), "{why}: {back:?}");
    }
    // Signed by somebody else, in another way, or not at all.
    let away = world.set_out(&ann, &world.ask(&[])).await;
    let claims = world.claims(&away, &ann.email);
    let other = generate(Algorithm::Rs256, &SystemEntropy).unwrap().0;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{}.", part(json!({"alg": "none"})), part(claims.clone()));
    let hs = format!("{}.{}.AAAA", part(json!({"alg": "HS256", "kid": "one"})), part(claims.clone()));
    let jwk =
        format!("{}.{}.AAAA", part(json!({"alg": "RS256", "kid": "one", "jwk": {}})), part(claims.clone()));
    for (why, token) in [
        ("another key", other.sign("one", "JWT", &claims).unwrap()),
        ("a key that is not there", world.key.sign("two", "JWT", &claims).unwrap()),
        ("an access token", world.key.sign("one", "at+jwt", &claims).unwrap()),
        ("no signature", none),
        ("a shared secret", hs),
        ("its own key", jwk),
        ("nothing", String::new()),
        ("too long", "x".repeat(9_000)),
    ] {
        let back = world.back_with(&ann, &away, &token, &[]).await;
        assert!(refused(&back), "{why}: {back:?}");
    }
    assert!(world.members().await.is_empty());
    let good = world.back(&ann, &away, &claims).await;
    assert_eq!(good.status, 303, "{good:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_for_the_browser_that_set_out_and_of_the_provider_that_was_asked() {
    let world = World::new(json!({"creates_members": true})).await;
    let ann = world.person("ann@acme.example");
    let away = world.set_out(&ann, &world.ask(&[])).await;
    let token = world.key.sign("one", "JWT", &world.claims(&away, &ann.email)).unwrap();
    let state = away.asked["state"].clone();
    let other = URL_SAFE_NO_PAD.encode("https://elsewhere.example/");
    let (mac, _) = state.split_once('.').unwrap();
    for (why, query) in [
        ("no state", ("state", "")),
        ("another state", ("state", "A.B")),
        ("another place", ("state", &format!("{mac}.{other}"))),
    ] {
        let back = world.back_with(&ann, &away, &token, &[query]).await;
        assert_eq!((back.status, back.code().as_str()), (403, "form_refused"), "{why}");
    }
    // A browser that did not set out, and one that set out for something else.
    let victim = world.person("victim@acme.example");
    assert_eq!(world.back_with(&victim, &away, &token, &[]).await.code(), "form_refused");
    world.set_out(&victim, &world.ask(&[])).await;
    assert_eq!(world.back_with(&victim, &away, &token, &[]).await.code(), "form_refused");
    for query in [("iss", "https://elsewhere.example"), ("error", "access_denied"), ("code", "")] {
        let back = world.back_with(&ann, &away, &token, &[query]).await;
        assert!(refused(&back), "{query:?}: {back:?}");
    }
    // The provider does not take the code, or answers something else.
    for page in [
        Page { status: 400, ..Page::json("{}") },
        Page::json("{}"),
        Page::json("x"),
        Page::json("x").with("content-type", "text/html"),
    ] {
        world.web.set("/token", page);
        let query = format!("code=c&state={state}");
        let back = ann.get(&format!("/t/acme/sign-in/{}/callback?{query}", world.id())).await;
        assert!(refused(&back), "{back:?}");
    }
    assert!(world.members().await.is_empty() && ann.cookie("portcullis").is_none());
    // Nobody is sent anywhere else than to pages of the tenant's issuer, or by another site.
    let link = |to: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
        format!("/t/acme/sign-in/{}?{query}", world.id())
    };
    for to in [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/t/other/authorize?x",
        "/t/acme/authorize/../x",
        "/\\x",
    ] {
        let sent = ann.get(&link(to)).await;
        let state: url::Url = sent.location().parse().unwrap();
        let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let place = URL_SAFE_NO_PAD.decode(state.split_once('.').unwrap().1).unwrap();
        assert_eq!(place, b"/account", "{to}");
    }
    let url = format!("{}{}", world.gateway.auth_url, link("/account"));
    let crossed = ann.send(ann.http().get(url).header("sec-fetch-site", "cross-site")).await;
    assert_eq!(crossed.code(), "form_refused");
    assert_eq!(ann.get("/t/acme/sign-in/sip_nothing").await.code(), "form_refused");

    // What the provider says of itself has to be of it.
    let away = world.set_out(&ann, &world.ask(&[])).await;
    assert_eq!(world.back(&ann, &away, &world.claims(&away, &ann.email)).await.status, 303);
}
