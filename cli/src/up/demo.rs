//! The demo tenant: everything a first call needs, made through the admin API like any tenant's.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{files, rest::Rest};

const TENANT: &str = "demo";
const ENDPOINT: &str = "tools";
/// Tools of the demo server that the demo client is granted; the others show what a refusal looks like.
const GRANTED: [&str; 2] = ["add", "echo"];

/// What was made, kept because keys are answered once.
#[derive(Serialize, Deserialize)]
pub struct Demo {
    /// Tenant id.
    pub tenant: String,
    /// Client id.
    pub client_id: String,
    /// Key id.
    pub key_id: String,
    /// The API key.
    pub api_key: String,
    /// Admin token of the tenant.
    pub admin_token: String,
    /// Path of the endpoint below the gateway.
    pub path: String,
}

/// Makes the demo tenant, or reads back what an earlier run made.
pub async fn ensure(operator: &Rest, file: &Path, demo_port: u16) -> anyhow::Result<Demo> {
    if let Ok(bytes) = std::fs::read(file) {
        return serde_json::from_slice(&bytes).context("read the demo tenant's file; `--fresh` makes a new one");
    }
    let demo = make(operator, demo_port).await?;
    files::write_private(file, &serde_json::to_vec_pretty(&demo)?)?;
    Ok(demo)
}

async fn make(operator: &Rest, demo_port: u16) -> anyhow::Result<Demo> {
    // A run that was interrupted here left a tenant whose secrets nobody holds.
    if let Ok(existing) = operator.get(&format!("/v1/tenants/{TENANT}")).await {
        bail!("the demo tenant {} exists but its keys were lost; start again with --fresh", existing["id"]);
    }
    let tenant = operator
        .post(
            "/v1/tenants",
            json!({
                "slug": TENANT, "name": "Demo",
                "egress": [{"network": "127.0.0.1/32", "port": demo_port}]
            }),
        )
        .await?;
    let base = format!("/v1/tenants/{}", text(&tenant, "id")?);
    let token = operator.post(&format!("{base}/admin-tokens"), json!({"name": "demo", "scopes": ["*"]})).await?;
    let admin_token = text(&token, "token")?;
    let admin = operator.with_token(SecretString::from(admin_token.as_str()));

    let upstream = admin
        .post(
            &format!("{base}/upstreams"),
            json!({"slug": "demo-server", "name": "Demo server", "url": format!("http://127.0.0.1:{demo_port}/mcp")}),
        )
        .await?;
    let upstream_id = text(&upstream, "id")?;
    let endpoint =
        admin.post(&format!("{base}/endpoints"), json!({"slug": ENDPOINT, "name": "Demo tools"})).await?;
    let endpoint_id = text(&endpoint, "id")?;
    admin
        .post(
            &format!("{base}/endpoints/{endpoint_id}/upstreams"),
            json!({"upstream_id": upstream_id, "prefix": ""}),
        )
        .await?;
    let client = admin.post(&format!("{base}/clients"), json!({"name": "demo-agent"})).await?;
    let client_id = text(&client, "id")?;
    admin.put(&format!("{base}/clients/{client_id}/endpoints/{endpoint_id}"), json!({})).await?;
    let key = admin.post(&format!("{base}/clients/{client_id}/keys"), json!({"name": "first"})).await?;

    approve_tools(&admin, &base, &upstream_id).await?;
    admin
        .post(
            &format!("{base}/grants?wait=applied"),
            json!({
                "subject": {"client": client_id},
                "actions": [{"action": "call_tool", "upstream": upstream_id, "tools": {"names": GRANTED}}]
            }),
        )
        .await?;
    Ok(Demo {
        tenant: text(&tenant, "id")?,
        key_id: text(&key, "id")?,
        api_key: text(&key, "key")?,
        client_id,
        admin_token,
        path: format!("/{TENANT}/{ENDPOINT}/mcp"),
    })
}

/// A proxy discovers the upstream's tools; an administrator, here us, approves them.
async fn approve_tools(admin: &Rest, base: &str, upstream_id: &str) -> anyhow::Result<()> {
    admin.post(&format!("{base}/upstreams/{upstream_id}/discover"), json!({})).await?;
    for _ in 0..200 {
        let tools = admin.get(&format!("{base}/tools?upstream_id={upstream_id}&state=pending")).await?;
        let pending = tools["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if pending.len() >= GRANTED.len() {
            for tool in pending {
                let id = text(tool, "id")?;
                admin.post(&format!("{base}/tools/{id}/approve"), json!({"class": "read"})).await?;
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no proxy reported the demo server's tools within 20 s; see .portcullis/logs/proxy-0.log")
}

fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    Ok(value[member].as_str().with_context(|| format!("the control plane's answer has no `{member}`"))?.to_owned())
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo").field("tenant", &self.tenant).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A fresh join token for one proxy.
pub async fn join_token(operator: &Rest) -> anyhow::Result<SecretString> {
    let minted = operator.post("/v1/join-tokens", json!({"pool": "shared"})).await?;
    let token = SecretString::from(text(&minted, "token")?);
    if token.expose_secret().is_empty() {
        bail!("the control plane's answer has an empty join token");
    }
    Ok(token)
}
