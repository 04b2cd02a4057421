//! A tenant and its endpoints, made and looked at over REST.

use portcullis_cli::rest::Rest;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{
    caller::Caller,
    upstream::Upstream,
    values::{eventually, text},
};

/// A tenant, as its administrator sees it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Id.
    pub id: String,
    /// Slug.
    pub slug: String,
    /// Path of its resources.
    pub base: String,
    /// A client of the admin API with a token of the tenant.
    pub admin: Rest,
    /// That token.
    pub admin_token: SecretString,
    gateway: String,
    operator: Rest,
}

/// An endpoint with one upstream and one client that may use it; nothing is granted yet.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Id.
    pub id: String,
    /// Its URL at the first proxy.
    pub url: String,
    /// Path below any proxy.
    pub path: String,
    /// The upstream's id.
    pub upstream: String,
    /// The client's id.
    pub client: String,
    /// Id of the client's key.
    pub key_id: String,
    /// The client's key.
    pub key: SecretString,
}

impl Tenant {
    /// Makes a tenant with an admin token for everything; its endpoints are looked for at `gateway`.
    pub async fn make(operator: &Rest, gateway: &str, slug: &str) -> Self {
        let made = operator.post("/v1/tenants", json!({"slug": slug, "name": slug})).await.unwrap();
        let id = text(&made, "id");
        let base = format!("/v1/tenants/{id}");
        let token = operator
            .post(&format!("{base}/admin-tokens"), json!({"name": "test", "scopes": ["*"]}))
            .await
            .unwrap();
        let admin_token = SecretString::from(text(&token, "token"));
        let admin = operator.with_token(admin_token.clone());
        Self {
            id,
            slug: slug.to_owned(),
            base,
            admin,
            admin_token,
            gateway: gateway.to_owned(),
            operator: operator.clone(),
        }
    }

    /// POST below the tenant, which must succeed.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.admin.post(&format!("{}{path}", self.base), body).await.unwrap()
    }

    /// Registers `upstream` behind a new endpoint with a client and a key, its tools discovered and approved as `read`.
    pub async fn endpoint(&self, slug: &str, upstream: &Upstream) -> Endpoint {
        self.allow_egress(upstream.addr().port()).await;
        let made = self.post("/upstreams", json!({"slug": slug, "name": slug, "url": upstream.url()})).await;
        let upstream_id = text(&made, "id");
        let endpoint = self.post("/endpoints", json!({"slug": slug, "name": slug})).await;
        let id = text(&endpoint, "id");
        self.post(&format!("/endpoints/{id}/upstreams"), json!({"upstream_id": upstream_id, "prefix": ""}))
            .await;
        let client = text(&self.post("/clients", json!({"name": slug})).await, "id");
        self.admin.put(&format!("{}/clients/{client}/endpoints/{id}", self.base), json!({})).await.unwrap();
        let key = self.post(&format!("/clients/{client}/keys"), json!({"name": "first"})).await;
        self.approve_all(&upstream_id).await;
        let path = format!("/{}/{slug}/mcp", self.slug);
        Endpoint {
            id,
            url: format!("{}{path}", self.gateway),
            path,
            upstream: upstream_id,
            client,
            key_id: text(&key, "id"),
            key: SecretString::from(text(&key, "key")),
        }
    }

    /// Lets the tenant's upstreams be on this loopback port.
    pub async fn allow_egress(&self, port: u16) {
        let mut rules = self.operator.get(&self.base).await.unwrap()["egress"].clone();
        rules.as_array_mut().unwrap().push(json!({"network": "127.0.0.1/32", "port": port}));
        self.operator.patch(&self.base, json!({"egress": rules})).await.unwrap();
    }

    /// Waits until a proxy has reported tools of the upstream, and approves what is pending.
    pub async fn approve_all(&self, upstream: &str) {
        self.post(&format!("/upstreams/{upstream}/discover"), json!({})).await;
        let path = format!("{}/tools?upstream_id={upstream}", self.base);
        eventually("tools are reported", async || {
            !self.admin.get(&path).await.unwrap()["items"].as_array().unwrap().is_empty()
        })
        .await;
        for tool in self.admin.get(&path).await.unwrap()["items"].as_array().unwrap() {
            if tool["state"] == "pending" {
                self.post(&format!("/tools/{}/approve", text(tool, "id")), json!({"class": "read"})).await;
            }
        }
    }

    /// Grants tools by name to a client; returns the grant's id when every proxy enforces it.
    pub async fn grant(&self, endpoint: &Endpoint, tools: &[&str]) -> String {
        let grant = json!({
            "subject": {"client": endpoint.client},
            "actions": [{"action": "call_tool", "upstream": endpoint.upstream, "tools": {"names": tools}}]
        });
        text(&self.post("/grants?wait=applied", grant).await, "id")
    }

    /// The tenant's audit records, newest first, that pass `filter` (a query string).
    pub async fn audit(&self, filter: &str) -> Vec<Value> {
        let answer = self.admin.get(&format!("{}/audit-records?{filter}", self.base)).await.unwrap();
        answer["items"].as_array().unwrap().clone()
    }
}

impl Endpoint {
    /// A caller with the endpoint's key.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(&self.url, self.key.expose_secret())
    }
}
