//! R2, R19, R28: an API key is accepted from the networks and at the hours that its tenant names, and is told so only where it is good.

use harness::{Caller, Endpoint, Gateway, Tenant, Upstream, text, tool};
use portcullis_cli::rest::RestError;
use serde_json::{Value, json};

const EVERY_DAY: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

async fn restricted(tenant: &Tenant, endpoint: &Endpoint, settings: Value) -> (Caller, String) {
    let path = format!("/clients/{}/keys", endpoint.client);
    let made = tenant.post(&format!("{path}?wait=applied"), settings).await;
    (Caller::new(&endpoint.url, &text(&made, "key")), format!("{path}/{}", text(&made, "id")))
}

/// Status and first place of a refusal.
fn refusal(error: RestError) -> (u16, String) {
    let RestError::Refused { status, problem, .. } = error else { panic!("{error}") };
    (status.as_u16(), problem["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_key_works_from_its_networks_alone_and_its_successor_too() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;

    let (caller, path) =
        restricted(&tenant, &endpoint, json!({"name": "ours", "allow": ["127.0.0.0/8", "2001:db8::/32"]}))
            .await;
    assert_eq!(caller.call("echo").await.status, 200);

    let (stranger, elsewhere) =
        restricted(&tenant, &endpoint, json!({"name": "theirs", "allow": ["203.0.113.7"]})).await;
    let refused = stranger.call("echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "credential_restricted"));
    // A header of the caller's own says nothing about where it is.
    let forged = stranger.clone().with_header("x-forwarded-for", "203.0.113.7").call("echo").await;
    assert_eq!(forged.code(), "credential_restricted");

    let key = format!("{}{elsewhere}?wait=applied", tenant.base);
    let changed = tenant.admin.patch(&key, json!({"allow": ["127.0.0.1/32"], "name": "here"})).await.unwrap();
    assert_eq!(changed["name"], "here");
    assert_eq!(stranger.call("echo").await.status, 200);

    let away = format!("{}{path}?wait=applied", tenant.base);
    tenant.admin.patch(&away, json!({"allow": ["203.0.113.0/24"]})).await.unwrap();
    assert_eq!(caller.call("echo").await.code(), "credential_restricted");
    let rotated = tenant.post(&format!("{path}/rotate?wait=applied"), json!({})).await;
    assert_eq!(rotated["allow"], json!(["203.0.113.0/24"]));
    let next = Caller::new(&endpoint.url, &text(&rotated, "key"));
    assert_eq!(next.call("echo").await.code(), "credential_restricted");
    assert_eq!(upstream.calls().len(), 2, "a refused call reached the upstream");
}

#[tokio::test]
async fn a_key_works_at_its_hours_alone() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    tenant.grant(&endpoint, &["echo"]).await;

    let always = json!([{"days": EVERY_DAY, "from": "00:00", "until": "24:00"}]);
    let (caller, path) = restricted(&tenant, &endpoint, json!({"name": "always", "hours": always})).await;
    assert_eq!(caller.call("echo").await.status, 200);
    // All of the week but today, by the clock that both planes go by here; at midnight, tomorrow instead.
    let now = time::OffsetDateTime::now_utc();
    let near_midnight = now.hour() == 23 && now.minute() > 55;
    let today = usize::from(now.weekday().number_days_from_monday());
    let out: Vec<_> = (0..7)
        .filter(|day| *day != today && !(near_midnight && *day == (today + 1) % 7))
        .map(|day| EVERY_DAY[day])
        .collect();
    let hours = json!([{"days": out, "from": "00:00", "until": "24:00"}]);
    let key = format!("{}{path}?wait=applied", tenant.base);
    let changed = tenant.admin.patch(&key, json!({"hours": hours})).await.unwrap();
    assert_eq!(changed["hours"], hours);
    let refused = caller.call("echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "credential_restricted"));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_with_its_place() {
    let gateway = Gateway::start().await;
    let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
    let tenant = gateway.tenant("acme").await;
    let endpoint = tenant.endpoint("tools", &upstream).await;
    let keys = format!("{}/clients/{}/keys", tenant.base, endpoint.client);
    let hours = |days: Value, from: &str, until: &str| json!([{"days": days, "from": from, "until": until}]);
    let one = json!(["mon"]);
    for (change, place) in [
        (json!({"allow": ["203.0.113.0/24", "here"]}), "/allow/1"),
        (json!({"allow": ["::ffff:203.0.113.7"]}), "/allow/0"),
        (json!({"allow": vec!["203.0.113.0/24"; 65]}), "/allow"),
        (json!({"hours": hours(json!([]), "08:00", "18:00")}), "/hours/0/days"),
        (json!({"hours": hours(one.clone(), "22:00", "02:00")}), "/hours/0/until"),
        (json!({"hours": hours(one.clone(), "24:01", "24:02")}), "/hours/0/from"),
        (json!({"hours": vec![hours(one.clone(), "08:00", "18:00")[0].clone(); 33]}), "/hours"),
        (json!({"not_after": "2020-01-01T00:00:00Z"}), "/not_after"),
    ] {
        let mut new = json!({"name": "n"});
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = [
            tenant.admin.post(&keys, new).await.unwrap_err(),
            tenant.admin.patch(&format!("{keys}/{}", endpoint.key_id), change.clone()).await.unwrap_err(),
        ];
        for refused in refused.map(refusal) {
            assert_eq!(refused, (422, place.to_owned()), "{change}");
        }
    }
    // The end that a rotation has set can be moved, and not be taken away; what is over stays over.
    let key = format!("{keys}/{}", endpoint.key_id);
    tenant.admin.post(&format!("{key}/rotate"), json!({"overlap_seconds": 3600})).await.unwrap();
    let refused = tenant.admin.patch(&key, json!({"not_after": null})).await.unwrap_err();
    assert_eq!(refusal(refused), (422, "/not_after".to_owned()));
    tenant.admin.delete(&key).await.unwrap();
    let refused = tenant.admin.patch(&key, json!({"name": "again"})).await.unwrap_err();
    assert_eq!(refusal(refused).0, 409);
}
