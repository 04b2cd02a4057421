//! `portcullis-rmcp-peer URL MODE CALL [WITHHELD]`, MODE `legacy` or `modern`, CALL `{"name":…,"arguments":…}`; who
//! calls is in MCP_IDENTITY, an [`Identity`]. Prints one JSON object: what [`portcullis_rmcp_peer::visit`] saw, or `{"failed": why}`.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use portcullis_rmcp_peer::{Identity, Mode, Visit, visit};
use serde_json::{Value, json};

fn main() -> anyhow::Result<ExitCode> {
    // Built together with the workspace, the HTTP client has TLS, and no provider for it of its own.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("another TLS provider is installed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (answer, code) = match runtime.block_on(run()) {
        Ok(seen) => (seen, ExitCode::SUCCESS),
        Err(error) => (json!({"failed": format!("{error:#}")}), ExitCode::FAILURE),
    };
    writeln!(std::io::stdout(), "{answer}")?;
    Ok(code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "secrets do not belong on a command line, which every process can read"
)]
async fn run() -> anyhow::Result<Value> {
    let mut words = std::env::args().skip(1);
    let mut next =
        |what: &str| words.next().with_context(|| format!("no {what}; usage: URL MODE CALL [WITHHELD]"));
    let url = next("URL")?;
    let mode = match next("MODE")?.as_str() {
        "legacy" => Mode::Legacy,
        "modern" => Mode::Modern,
        other => bail!("MODE is legacy or modern, not {other}"),
    };
    let call: Value = serde_json::from_str(&next("CALL")?).context("CALL is not JSON")?;
    let withheld = words.next();
    let tool = call["name"].as_str().context("CALL has no name")?.to_owned();
    let arguments = call["arguments"].as_object().cloned().unwrap_or_default();
    let identity = std::env::var("MCP_IDENTITY").context("MCP_IDENTITY is not set")?;
    let identity: Identity = serde_json::from_str(&identity).context("MCP_IDENTITY")?;
    visit(&Visit { url, identity, mode, tool, arguments, withheld }).await
}
