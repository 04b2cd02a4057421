//! The admin API's conventions, against a running control plane and real Postgres.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it cannot go on")]

mod bulk;
mod conditions;
mod domains;
mod idempotency;
mod listeners;
mod lists;
mod problems;
mod quotas;
mod reference;
mod secrets;
mod sessions;
mod upstreams;
mod watches;
mod writes;

use harness::{Gateway, Tenant};
use reqwest::{Method, StatusCode, header::HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// A control plane without proxies, and one tenant.
async fn api() -> (Gateway, Tenant) {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    (gateway, tenant)
}

/// An answer, whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    bytes: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// JSON Pointers of the places that are wrong.
    fn places(&self) -> Vec<&str> {
        let places = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|place| place["pointer"].as_str().unwrap()).collect()
    }

    fn revision(&self) -> u64 {
        self.header("portcullis-revision").expect("a write says its revision").parse().unwrap()
    }
}

/// A request with any headers.
async fn send(
    gateway: &Gateway,
    token: Option<&SecretString>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request =
        reqwest::Client::new().request(method, format!("{}{path}", gateway.control_url)).body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose_secret());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap().to_vec();
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default(), bytes }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn get(gateway: &Gateway, tenant: &Tenant, path: &str) -> Answer {
    send(gateway, Some(&tenant.admin_token), Method::GET, &format!("{}{path}", tenant.base), &[], "").await
}

async fn post(gateway: &Gateway, tenant: &Tenant, path: &str, body: Value) -> Answer {
    let path = format!("{}{path}", tenant.base);
    send(gateway, Some(&tenant.admin_token), Method::POST, &path, &[JSON], body.to_string()).await
}

async fn patch(gateway: &Gateway, tenant: &Tenant, path: &str, if_match: &str, body: Value) -> Answer {
    let headers = [MERGE, ("if-match", if_match)];
    let path = format!("{}{path}", tenant.base);
    send(gateway, Some(&tenant.admin_token), Method::PATCH, &path, &headers, body.to_string()).await
}

async fn delete(gateway: &Gateway, tenant: &Tenant, path: &str, if_match: &str) -> Answer {
    let path = format!("{}{path}", tenant.base);
    send(gateway, Some(&tenant.admin_token), Method::DELETE, &path, &[("if-match", if_match)], "").await
}
