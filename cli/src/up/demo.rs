//! The demo tenant: everything a first call needs, made through the admin API like any tenant's.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    files,
    rest::{Rest, RestError},
};

const TENANT: &str = "demo";
const TENANT_NAME: &str = "Demo";
const UPSTREAM: &str = "demo-server";
const ENDPOINT: &str = "tools";
const CLIENT: &str = "demo-agent";
/// Tools of the demo server that the demo client is granted; the others show what a refusal looks like.
const GRANTED: [&str; 2] = ["add", "echo"];
/// The one tool that changes something.
const CHANGES: &str = "write_note";

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
    /// Where the demo server was when this was made.
    port: u16,
}

/// What there is to be.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Where the result is kept.
    pub file: &'a Path,
    /// Loopback port of the demo server.
    pub port: u16,
    /// Whether a tenant that an earlier run left is replaced.
    pub fresh: bool,
}

/// Reads back what an earlier run made and brings it up to date, or makes the demo tenant.
pub async fn ensure(operator: &Rest, wanted: &Wanted<'_>) -> anyhow::Result<Demo> {
    let kept = std::fs::read(wanted.file).ok().and_then(|bytes| serde_json::from_slice::<Demo>(&bytes).ok());
    if let Some(mut demo) = kept
        && let Some(tenant) = found(operator.get(&format!("/v1/tenants/{}", demo.tenant)).await)?
    {
        if demo.port != wanted.port {
            let maker =
                Maker { operator, admin: admin(operator, &demo.admin_token), base: base(&tenant)?, wanted };
            maker.allow_egress(&tenant, Some(demo.port)).await?;
            maker.upstream(true).await?;
            demo.port = wanted.port;
            keep(&demo, wanted.file)?;
        }
        return Ok(demo);
    }
    let tenant = tenant(operator, wanted.fresh).await?;
    let base = base(&tenant)?;
    // Keys and tokens are answered once. Those of a run that was interrupted here are lost, so there are new ones.
    let token =
        operator.post(&format!("{base}/admin-tokens"), json!({"name": "demo", "scopes": ["*"]})).await?;
    let admin_token = text(&token, "token")?;
    let maker = Maker { operator, admin: admin(operator, &admin_token), base, wanted };
    let demo = maker.make(&tenant, admin_token).await?;
    keep(&demo, wanted.file)?;
    Ok(demo)
}

fn keep(demo: &Demo, file: &Path) -> anyhow::Result<()> {
    files::write_private(file, &serde_json::to_vec_pretty(demo)?).context("keep the demo tenant's secrets")
}

fn admin(operator: &Rest, token: &str) -> Rest {
    operator.with_token(SecretString::from(token))
}

fn base(tenant: &Value) -> anyhow::Result<String> {
    Ok(format!("/v1/tenants/{}", text(tenant, "id")?))
}

/// The demo tenant: the one an interrupted run left, or a new one.
async fn tenant(operator: &Rest, fresh: bool) -> anyhow::Result<Value> {
    if let Some(left) = find(operator, "/v1/tenants", "slug", TENANT).await? {
        if left["name"] != TENANT_NAME {
            bail!("the database has a tenant `{TENANT}` that is not the demo tenant; use --no-demo");
        }
        if !fresh {
            return Ok(left);
        }
        let base = base(&left)?;
        // A tenant goes when nothing in it refers to something else in it.
        for collection in ["endpoints", "clients", "upstreams"] {
            let list = format!("{base}/{collection}");
            while let Some(item) = first(operator, &list).await? {
                operator.delete(&format!("{list}/{}", text(&item, "id")?)).await?;
            }
        }
        operator.delete(&base).await?;
    }
    Ok(operator.post("/v1/tenants", json!({"slug": TENANT, "name": TENANT_NAME})).await?)
}

/// Makes what is missing of the demo tenant.
struct Maker<'a> {
    operator: &'a Rest,
    admin: Rest,
    /// Path of the tenant.
    base: String,
    wanted: &'a Wanted<'a>,
}

