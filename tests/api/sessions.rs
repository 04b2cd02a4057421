//! Members who come in by a cookie: what a browser sends by itself is not enough for a write, and a session that was left open is not
//! enough for what is dangerous.

use harness::{Gateway, Person, admin::API_ORIGIN, text};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_by_cookie_comes_from_a_page_of_the_apis_origin() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", "owner").await;
    let admin = ann.administer(&gateway, "acme").await;
    let bob = Person::join_as(&gateway, &tenant, "bob@example.com", "owner").await;
    let theirs = bob.administer(&gateway, "acme").await.csrf;
    let path = format!("{}/roles", tenant.base);
    let csrf = ("portcullis-csrf", admin.csrf.as_str());
    let json = ("content-type", "application/json");
    let origin = ("origin", API_ORIGIN);
    for (why, headers) in [
        ("nothing said", vec![json]),
        ("no origin", vec![json, csrf]),
        ("no token", vec![json, origin]),
        ("an empty one", vec![json, origin, ("portcullis-csrf", "")]),
        ("another session's", vec![json, origin, ("portcullis-csrf", &theirs)]),
        ("two", vec![json, origin, csrf, csrf]),
        ("another site", vec![json, csrf, ("origin", "https://elsewhere.example")]),
        ("the issuers' origin", vec![json, csrf, ("origin", harness::person::ORIGIN)]),
        ("a sandboxed frame", vec![json, csrf, ("origin", "null")]),
        ("a sibling", vec![json, csrf, origin, ("sec-fetch-site", "same-site")]),
    ] {
        let (status, problem) = admin.bare(Method::POST, &path, &headers, &json!({"name": "r"})).await;
        assert_eq!((status, &problem["code"]), (403, &json!("cross_site_refused")), "{why}: {problem}");
    }
    for site in ["cross-site", "same-site"] {
        let (status, problem) =
            admin.bare(Method::GET, &path, &[("sec-fetch-site", site)], &Value::Null).await;
        assert_eq!((status, &problem["code"]), (403, &json!("cross_site_refused")), "{site}: {problem}");
    }
    let (status, _) = admin.bare(Method::POST, "/session/sign-out", &[origin], &Value::Null).await;
    assert_eq!(status, 403, "signing out is a write too");
    assert_eq!(tenant.admin.get(&path).await.unwrap()["items"], json!([]));
    let good = admin.bare(Method::POST, &path, &[json, csrf, origin], &json!({"name": "r"})).await;
    assert_eq!(good.0, 201, "{}", good.1);

    // What shows a token is asked for that alone.
    let (status, problem) =
        admin.bare(Method::GET, &path, &[("authorization", "Bearer x")], &Value::Null).await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    let (_, session) = admin.get("/v1/session").await;
    let token = tenant.admin.get("/v1/session").await.unwrap();
    assert_eq!((&token["scopes"], &token["member"]), (&json!(["*"]), &Value::Null));
    assert_eq!(
        (text(&session["tenant"], "id"), text(&token["tenant"], "id")),
        (tenant.id.clone(), tenant.id.clone())
    );
    assert_eq!(gateway.operator.get("/v1/session").await.unwrap()["tenant"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dangerous_is_done_by_somebody_who_has_just_signed_in() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", "owner").await;
    let bob = Person::join_as(&gateway, &tenant, "bob@example.com", "admin").await;
    let cy = Person::join(&gateway, &tenant, "cy@example.com").await;
    let base = &tenant.base;
    let token = tenant.post("/admin-tokens", json!({"name": "n", "scopes": ["keys:read"]})).await;
    let admin = ann.administer(&gateway, "acme").await;
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let later = "UPDATE sessions SET signed_in_at = signed_in_at - interval '10 minutes'";
    sqlx::raw_sql(later).execute(&mut conn).await.unwrap();
    let member = |person: &Person| format!("{base}/members/{}", person.member);
    let dangerous = [
        (
            Method::POST,
            format!("{base}/invitations"),
            json!({"email": "n@example.com", "admin_role": "owner"}),
        ),
        (
            Method::POST,
            format!("{base}/invitations"),
            json!({"email": "n@example.com", "admin_role": "admin"}),
        ),
        (Method::PATCH, member(&cy), json!({"admin_role": "admin"})),
        (
            Method::POST,
            format!("{base}/invitations"),
            json!({"email": "n@example.com", "admin_role": "security"}),
        ),
        (Method::PATCH, member(&cy), json!({"admin_role": "developer"})),
        (
            Method::POST,
            format!("{base}/kills"),
            json!({"level": "principal", "target": bob.member, "reason": "r", "drill": true}),
        ),
        (Method::PATCH, member(&bob), json!({"admin_role": "user"})),
        (Method::PATCH, member(&bob), json!({"enabled": false})),
        (Method::DELETE, member(&cy), Value::Null),
        (Method::POST, format!("{base}/kills"), json!({"level": "tenant", "reason": "r", "drill": true})),
        (Method::POST, format!("{base}/signing-keys"), json!({})),
        (Method::POST, format!("{base}/admin-tokens"), json!({"name": "m", "scopes": ["keys:read"]})),
        (Method::DELETE, format!("{base}/admin-tokens/{}", text(&token, "id")), Value::Null),
    ];
    for (method, path, body) in &dangerous {
        let (status, problem) = admin.write(method.clone(), path, body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (403, &json!("sign_in_too_old")),
            "{method} {path}: {problem}"
        );
    }
    // Everything else goes on.
    assert_eq!(admin.post(&format!("{base}/roles"), json!({"name": "r"})).await.0, 201);
    let user = json!({"email": "user@example.com", "admin_role": "user"});
    assert_eq!(admin.post(&format!("{base}/invitations"), user).await.0, 201);

    // Going round without signing in anew is no way to it.
    let admin = ann.administer(&gateway, "acme").await;
    let (method, path, body) = &dangerous[0];
    assert_eq!(admin.write(method.clone(), path, body.clone()).await.0, 403);
    let admin = ann.administer_by(&gateway, "tenant=acme&prompt=login").await;
    for (method, path, body) in &dangerous {
        let (status, answer) = admin.write(method.clone(), path, body.clone()).await;
        let twice = answer["code"] == "conflict";
        assert!((200..300).contains(&status) || twice, "{method} {path}: {status} {answer}");
    }
}
