//! Cursors.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Answer, api, get, post, send};

fn names(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let (gateway, tenant) = api().await;
    for n in 0..7 {
        assert_eq!(
            post(&gateway, &tenant, "/clients", json!({"name": format!("c{n}")})).await.status,
            StatusCode::CREATED
        );
    }
    let whole = get(&gateway, &tenant, "/clients").await;
    assert_eq!(names(&whole), ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    assert_eq!((&whole.body["next_cursor"], whole.header("link")), (&Value::Null, None));

    let mut seen = Vec::new();
    let mut path = format!("{}/clients?limit=3", tenant.base);
    for size in [3, 3, 1] {
        let page = send(&gateway, Some(&tenant.admin_token), Method::GET, &path, &[], "").await;
        assert_eq!(names(&page).len(), size);
        seen.extend(names(&page).iter().map(ToString::to_string));
        let Some(link) = page.header("link") else {
            assert_eq!((&page.body["next_cursor"], size), (&Value::Null, 1));
            break;
        };
        // RFC 8288, and the same cursor as in the body.
        let (target, relation) = link.split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"");
        path = target.trim_start_matches('<').to_owned();
        assert!(path.ends_with(page.body["next_cursor"].as_str().unwrap()));
        // What is made meanwhile comes later and disturbs nothing.
        if size == 3 && seen.len() == 3 {
            let made = post(&gateway, &tenant, "/roles", json!({"name": "elsewhere"})).await;
            assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        }
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
}

#[tokio::test]
async fn a_cursor_works_only_where_it_was_given_out() {
    let (gateway, tenant) = api().await;
    let other = gateway.tenant("other").await;
    for n in 0..3 {
        post(&gateway, &tenant, "/clients", json!({"name": format!("c{n}")})).await;
        post(&gateway, &other, "/clients", json!({"name": format!("o{n}")})).await;
    }
    let page = get(&gateway, &tenant, "/clients?limit=1").await;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let mut forged = cursor.to_owned().into_bytes();
    let last = forged.len() - 2;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(names(&get(&gateway, &tenant, &format!("/clients?limit=1&cursor={cursor}")).await), ["c1"]);
    for answer in [
        get(&gateway, &tenant, &format!("/clients?cursor={forged}")).await,
        get(&gateway, &tenant, "/clients?cursor=").await,
        get(&gateway, &tenant, &format!("/clients?cursor={}", "A".repeat(43))).await,
        get(&gateway, &tenant, &format!("/upstreams?cursor={cursor}")).await,
        get(&gateway, &other, &format!("/clients?cursor={cursor}")).await,
    ] {
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "cursor_invalid"));
    }
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let (gateway, tenant) = api().await;
    for (query, place) in
        [("limit=0", "?/limit"), ("limit=201", "?/limit"), ("limit=x", "?/limit"), ("colour=red", "?/colour")]
    {
        let refused = get(&gateway, &tenant, &format!("/clients?{query}")).await;
        assert_eq!((refused.code(), refused.places()), ("validation_failed", vec![place]), "{query}");
    }
}
