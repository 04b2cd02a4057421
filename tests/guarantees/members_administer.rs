//! R65, R70, R8: members administer by themselves, with what their role allows and no admin token: they come to the API's origin by a code of
//! their tenant's issuer, and are out of it as soon as they may no longer be there.

use harness::{
    Gateway, Person, Tenant,
    admin::{API_ORIGIN, Admin},
    person::{ORIGIN, invite},
    text,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

async fn acme(role: &str) -> (Gateway, Tenant, Person) {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", role).await;
    (gateway, tenant, ann)
}

async fn sql(gateway: &Gateway, statement: &'static str) {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
}

async fn is_in(admin: &Admin<'_>) -> bool {
    match admin.get("/v1/session").await {
        (200, _) => true,
        (401, problem) => {
            assert_eq!(problem["code"], "unauthenticated");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_may_what_their_role_allows_and_the_log_names_them() {
    let (gateway, tenant, _) = acme("owner").await;
    gateway.tenant("other").await;
    let base = tenant.base.clone();
    // What each may write, of these; and whether it may read the log.
    let writes = [
        ("/roles", json!({"name": "r"})),
        ("/clients", json!({"name": "c"})),
        ("/invitations", json!({"email": "new@example.com", "admin_role": "user"})),
        ("/signing-keys", json!({})),
    ];
    for (role, may, reads_log) in [
        ("owner", [true, true, true, true], true),
        ("admin", [true, true, true, false], true),
        ("security", [true, false, false, false], true),
        ("developer", [false, true, false, false], false),
        ("auditor", [false; 4], true),
        ("read_only", [false; 4], false),
    ] {
        let email = format!("{role}@example.com");
        let person = Person::join_as(&gateway, &tenant, &email, role).await;
        let admin = person.administer(&gateway, "acme").await;
        let (_, session) = admin.get("/v1/session").await;
        assert_eq!(
            (text(&session, "actor"), text(&session["tenant"], "slug")),
            (person.member.clone(), "acme".into())
        );
        assert_eq!(
            (&session["member"]["admin_role"], &session["member"]["email"]),
            (&json!(role), &json!(email))
        );
        for ((path, body), may) in writes.iter().zip(may) {
            let named = body.get("name").is_some();
            let body = if named { json!({"name": format!("of {role}")}) } else { body.clone() };
            let (status, answer) = admin.post(&format!("{base}{path}"), body).await;
            assert_eq!(status, if may { 201 } else { 403 }, "{role} {path}: {answer}");
        }
        assert_eq!(admin.get(&base).await.0, 200, "{role}");
        assert_eq!(
            admin.get(&format!("{base}/audit-records")).await.0,
            if reads_log { 200 } else { 403 },
            "{role}"
        );
        for foreign in ["/v1/tenants/other", "/v1/tenants/nothing"] {
            assert_eq!(admin.get(foreign).await.0, 404, "{role} {foreign}");
        }
        assert_eq!(admin.get("/v1/tenants").await.0, 403, "{role} is no operator");
        for (method, least) in
            [("create_role", may[0]), ("create_client", may[1]), ("begin_admin_session", true)]
        {
            let records = tenant.audit(&format!("method={method}&decision=allowed&limit=200")).await;
            let theirs = records.iter().filter(|record| record["actor"] == person.member.as_str()).count();
            assert_eq!(theirs, usize::from(least), "{role} {method}");
        }
        // Invited by who will be removed at the end of this round.
        let gone = format!("{base}/members/{}", person.member);
        tenant.admin.delete(&gone).await.unwrap();
        assert!(!is_in(&admin).await, "removed");
        let left = tenant.admin.get(&format!("{base}/invitations")).await.unwrap();
        assert_eq!(left["items"], json!([]), "an invitation of theirs is over");
    }
    // Who may nothing does not come in.
    let user = Person::join(&gateway, &tenant, "user@example.com").await;
    assert_eq!(user.set_out(&gateway, "tenant=acme").await.unwrap_err().status, 403);
    let stranger = user.set_out(&gateway, "tenant=other").await.unwrap_err();
    assert_eq!(stranger.status, 403, "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_what_it_came_of_and_with_what_the_member_is() {
    let (gateway, tenant, _) = acme("owner").await;
    let ann = Person::join_as(&gateway, &tenant, "cy@example.com", "owner").await;
    let member = format!("{}/members/{}", tenant.base, ann.member);
    let account = async |act: &str| {
        let page = ann.get("/account").await;
        assert_eq!(ann.submit("/account", &page, &[("act", act)]).await.status, 303);
    };
    let patch = async |change: Value| drop(tenant.admin.patch(&member, change).await.unwrap());
    for end in ["sign_out", "sign_out_everywhere", "api", "lowered", "switched_off", "killed", "idle", "old"]
    {
        let admin = ann.administer(&gateway, "acme").await;
        assert!(is_in(&admin).await);
        match end {
            "api" => assert_eq!(admin.post("/session/sign-out", Value::Null).await.0, 204),
            "lowered" => {
                patch(json!({"admin_role": "admin"})).await;
                assert!(!is_in(&admin).await, "at once");
                patch(json!({"admin_role": "owner"})).await;
            }
            "switched_off" => {
                patch(json!({"enabled": false})).await;
                assert!(!is_in(&admin).await, "at once");
                patch(json!({"enabled": true})).await;
            }
            "killed" => {
                let order = json!({"level": "principal", "target": ann.member, "reason": "r"});
                let kill = tenant.post("/kills", order).await;
                assert!(!is_in(&admin).await, "at once");
                let lift = json!({"reason": "r", "epoch": kill["epoch"]});
                tenant.post(&format!("/kills/{}/lift", text(&kill, "id")), lift).await;
            }
            "idle" => sql(&gateway, "UPDATE sessions SET seen_at = seen_at - interval '61 minutes'").await,
            "old" => {
                sql(&gateway, "UPDATE sessions SET signed_in_at = signed_in_at - interval '12 hours'").await
            }
            act => account(act).await,
        }
        assert!(!is_in(&admin).await, "{end}");
    }
    // While somebody works here, the session that it came of goes on.
    let admin = ann.administer(&gateway, "acme").await;
    for _ in 0..2 {
        sql(&gateway, "UPDATE sessions SET seen_at = seen_at - interval '40 minutes'").await;
        assert!(is_in(&admin).await);
    }
    assert!(ann.get("/account").await.page.contains("Signed in as"));
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT a::text FROM admin_sessions a").fetch_all(&mut conn).await.unwrap();
    let cookie = ann.cookie("portcullis-admin").unwrap();
    assert!(rows.iter().all(|row| !row.contains(&cookie)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_once_and_in_the_browser_that_set_out_for_it() {
    let (gateway, _tenant, ann) = acme("owner").await;
    let back = ann.set_out(&gateway, "tenant=acme").await.unwrap();
    // Another browser, one that set out itself, and another state.
    let other = Person::new(&gateway, "ann@example.com");
    assert_eq!(other.open(&gateway, &back).await.code(), "form_refused");
    other.open(&gateway, "/session/sign-in?tenant=acme").await;
    assert_eq!(other.open(&gateway, &back).await.code(), "form_refused");
    let with = |name: &str, value: &str| {
        let url = url::Url::parse(&format!("{API_ORIGIN}{back}")).unwrap();
        let pairs = url.query_pairs().map(|(own, old)| {
            let new = if own == name { value.to_owned() } else { old.into_owned() };
            (own.into_owned(), new)
        });
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("/session/callback?{query}")
    };
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    for wrong in [
        with("state", "A"),
        with("iss", &format!("{ORIGIN}/t/other")),
        with("iss", "https://elsewhere.example/t/acme"),
        with("code", "pcc_nothing"),
        format!("{back}&state=again"),
    ] {
        assert_eq!(ann.open(&gateway, &wrong).await.code(), "form_refused", "{wrong}");
    }
    assert_eq!(ann.open(&gateway, &back).await.status, 200);
    let start = ann.cookie("portcullis-start");
    assert_eq!(start, None, "it is over");

    // A code that comes twice ends what came of it. The thief has the cookie too, or it would not even be looked at.
    let back = ann.set_out(&gateway, "tenant=acme").await.unwrap();
    let start = ann.cookie("portcullis-start");
    assert_eq!(ann.open(&gateway, &back).await.status, 200);
    assert_eq!(ann.open(&gateway, "/v1/session").await.status, 200);
    ann.set_cookie("portcullis-start", start.as_deref());
    assert_eq!(ann.open(&gateway, &back).await.code(), "form_refused");
    assert_eq!(ann.open(&gateway, "/v1/session").await.status, 401);
    // Too late.
    let back = ann.set_out(&gateway, "tenant=acme").await.unwrap();
    sql(&gateway, "UPDATE admin_sessions SET code_until = code_until - interval '61 seconds'").await;
    assert_eq!(ann.open(&gateway, &back).await.code(), "form_refused");

    // What asks in its name is sent nowhere else.
    let ask = |redirect: &str, challenge: &str| {
        format!(
            "/t/acme/authorize?response_type=code&client_id=portcullis-admin&redirect_uri={redirect}&state={state}\
             &code_challenge={challenge}&code_challenge_method=S256"
        )
    };
    let own = format!("{API_ORIGIN}/session/callback");
    for wrong in [
        ask("https://elsewhere.example/session/callback", harness::app::CHALLENGE),
        ask(&format!("{own}/"), harness::app::CHALLENGE),
        ask(&own, "short"),
        ask(&own, ""),
    ] {
        let refused = ann.get(&wrong).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "authorization_refused"), "{wrong}");
    }
    assert_eq!(ann.get(&ask(&own, harness::app::CHALLENGE)).await.status, 303);
    // Nobody is sent into a tenant by another site.
    for site in ["cross-site", "same-site"] {
        let url = format!("{}/session/sign-in?tenant=acme", gateway.control_url);
        let refused = ann.send(ann.http().get(url).header("sec-fetch-site", site)).await;
        assert_eq!(refused.code(), "form_refused", "{site}");
    }
    let asked = ann.open(&gateway, "/session/sign-in").await;
    assert!(asked.status == 200 && asked.page.contains("name=\"tenant\""), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_two_tenants_goes_from_one_to_the_other() {
    let (gateway, acme, ann) = acme("owner").await;
    let other = gateway.tenant("other").await;
    ann.join_too(&invite(&other, "ann@example.com", "auditor").await).await;
    let first = ann.administer(&gateway, "acme").await;
    let (_, session) = first.get("/v1/session").await;
    let slugs: Vec<_> =
        session["member"]["tenants"].as_array().unwrap().iter().map(|one| text(one, "slug")).collect();
    assert_eq!(slugs, ["acme", "other"]);
    let before = ann.cookie("portcullis-admin").unwrap();
    let second = ann.administer(&gateway, "other").await;
    assert_eq!((second.get(&other.base).await.0, second.get(&acme.base).await.0), (200, 404));
    assert_eq!(
        second.post(&format!("{}/roles", other.base), json!({"name": "r"})).await.0,
        403,
        "an auditor there"
    );
    ann.set_cookie("portcullis-admin", Some(&before));
    assert!(!is_in(&first).await, "one at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_more_or_longer_than_they_have() {
    let (gateway, tenant, owner_of_it) = acme("owner").await;
    let ann = Person::join_as(&gateway, &tenant, "admin@example.com", "admin").await;
    let cy = Person::join(&gateway, &tenant, "cy@example.com").await;
    let admin = ann.administer(&gateway, "acme").await;
    let (invitations, members) = (format!("{}/invitations", tenant.base), format!("{}/members", tenant.base));
    for (role, status) in
        [("owner", 403), ("admin", 201), ("security", 201), ("developer", 201), ("read_only", 201)]
    {
        let new = json!({"email": format!("{role}-2@example.com"), "admin_role": role});
        assert_eq!(admin.post(&invitations, new).await.0, status, "{role}");
    }
    let raise = async |member: &str, role: &str| {
        admin.write(Method::PATCH, &format!("{members}/{member}"), json!({"admin_role": role})).await.0
    };
    assert_eq!((raise(&cy.member, "owner").await, raise(&cy.member, "security").await), (403, 200));
    assert_eq!(raise(&ann.member, "owner").await, 403, "themselves");
    let token = |scopes: Value| json!({"name": "n", "scopes": scopes});
    let tokens = format!("{}/admin-tokens", tenant.base);
    assert_eq!(admin.post(&tokens, token(json!(["*"]))).await.0, 422);
    assert_eq!(admin.post(&tokens, token(json!(["signing_keys:write"]))).await.0, 422);
    assert_eq!(admin.post(&tokens, token(json!(["*:read", "kills:write"]))).await.0, 201);

    // A token that ends makes nobody who does not.
    let soon = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let short = json!({"name": "short", "scopes": ["*"], "not_after": soon});
    let short = tenant.post("/admin-tokens", short).await;
    let rest = tenant.admin.with_token(text(&short, "token").into());
    let owner = json!({"email": "late@example.com", "admin_role": "owner"});
    let refused = rest.post(&invitations, owner).await.unwrap_err().to_string();
    assert!(refused.contains("422"), "{refused}");
    let refused = rest.patch(&format!("{members}/{}", cy.member), json!({"admin_role": "admin"})).await;
    assert!(refused.unwrap_err().to_string().contains("422"));
    rest.post(&invitations, json!({"email": "late@example.com", "admin_role": "user"})).await.unwrap();
    // And what a token has made of invitations ends with it.
    let count = async || {
        let all = tenant.admin.get(&format!("{invitations}?limit=200")).await.unwrap();
        all["items"].as_array().unwrap().iter().filter(|one| one["email"] == "late@example.com").count()
    };
    assert_eq!(count().await, 1);
    // Nobody stops who is more than they are.
    let kill = |member: &Person| json!({"level": "principal", "target": member.member, "reason": "r", "drill": true});
    let kills = format!("{}/kills", tenant.base);
    assert_eq!(admin.post(&kills, kill(&owner_of_it)).await.0, 403, "an owner");
    assert_eq!(admin.post(&kills, kill(&cy)).await.0, 201);
    tenant.admin.delete(&format!("{tokens}/{}", text(&short, "id"))).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_may_ask_how_lately_somebody_signed_in() {
    let (gateway, tenant, ann) = acme("owner").await;
    let endpoint = text(&tenant.post("/endpoints", json!({"slug": "tools", "name": "n"})).await, "id");
    let app = harness::App::public(&gateway, &tenant, "app", &[&endpoint]).await;
    let resource = "http://127.0.0.1:3/acme/tools/mcp";
    ann.authorize(&app, resource, &[]).await;
    sql(&gateway, "UPDATE sessions SET signed_in_at = signed_in_at - interval '2 minutes'").await;
    let asks = async |other: &[(&str, &str)]| {
        ann.get(&app.ask(resource, other)).await.page.contains("name=\"password\"")
    };
    for (other, signs_in) in [
        (&[][..], false),
        (&[("max_age", "3600")], false),
        (&[("max_age", "60")], true),
        (&[("max_age", "0")], true),
        (&[("prompt", "login")], true),
    ] {
        assert_eq!(asks(other).await, signs_in, "{other:?}");
    }
    let told =
        harness::app::told(&ann.get(&app.ask(resource, &[("max_age", "60"), ("prompt", "none")])).await);
    assert_eq!(told["error"], "login_required");
    for wrong in ["-1", "x", "9999999999999"] {
        let told = harness::app::told(&ann.get(&app.ask(resource, &[("max_age", wrong)])).await);
        assert_eq!(told["error"], "invalid_request", "{wrong}");
    }
    // The page is not to be gone round by answering what it does not ask.
    let ask = app.ask(resource, &[("prompt", "login")]);
    let page = ann.get(&ask).await;
    let shown = ann.submit(&ask, &page, &[("act", "allow")]).await;
    assert!(shown.status == 200 && shown.page.contains("name=\"password\""), "{shown:?}");
    // Who has done as asked is through, and the token says when.
    for other in [("max_age", "0"), ("max_age", "60")] {
        sql(&gateway, "UPDATE sessions SET signed_in_at = signed_in_at - interval '2 minutes'").await;
        let told = harness::app::told(&ann.follow(&app.ask(resource, &[other])).await);
        assert!(told.contains_key("code"), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_has_made_ends_when_they_may_less() {
    let (gateway, tenant, _owner) = acme("owner").await;
    let tokens = format!("{}/admin-tokens", tenant.base);
    for change in [Some(json!({"admin_role": "developer"})), Some(json!({"enabled": false})), None] {
        let address = format!("{}@example.com", ids::Uuid::now_v7());
        let ann = Person::join_as(&gateway, &tenant, &address, "admin").await;
        let admin = ann.administer(&gateway, "acme").await;
        let new = json!({"name": "made", "scopes": ["keys:read", "admin_tokens:write"]});
        let (status, made) = admin.post(&tokens, new).await;
        assert_eq!(status, 201, "{made}");
        let own = tenant.admin.with_token(text(&made, "token").into());
        let second = own.post(&tokens, json!({"name": "of it", "scopes": ["keys:read"]})).await.unwrap();
        let second = tenant.admin.with_token(text(&second, "token").into());
        let client = text(&tenant.post("/clients", json!({"name": address})).await, "id");
        let keys = format!("{}/clients/{client}/keys", tenant.base);
        assert!(own.get(&keys).await.is_ok() && second.get(&keys).await.is_ok());

        let member = format!("{}/members/{}", tenant.base, ann.member);
        match &change {
            Some(change) => drop(tenant.admin.patch(&member, change.clone()).await.unwrap()),
            None => drop(tenant.admin.delete(&member).await.unwrap()),
        }
        for token in [&own, &second] {
            let refused = token.get(&keys).await.unwrap_err().to_string();
            assert!(refused.contains("401"), "{change:?}: {refused}");
        }
        // Others' tokens go on.
        tenant.admin.get(&keys).await.unwrap();
    }
}
