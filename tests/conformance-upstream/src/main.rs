//! An MCP server that implements every fixture the MCP conformance suite asks a server for, in both eras
//! (`initialize` handshake up to 2025-11-25, stateless 2026-07-28). It is the upstream of the conformance runs: what
//! it scores directly is what the gateway in front of it has to score too.
//!
//! `portcullis-conformance-upstream [PORT]` binds 127.0.0.1 (port 0 or none: any free one) and prints its URL as the
//! first line of standard output.

#![expect(
    deprecated,
    reason = "logging, sampling and subscriptions of the older revisions are what the suite tests"
)]

use std::{io::Write, sync::Arc};

use anyhow::Context;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use seams::SystemEntropy;

mod catalogue;
mod conversation;
mod jobs;
mod plain;
mod rounds;
mod server;

use server::{Fixture, Shared};

fn main() -> anyhow::Result<()> {
    let port = match std::env::args().nth(1) {
        Some(text) => text.parse::<u16>().with_context(|| format!("not a port: {text}"))?,
        None => 0,
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let sessions = Arc::new(LocalSessionManager::default());
    let shared = Arc::new(Shared::new(Arc::clone(&sessions), &SystemEntropy)?);
    // rmcp accepts loopback `Host` values only, by default; the Origin list does the same for browsers.
    let config = StreamableHttpServerConfig::default().with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let mcp = StreamableHttpService::new(move || Ok(Fixture::new(Arc::clone(&shared))), sessions, config);

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}/mcp", listener.local_addr()?)?;
    out.flush()?;
    axum::serve(listener, axum::Router::new().nest_service("/mcp", mcp)).await?;
    Ok(())
}
