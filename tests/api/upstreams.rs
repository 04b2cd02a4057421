//! Where an upstream may be.

use harness::text;
use reqwest::StatusCode;
use serde_json::json;

use crate::{api, delete, patch, post};

#[tokio::test]
async fn private_addresses_need_an_operators_exact_rule() {
    let (gateway, tenant) = api().await;
    let register = async |slug: &str, url: &str| {
        post(&gateway, &tenant, "/upstreams", json!({"slug": slug, "name": slug, "url": url})).await
    };
    for url in [
        "http://127.0.0.1:9000/mcp",
        "https://10.0.0.1/mcp",
        "https://169.254.169.254/latest",
        "https://[::1]/mcp",
        "https://[::ffff:10.0.0.1]/mcp",
        "https://2130706433/mcp",
        "https://0/mcp",
        "http://mcp.example.com/mcp",
        "https://user@mcp.example.com/",
        "https://mcp.example.com/#x",
        "file:///etc/passwd",
        "gopher://mcp.example.com/",
    ] {
        let refused = register("refused", url).await;
        assert_eq!(
            (refused.status, refused.places()),
            (StatusCode::UNPROCESSABLE_ENTITY, vec!["/url"]),
            "{url}"
        );
    }
    tenant.allow_egress(9000).await;
    let made = register("local", "http://127.0.0.1:9000/mcp").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let path = format!("/upstreams/{}", text(&made.body, "id"));
    for url in ["http://127.0.0.1:9001/mcp", "http://127.0.0.2:9000/mcp"] {
        assert_eq!(
            patch(&gateway, &tenant, &path, "*", json!({"url": url})).await.places(),
            ["/url"],
            "{url}"
        );
    }
    // A tenant cannot write its own rules, and no rule opens a metadata service.
    let own = json!({"egress": [{"network": "10.0.0.0/8", "port": 443}]});
    assert_eq!(patch(&gateway, &tenant, "", "*", own).await.code(), "forbidden");
    let metadata = json!({"egress": [{"network": "169.254.169.254/32", "port": 80}]});
    let refused = gateway.operator.patch(&tenant.base, metadata).await.unwrap_err();
    assert!(refused.to_string().contains("422"), "{refused}");
}

#[tokio::test]
async fn an_attached_upstream_stays_until_it_is_detached() {
    let (gateway, tenant) = api().await;
    let upstream = json!({"slug": "one", "name": "Up", "url": "https://mcp.example.com/mcp"});
    let upstream = text(&post(&gateway, &tenant, "/upstreams", upstream).await.body, "id");
    let endpoint =
        text(&post(&gateway, &tenant, "/endpoints", json!({"slug": "one", "name": "One"})).await.body, "id");
    let attachments = format!("/endpoints/{endpoint}/upstreams");
    let attached =
        post(&gateway, &tenant, &attachments, json!({"upstream_id": upstream, "prefix": ""})).await;
    assert_eq!(attached.status, StatusCode::CREATED, "{}", attached.body);
    let again = post(&gateway, &tenant, &attachments, json!({"upstream_id": upstream, "prefix": "x_"})).await;
    assert_eq!(again.code(), "conflict");
    let unknown = json!({"upstream_id": "ups_01hzy3v5d1f4m8q2w6x9c0b7ka", "prefix": "y_"});
    assert_eq!(post(&gateway, &tenant, &attachments, unknown).await.places(), ["/upstream_id"]);
    assert_eq!(delete(&gateway, &tenant, &format!("/upstreams/{upstream}"), "*").await.code(), "conflict");
    let attachment = format!("{attachments}/{}", text(&attached.body, "id"));
    assert_eq!(delete(&gateway, &tenant, &attachment, "*").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        delete(&gateway, &tenant, &format!("/upstreams/{upstream}"), "*").await.status,
        StatusCode::NO_CONTENT
    );
}
