//! R50: people sign in with a password at the authorization servers' origin (OWASP ASVS 5, sessions and authentication): no page is
//! framed, scripted, kept or forged; nobody learns who has an account; guessing is slow and keeps nobody out.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{
    Gateway, Machine, Person, Tenant, eventually,
    machine::FormBody as _,
    person::{ORIGIN, PASSWORD, Shown},
    text,
};
use sqlx::{Connection as _, PgConnection};

const COOKIE: &str = "portcullis";

async fn acme() -> (Gateway, Tenant, Person) {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join(&gateway, &tenant, "ann@example.com").await;
    (gateway, tenant, ann)
}

fn is_signed_in(account: &Shown) -> bool {
    account.status == 200 && account.page.contains("Signed in as")
}

async fn sql(gateway: &Gateway, statement: &'static str) {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_in_no_frame_runs_no_script_and_is_kept_by_nobody() {
    let (gateway, _tenant, ann) = acme().await;
    for page in [ann.get("/account").await, Person::new(&gateway, "x").get("/account").await] {
        let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self';", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{part}: {policy}");
        }
        assert!(!policy.contains("script") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert!(!page.page.contains("<script") && !page.page.contains("http"), "{}", page.page);
    }
    let fresh = Person::new(&gateway, "ann@example.com");
    let cookies = fresh.sign_in("/account").await.headers;
    let session = cookies.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let session = session.filter(|value| value.starts_with("portcullis=")).collect::<Vec<_>>();
    assert!(session.len() == 1 && session[0].contains("; HttpOnly; SameSite=Lax"), "{session:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_new_value_for_whoever_signs_in_and_ends_at_the_server() {
    let (gateway, tenant, ann) = acme().await;
    let first = ann.cookie(COOKIE).unwrap();
    // A value that somebody else has put there does not become a session.
    let other = Person::new(&gateway, "ann@example.com");
    let planted = "A".repeat(43);
    other.set_cookie(COOKIE, Some(&planted));
    assert_eq!(other.sign_in("/account").await.status, 303);
    assert_ne!(other.cookie(COOKIE).unwrap(), planted);
    assert!(is_signed_in(&other.get("/account").await));

    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT s::text FROM sessions s").fetch_all(&mut conn).await.unwrap();
    assert_eq!(rows.len(), 2);
    let raw = URL_SAFE_NO_PAD.decode(&first).unwrap();
    let in_hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        rows.iter().all(|row| !row.contains(&in_hex)),
        "what the browser has is not what is stored: {rows:?}"
    );

    let second = other.cookie(COOKIE).unwrap();
    let page = other.get("/account").await;
    assert_eq!(other.submit("/account", &page, &[("act", "sign_out")]).await.status, 303);
    assert_eq!(other.cookie(COOKIE), None);
    other.set_cookie(COOKIE, Some(&second));
    assert!(!is_signed_in(&other.get("/account").await), "the server has forgotten it");
    assert!(is_signed_in(&ann.get("/account").await), "the other browser's goes on");

    other.set_cookie(COOKIE, None);
    other.sign_in("/account").await;
    let page = ann.get("/account").await;
    ann.submit("/account", &page, &[("act", "sign_out_everywhere")]).await;
    assert!(!is_signed_in(&other.get("/account").await));
    ann.set_cookie(COOKIE, Some(&first));
    assert!(!is_signed_in(&ann.get("/account").await));
    for (method, least) in [("sign_in", 2), ("sign_out", 1), ("sign_out_everywhere", 1)] {
        eventually("it is recorded", async || {
            tenant.audit(&format!("method={method}&decision=allowed")).await.len() >= least
        })
        .await;
    }
    let record = &tenant.audit("method=sign_in").await[0];
    assert_eq!(text(record, "actor"), ann.member);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_nothing_is_asked_and_after_half_a_day_in_any_case() {
    let (gateway, _tenant, ann) = acme().await;
    sql(&gateway, "UPDATE sessions SET seen_at = seen_at - interval '59 minutes'").await;
    assert!(is_signed_in(&ann.get("/account").await));
    sql(&gateway, "UPDATE sessions SET seen_at = seen_at - interval '59 minutes'").await;
    assert!(is_signed_in(&ann.get("/account").await), "it was asked something meanwhile");
    sql(&gateway, "UPDATE sessions SET seen_at = seen_at - interval '61 minutes'").await;
    assert!(!is_signed_in(&ann.get("/account").await));
    ann.set_cookie(COOKIE, None);
    ann.sign_in("/account").await;
    assert!(is_signed_in(&ann.get("/account").await));
    sql(&gateway, "UPDATE sessions SET signed_in_at = signed_in_at - interval '12 hours'").await;
    assert!(!is_signed_in(&ann.get("/account").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_another_site_browser_or_page_does_nothing() {
    let (gateway, _tenant, ann) = acme().await;
    let page = ann.get("/account").await;
    let token = page.field("form");
    let form = [("form", token.as_str()), ("act", "sign_out_everywhere")];
    let ask = || ann.request("/account").form(&form);
    for (why, request) in [
        ("another site", ask().header("origin", "https://elsewhere.example")),
        ("a sandboxed frame", ask().header("origin", "null")),
        (
            "another site, without its name",
            ask().header("origin", "null").header("sec-fetch-site", "cross-site"),
        ),
        ("a sibling", ask().header("origin", ORIGIN).header("sec-fetch-site", "same-site")),
        ("another port", ask().header("origin", "http://127.0.0.1:3")),
        ("nothing said", ask()),
        ("two origins", ask().header("origin", ORIGIN).header("origin", "https://elsewhere.example")),
    ] {
        let refused = ann.send(request).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "form_refused"), "{why}");
    }
    let other = Person::new(&gateway, "ann@example.com");
    other.sign_in("/account").await;
    let theirs = other.get("/account").await.field("form");
    for (why, token) in [("none", ""), ("another session's", &theirs), ("damaged", &token[1..])] {
        let refused = ann.post("/account", &[("form", token), ("act", "sign_out_everywhere")]).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "form_refused"), "{why}");
    }
    assert!(is_signed_in(&ann.get("/account").await) && is_signed_in(&other.get("/account").await));
    // A browser that names no origin because the page has no referrer says that it is the same site.
    let good = ask().header("origin", "null").header("sec-fetch-site", "same-origin");
    assert_eq!(ann.send(good).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_signed_in_by_somebody_elses_form() {
    let (gateway, _tenant, _ann) = acme().await;
    let mallory = Person::new(&gateway, "ann@example.com");
    let token = mallory.get("/account").await.field("form");
    let victim = Person::new(&gateway, "victim@example.com");
    let typed = [&[("form", &*token)], &mallory.typed()[..]].concat();
    assert_eq!(victim.post("/account", &typed).await.code(), "form_refused", "a browser that saw no page");
    victim.get("/account").await;
    assert_eq!(victim.post("/account", &typed).await.code(), "form_refused", "and one that saw another");
    assert_eq!(victim.cookie(COOKIE), None);
    assert_eq!(mallory.post("/account", &typed).await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_no_account_shows_neither_in_the_answer_nor_in_its_time() {
    let (gateway, tenant, _ann) = acme().await;
    let mut fastest = Vec::new();
    let mut answers = Vec::new();
    for email in ["ann@example.com", "nobody@example.com"] {
        let mut person = Person::new(&gateway, email);
        person.password = "not the password".to_owned();
        let page = person.get("/account").await;
        let typed = person.typed();
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            let refused = person.submit("/account", &page, &typed).await;
            best = best.min(started.elapsed());
            assert_eq!((refused.status, refused.code().as_str()), (401, "sign_in_refused"));
            answers.push(refused.page.replace(email, "").replace(&refused.field("form"), ""));
        }
        fastest.push(best.as_secs_f64());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let ratio = fastest[1] / fastest[0];
    assert!((0.5..2.0).contains(&ratio), "{fastest:?}");
    eventually("refusals are recorded", async || {
        tenant.audit("method=sign_in&decision=refused&code=sign_in_refused").await.len() == 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guessing_is_slow_and_keeps_the_owner_of_an_account_not_out() {
    let (gateway, _tenant, _ann) = acme().await;
    for n in 2..6 {
        let mut guesser = Person::from(&gateway, "ann@example.com", [127, 0, 0, n]);
        let page = guesser.get("/account").await;
        guesser.password = "a wrong password".to_owned();
        let typed = guesser.typed();
        // All at once: it is no way to more of them.
        let tried =
            futures_util::future::join_all((0..30).map(|_| guesser.submit("/account", &page, &typed))).await;
        let refused = tried.iter().filter(|shown| shown.status == 401).count();
        assert!((1..=10).contains(&refused), "{refused} guesses from one address");
        let limited = tried.iter().find(|shown| shown.status == 429).unwrap();
        assert_eq!(limited.code(), "sign_in_limited");
        assert!(limited.headers.contains_key("retry-after"));
        guesser.password = PASSWORD.to_owned();
        assert_eq!(guesser.sign_in("/account").await.status, 429, "the right one is not told apart");
    }
    // By now it has been tried from everywhere.
    let owner = Person::from(&gateway, "ann@example.com", [127, 0, 0, 9]);
    assert_eq!(owner.sign_in("/account").await.status, 303, "its owner, from elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_passwords_holds_up_neither_machines_nor_the_api() {
    let (gateway, tenant, _ann) = acme().await;
    let endpoint =
        text(&tenant.post("/endpoints", serde_json::json!({"slug": "tools", "name": "n"})).await, "id");
    let machine = Machine::new(&gateway, &tenant, "machine", &[&endpoint]).await;
    let flood = futures_util::future::join_all((10..40).map(async |n| {
        let mut person = Person::from(&gateway, &format!("p{n}@example.com"), [127, 0, 1, n]);
        person.password = "some password".to_owned();
        let page = person.get("/account").await;
        let typed = person.typed();
        let asked = (0..4).map(async |_| person.submit("/account", &page, &typed).await.status);
        futures_util::future::join_all(asked).await
    }));
    let meanwhile = async {
        let started = Instant::now();
        for _ in 0..5 {
            machine.token().await;
            tenant.admin.get(&tenant.base).await.unwrap();
        }
        started.elapsed()
    };
    let (statuses, took) = futures_util::future::join(flood, meanwhile).await;
    let statuses = statuses.concat();
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(took < Duration::from_secs(10), "machines waited {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_by_who_knows_it_and_ends_every_other_session() {
    let (gateway, tenant, mut ann) = acme().await;
    let other = Person::new(&gateway, "ann@example.com");
    other.sign_in("/account").await;
    let page = ann.get("/account").await;
    let before = ann.cookie(COOKIE);
    for (present, new) in
        [("a wrong password", "an entirely new one"), (PASSWORD, "short"), (PASSWORD, "password1234")]
    {
        let form = [("act", "change_password"), ("password", present), ("new_password", new)];
        assert_eq!(ann.submit("/account", &page, &form).await.status, 422, "{present} {new}");
    }
    assert!(is_signed_in(&other.get("/account").await));
    let form = [("act", "change_password"), ("password", PASSWORD), ("new_password", "an entirely new one")];
    assert_eq!(ann.submit("/account", &page, &form).await.status, 303);
    assert_ne!(ann.cookie(COOKIE), before);
    assert!(is_signed_in(&ann.get("/account").await) && !is_signed_in(&other.get("/account").await));
    assert_eq!(other.sign_in("/account").await.status, 401, "the old one");
    ann.password = "an entirely new one".to_owned();
    ann.set_cookie(COOKIE, None);
    assert_eq!(ann.sign_in("/account").await.status, 303);
    assert_eq!(tenant.audit("method=change_password").await.len(), 1);
}
