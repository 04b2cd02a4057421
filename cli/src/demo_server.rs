//! The MCP server behind the demo endpoint: four small tools, one of which changes something.

use std::{net::Ipv4Addr, sync::Arc};

use parking_lot::Mutex;
use rmcp::{
    handler::server::wrapper::Parameters,
    schemars::JsonSchema,
    tool, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::Deserialize;

/// Notes are kept in memory, this many at most.
const MOST_NOTES: usize = 1_000;

#[derive(Clone, Default)]
struct Demo {
    notes: Arc<Mutex<Vec<String>>>,
}

#[derive(Deserialize, JsonSchema)]
struct Add {
    /// First number.
    a: f64,
    /// Second number.
    b: f64,
}

#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// What to say back.
    text: String,
}

#[tool_router(server_handler)]
impl Demo {
    #[tool(description = "Add two numbers", annotations(read_only_hint = true))]
    fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> String {
        (a + b).to_string()
    }

    #[tool(description = "Say the text back", annotations(read_only_hint = true))]
    fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    #[tool(description = "Read all notes", annotations(read_only_hint = true))]
    fn read_notes(&self) -> String {
        self.notes.lock().join("\n")
    }

    #[tool(description = "Write a note", annotations(read_only_hint = false))]
    fn write_note(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        let mut notes = self.notes.lock();
        if notes.len() >= MOST_NOTES {
            notes.remove(0);
        }
        notes.push(text);
        format!("{} notes", notes.len())
    }
}

/// Serves until asked to stop. Loopback only; no caller is authenticated here, as with many a real server.
pub async fn serve(port: u16) -> std::io::Result<()> {
    let demo = Demo::default();
    let service = StreamableHttpService::new(
        move || Ok(demo.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().nest_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async {
            if let Err(error) = crate::run::asked_to_stop().await {
                tracing::error!(%error, "cannot listen for signals");
            }
        })
        .await
}