impl Maker<'_> {
    async fn make(&self, tenant: &Value, admin_token: String) -> anyhow::Result<Demo> {
        let (admin, base) = (&self.admin, &self.base);
        self.allow_egress(tenant, None).await?;
        let upstream_id = self.upstream(false).await?;
        let endpoint =
            self.one("endpoints", "slug", ENDPOINT, json!({"slug": ENDPOINT, "name": "Demo tools"})).await?;
        let endpoint_id = text(&endpoint, "id")?;
        let attachments = format!("{base}/endpoints/{endpoint_id}/upstreams");
        if find(admin, &attachments, "upstream_id", &upstream_id).await?.is_none() {
            admin.post(&attachments, json!({"upstream_id": upstream_id, "prefix": ""})).await?;
        }
        let client_id = text(&self.one("clients", "name", CLIENT, json!({"name": CLIENT})).await?, "id")?;
        admin.put(&format!("{base}/clients/{client_id}/endpoints/{endpoint_id}"), json!({})).await?;
        let key = admin.post(&format!("{base}/clients/{client_id}/keys"), json!({"name": "first"})).await?;
        self.approve_tools(&upstream_id).await?;
        let grant = json!({
            "subject": {"client": client_id},
            "actions": [{"action": "call_tool", "upstream": upstream_id, "tools": {"names": GRANTED}}]
        });
        let grants = admin.get(&format!("{base}/grants?limit=200")).await?;
        let items = grants["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !items.iter().any(|held| held["subject"] == grant["subject"]) {
            admin.post(&format!("{base}/grants?wait=applied"), grant).await?;
        }
        Ok(Demo {
            tenant: text(tenant, "id")?,
            key_id: text(&key, "id")?,
            api_key: text(&key, "key")?,
            client_id,
            admin_token,
            path: format!("/{TENANT}/{ENDPOINT}/mcp"),
            port: self.wanted.port,
        })
    }

    /// Allows exactly the demo server's port, and no longer the one it had in a run with other ports.
    async fn allow_egress(&self, tenant: &Value, earlier: Option<u16>) -> anyhow::Result<()> {
        let rule = |port: u16| json!({"network": "127.0.0.1/32", "port": port});
        let mut rules = tenant["egress"].as_array().cloned().unwrap_or_default();
        rules
            .retain(|held| earlier.is_none_or(|port| *held != rule(port)) && *held != rule(self.wanted.port));
        rules.push(rule(self.wanted.port));
        self.operator.patch(&self.base, json!({"egress": rules})).await?;
        Ok(())
    }

    /// The demo server as an upstream; its id. `applied`: returns when every proxy knows where it is.
    async fn upstream(&self, applied: bool) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/mcp", self.wanted.port);
        let new = json!({"slug": UPSTREAM, "name": "Demo server", "url": url});
        let upstream = self.one("upstreams", "slug", UPSTREAM, new).await?;
        let id = text(&upstream, "id")?;
        if upstream["url"] != *url {
            let wait = if applied { "?wait=applied" } else { "" };
            self.admin.patch(&format!("{}/upstreams/{id}{wait}", self.base), json!({"url": url})).await?;
        }
        Ok(id)
    }

    /// A proxy discovers the upstream's tools; an administrator, here us, approves them.
    async fn approve_tools(&self, upstream_id: &str) -> anyhow::Result<()> {
        let Self { admin, base, .. } = self;
        admin.post(&format!("{base}/upstreams/{upstream_id}/discover"), json!({})).await?;
        for _ in 0..600 {
            let tools = admin.get(&format!("{base}/tools?upstream_id={upstream_id}")).await?;
            let tools = tools["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            if tools.len() >= GRANTED.len() {
                for tool in tools.iter().filter(|tool| tool["state"] == "pending") {
                    let id = text(tool, "id")?;
                    let class = if tool["name"] == CHANGES { "write" } else { "read" };
                    admin.post(&format!("{base}/tools/{id}/approve"), json!({"class": class})).await?;
                }
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("no proxy reported the demo server's tools within 60 s")
    }

    /// The tenant's thing in `collection` whose `member` is `value`; made from `new` if there is none.
    async fn one(&self, collection: &str, member: &str, value: &str, new: Value) -> anyhow::Result<Value> {
        let path = format!("{}/{collection}", self.base);
        match find(&self.admin, &path, member, value).await? {
            Some(found) => Ok(found),
            None => Ok(self.admin.post(&path, new).await?),
        }
    }
}

/// The item of a list whose `member` is `value`.
async fn find(rest: &Rest, list: &str, member: &str, value: &str) -> anyhow::Result<Option<Value>> {
    let mut page = format!("{list}?limit=200");
    loop {
        let items = rest.get(&page).await?;
        let all = items["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(found) = all.iter().find(|item| item[member] == value) {
            return Ok(Some(found.clone()));
        }
        let Some(cursor) = items["next_cursor"].as_str() else { return Ok(None) };
        page = format!("{list}?limit=200&cursor={cursor}");
    }
}

/// The first item of a list.
async fn first(rest: &Rest, list: &str) -> anyhow::Result<Option<Value>> {
    let page = rest.get(&format!("{list}?limit=1")).await?;
    Ok(page["items"].as_array().and_then(|items| items.first()).cloned())
}

/// What was asked for, unless the answer is that there is no such thing.
fn found(answer: Result<Value, RestError>) -> Result<Option<Value>, RestError> {
    match answer {
        Err(RestError::Refused { status, .. }) if status.as_u16() == 404 => Ok(None),
        answer => answer.map(Some),
    }
}

fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    Ok(value[member]
        .as_str()
        .with_context(|| format!("the control plane's answer has no `{member}`"))?
        .to_owned())
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo")
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
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
