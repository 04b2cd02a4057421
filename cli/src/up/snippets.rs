//! Configuration snippets for MCP clients: each puts the key into the `Authorization` header.

use serde_json::{Value, json};

/// One snippet for each client, by the client's name.
#[must_use]
pub fn all(name: &str, url: &str, key: &str) -> Value {
    let bearer = format!("Bearer {key}");
    let local_http = url.starts_with("http://");
    json!({
        "claude-code": format!("claude mcp add --transport http --header \"Authorization: {bearer}\" {name} {url}"),
        "cursor": pretty(&json!({"mcpServers": {name: {"url": url, "headers": {"Authorization": bearer}}}})),
        "vscode": pretty(&json!({
            "servers": {name: {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:portcullis-key}"}}},
            "inputs": [{"type": "promptString", "id": "portcullis-key", "description": "Portcullis API key", "password": true}]
        })),
        "inspector": format!(
            "npx @modelcontextprotocol/inspector --cli --server-url {url} --transport http --header \"Authorization: {bearer}\" --method tools/list"
        ),
        // mcp-remote splits its arguments at spaces, so the header's value comes from the environment.
        "mcp-remote": format!(
            "AUTH=\"{bearer}\" npx mcp-remote {url} {}--transport http-only --header 'Authorization:${{AUTH}}'",
            if local_http { "--allow-http " } else { "" }
        ),
    })
}

/// A `curl` line that calls `tool` and can be pasted into a shell.
#[must_use]
pub fn curl(url: &str, key: &str, ca_file: Option<&str>, tool: &str, arguments: &Value) -> String {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": tool, "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {}
            }
        }
    });
    let ca = ca_file.map(|file| format!("--cacert '{file}' ")).unwrap_or_default();
    format!(
        "curl -sS {ca}{url} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
         -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' \
         -H 'Mcp-Method: tools/call' -H 'Mcp-Name: {tool}' -d '{body}'"
    )
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snippet_names_the_url_and_only_the_prompting_one_omits_the_key() {
        let snippets = all("demo", "http://127.0.0.1:7420/demo/tools/mcp", "pck_x");
        for (client, text) in snippets.as_object().unwrap() {
            let text = text.as_str().unwrap();
            assert!(text.contains("http://127.0.0.1:7420/demo/tools/mcp"), "{client}");
            assert_eq!(text.contains("pck_x"), client != "vscode", "{client}");
        }
    }
}
