//! What `up` prints and what it writes to `up.json`.

use std::io::{self, Write as _};

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{places::Places, processes::Recorded};
use crate::rest::http_client;

/// `.portcullis/up.json`, mode 0600. It holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct UpResult {
    /// Admin API.
    pub control_url: String,
    /// Origin of the authorization servers.
    pub auth_url: String,
    /// First proxy.
    pub gateway_url: String,
    /// The demo endpoint; absent with `--no-demo`, as the other demo members.
    pub endpoint_url: Option<String>,
    /// Demo tenant's id.
    pub tenant: Option<String>,
    /// Demo client's id.
    pub client_id: Option<String>,
    /// Demo key's id.
    pub key_id: Option<String>,
    /// Demo key.
    pub api_key: Option<String>,
    /// Admin token of the demo tenant.
    pub admin_token: Option<String>,
    /// Token for everything.
    pub operator_token: String,
    /// CA to trust, with `--tls`.
    pub ca_file: Option<String>,
    /// A line to paste.
    pub curl: Option<String>,
    /// Client configurations by client.
    pub snippets: Option<Value>,
    /// The database, with its password.
    pub database_url: String,
    /// Redis, with its password, where one is used.
    pub redis_url: Option<String>,
    /// The proxies.
    pub proxies: Vec<ProxyResult>,
}

/// A proxy in `up.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProxyResult {
    /// Its id.
    pub id: String,
    /// Its gateway listener.
    pub url: String,
    /// Its health and metrics listener.
    pub admin_url: String,
    /// Its process.
    pub pid: u32,
}

impl std::fmt::Debug for UpResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpResult").field("control_url", &self.control_url).finish_non_exhaustive()
    }
}

/// A line for the person at the terminal. Nobody has to read it: a closed pipe stops nothing.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// What a person needs now. Errors are not: the run goes on when its output is closed.
pub(super) fn print(result: &UpResult, places: &Places, detached: bool) {
    let _ = io::stdout().lock().write_all(text(result, places, detached).as_bytes());
}

fn text(result: &UpResult, places: &Places, detached: bool) -> String {
    let root = places.root.display();
    let stop =
        if detached { format!("`make down` or `portcullis down --dir {root}`") } else { "Ctrl-C".to_owned() };
    let mut lines = vec![
        String::new(),
        format!("Portcullis is running. {stop} stops it; its state stays in {root}."),
        String::new(),
        format!(
            "  Admin API    {}   (operator token and all else: {})",
            result.control_url,
            places.up_json().display()
        ),
    ];
    for proxy in &result.proxies {
        lines.push(format!("  Gateway      {}   {}", proxy.url, proxy.id));
    }
    lines.extend(result.ca_file.as_ref().map(|ca| format!("  Local CA     {ca}")));
    if let (Some(endpoint), Some(key), Some(curl)) = (&result.endpoint_url, &result.api_key, &result.curl) {
        lines.push(format!("  Endpoint     {endpoint}\n  Key          {key}\n\nTry it:\n\n  {curl}\n"));
    }
    if let Some(snippets) = result.snippets.as_ref().and_then(Value::as_object) {
        lines.push("Connect a client:".to_owned());
        if let Some(ca) = &result.ca_file {
            lines.push(format!("(each has to trust the local CA: start it with NODE_EXTRA_CA_CERTS={ca})"));
        }
        for (client, text) in snippets {
            let text = text.as_str().unwrap_or_default().replace('\n', "\n    ");
            lines.push(format!("\n  {client}\n    {text}"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

pub(super) async fn status(result: &UpResult, recorded: &Recorded) -> anyhow::Result<()> {
    let http = http_client(None)?;
    let mut failing = Vec::new();
    for entry in &recorded.entries {
        let state = if entry.process.is_alive() { "running" } else { "ended" };
        if state == "ended" {
            failing.push(entry.name.clone());
        }
        say(&format!("{:<12} {state}   process {}", entry.name, entry.process.pid));
    }
    for proxy in &result.proxies {
        let ready = http.get(format!("{}/readyz", proxy.admin_url)).send().await;
        let ready = ready.is_ok_and(|response| response.status().is_success());
        if !ready {
            failing.push(proxy.id.clone());
        }
        say(&format!("{:<12} {}   {}", "gateway", if ready { "ready" } else { "not ready" }, proxy.url));
    }
    if failing.is_empty() { Ok(()) } else { bail!("not in order: {}", failing.join(", ")) }
}
