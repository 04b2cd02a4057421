//! What the API says of domains.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{JSON, api, delete, get, post, send};

fn id(body: &Value) -> String {
    body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn names_that_are_none_or_the_installations_own_are_refused_in_their_place() {
    let (gateway, tenant) = api().await;
    for name in ["acme", "a.b:80", "127.0.0.1", "*.acme.example", "acme.example.", "", "a_b.example"] {
        let answer = post(&gateway, &tenant, "/domains", json!({"name": name})).await;
        assert_eq!(
            (answer.status, answer.places()),
            (StatusCode::UNPROCESSABLE_ENTITY, vec!["/name"]),
            "{name}"
        );
    }
    let nowhere = json!({"name": "a.example", "endpoint_id": "ep_01hzy3v5d1f4m8q2w6x9c0b7ka"});
    let answer = post(&gateway, &tenant, "/domains", nowhere).await;
    assert_eq!((answer.code(), answer.places()), ("validation_failed", vec!["/endpoint_id"]));
    assert_eq!(get(&gateway, &tenant, "/domains").await.body["items"], json!([]));
    let made = post(&gateway, &tenant, "/domains", json!({"name": "a.example"})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let again = post(&gateway, &tenant, "/domains", json!({"name": "A.example"})).await;
    assert_eq!((again.code(), again.places()), ("conflict", vec!["/name"]));
}

/// Claims nobody has proven count too: they cost as much to keep.
#[tokio::test]
async fn a_tenant_may_claim_a_thousand_domains() {
    let (gateway, tenant) = api().await;
    let database = sqlx::PgPool::connect(&gateway.database_url).await.unwrap();
    sqlx::query(
        "INSERT INTO domains (tenant_id, id, name, token, created_at, updated_at)
         SELECT tenants.id, gen_random_uuid(), 'n' || n || '.example', 'x', now(), now()
         FROM tenants, generate_series(1, 999) AS n",
    )
    .execute(&database)
    .await
    .unwrap();
    let last = post(&gateway, &tenant, "/domains", json!({"name": "a.example"})).await;
    assert_eq!(last.status, StatusCode::CREATED);
    let more = post(&gateway, &tenant, "/domains", json!({"name": "b.example"})).await;
    assert_eq!((more.code(), more.places()), ("validation_failed", vec!["/name"]));
}

#[tokio::test]
async fn a_proof_is_decided_by_what_dns_says_and_not_without_it() {
    let (gateway, tenant) = api().await;
    let other = gateway.tenant("other").await;
    let made = post(&gateway, &tenant, "/domains", json!({"name": "a.example"})).await.body;
    let verify = format!("/domains/{}/verify", id(&made));
    let record = made["record"]["name"].as_str().unwrap();
    let code = async || post(&gateway, &tenant, &verify, Value::Null).await.code().to_owned();
    assert_eq!(code().await, "domain_unproven", "there is no such name");
    gateway.dns.set_texts(record, &[]);
    let failed = post(&gateway, &tenant, &verify, Value::Null).await;
    assert_eq!((failed.status, failed.code()), (StatusCode::SERVICE_UNAVAILABLE, "dns_unavailable"));
    gateway.dns.set_texts(record, &["portcullis-domain=something-else"]);
    assert_eq!(code().await, "domain_unproven");
    gateway.dns.set_texts(record, &["other", made["record"]["value"].as_str().unwrap()]);
    let proven = post(&gateway, &tenant, &verify, Value::Null).await;
    assert_eq!((proven.status, proven.body["state"].as_str()), (StatusCode::OK, Some("proven")));
    assert!(proven.body["proven_at"].is_string());
    // The record may go; the domain stays.
    gateway.dns.remove(record);
    assert_eq!(get(&gateway, &tenant, &format!("/domains/{}", id(&made))).await.body, proven.body);
    let again = post(&gateway, &tenant, &verify, Value::Null).await;
    assert_eq!((again.status, again.body), (StatusCode::OK, proven.body));

    let claim = post(&gateway, &other, "/domains", json!({"name": "a.example"})).await.body;
    gateway.dns.set_texts(record, &[claim["record"]["value"].as_str().unwrap()]);
    let verify = format!("/domains/{}/verify", id(&claim));
    let taken = post(&gateway, &other, &verify, Value::Null).await;
    assert_eq!((taken.status, taken.code()), (StatusCode::CONFLICT, "domain_taken"));
    let gone = delete(&gateway, &tenant, &format!("/domains/{}", id(&made)), "*").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(post(&gateway, &other, &verify, Value::Null).await.status, StatusCode::OK);
}

fn pem(names: &[&str], years: std::ops::Range<i32>) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let signed = params.self_signed(&key).unwrap();
    (signed.pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_that_callers_would_not_accept_is_refused_in_its_place() {
    let (gateway, tenant) = api().await;
    let made = post(&gateway, &tenant, "/domains", json!({"name": "mcp.acme.example"})).await.body;
    let path = format!("{}/domains/{}/certificate", tenant.base, id(&made));
    let put = async |chain: &str, key: &str| {
        let body = json!({"chain": chain, "key": key}).to_string();
        send(&gateway, Some(&tenant.admin_token), Method::PUT, &path, &[JSON], body).await
    };
    let (good, key) = pem(&["mcp.acme.example"], 2020..2090);
    let (_, other) = pem(&["mcp.acme.example"], 2020..2090);
    for (names, years) in [
        (vec!["other.example"], 2020..2090),
        (vec!["acme.example", "*.mcp.acme.example"], 2020..2090),
        (vec!["*.example"], 2020..2090),
        (vec!["mcp.acme.example"], 2020..2021),
        (vec!["mcp.acme.example"], 2080..2090),
        (vec![], 2020..2090),
    ] {
        let (chain, key) = pem(&names, years.clone());
        let answer = put(&chain, &key).await;
        let refused = ("validation_failed", vec!["/chain"]);
        assert_eq!((answer.code(), answer.places()), refused, "{names:?} {years:?}");
    }
    // Quick to sign with, and short enough to be sent to everybody who asks.
    let slow = (
        include_str!("../../shared/listen/testdata/slow_rsa.pem"),
        include_str!("../../shared/listen/testdata/slow_rsa.key"),
    );
    let many: Vec<_> = (0..200).map(|n| format!("name-{n}.acme.example")).collect();
    let (long, _) = pem(&many.iter().map(String::as_str).collect::<Vec<_>>(), 2020..2090);
    for (chain, key, place) in [
        (slow.0, slow.1, "/key"),
        (&*format!("{good}{}", long.repeat(9)), &*key, "/chain"),
        (&*good, &*other, "/key"),
        (&*good, "", "/key"),
        (&*good, &*good, "/key"),
        ("", &*key, "/chain"),
        (&*key, &*key, "/chain"),
        (&*good.repeat(11), &*key, "/chain"),
    ] {
        let answer = put(chain, key).await;
        assert_eq!((answer.code(), answer.places()), ("validation_failed", vec![place]));
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("BEGIN"), "nothing of it is said back");
    }
    let (wild, key) = pem(&["*.acme.example"], 2020..2090);
    let answer = put(&wild, &key).await;
    assert_eq!(
        (answer.status, answer.body["certificate"]["names"][0].as_str()),
        (StatusCode::OK, Some("*.acme.example"))
    );
    assert_eq!(answer.body["certificate"]["not_after"], "2090-01-01T00:00:00Z");
    assert_eq!(get(&gateway, &tenant, &format!("/domains/{}", id(&made))).await.body, answer.body);
}
