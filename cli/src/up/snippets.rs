//! Configuration snippets for MCP clients: each puts the key into the `Authorization` header.

use serde_json::{Value, json};

/// One snippet for each client, by the client's name. `ca_file`: the local CA that the client has to trust.
#[must_use]
pub fn all(name: &str, url: &str, key: &str, ca_file: Option<&str>) -> Value {
    let bearer = format!("Bearer {key}");
    let local_http = url.starts_with("http://");
    // Clients on Node.js read this when they start; those with a window are started with it too.
    let trust = ca_file.map(|file| format!("NODE_EXTRA_CA_CERTS={} ", quoted(file))).unwrap_or_default();
    json!({
        // `--header` takes every word after it that is no option, so it comes last.
        "claude-code": format!("claude mcp add --transport http {name} {url} --header \"Authorization: {bearer}\""),
        "cursor": pretty(&json!({"mcpServers": {name: {"url": url, "headers": {"Authorization": bearer}}}})),
        "vscode": pretty(&json!({
            "servers": {name: {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:portcullis-key}"}}},
            "inputs": [{"type": "promptString", "id": "portcullis-key", "description": "Portcullis API key", "password": true}]
        })),
        // With an older Node.js than it needs, npm would take an old version that does not know these options.
        "inspector": format!(
            "{trust}npx @modelcontextprotocol/inspector@2 --cli --server-url {url} --transport http --header \"Authorization: {bearer}\" --method tools/list"
        ),
        // mcp-remote splits its arguments at spaces, so the header's value comes from the environment.
        "mcp-remote": format!(
            "{trust}AUTH=\"{bearer}\" npx mcp-remote {url} {}--transport http-only --header 'Authorization:${{AUTH}}'",
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
    let ca = ca_file.map(|file| format!("--cacert {} ", quoted(file))).unwrap_or_default();
    format!(
        "curl -sS {ca}{url} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
         -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' \
         -H 'Mcp-Method: tools/call' -H 'Mcp-Name: {tool}' -d {}",
        quoted(&body.to_string())
    )
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:7420/demo/tools/mcp";

    #[test]
    fn every_snippet_names_the_url_and_only_the_prompting_one_omits_the_key() {
        let snippets = all("demo", URL, "pck_x", None);
        for (client, text) in snippets.as_object().unwrap() {
            let text = text.as_str().unwrap();
            assert!(text.contains(URL), "{client}");
            assert_eq!(text.contains("pck_x"), client != "vscode", "{client}");
            assert!(!text.contains("NODE_EXTRA_CA_CERTS"), "{client}");
        }
    }

    #[test]
    fn commands_trust_the_local_ca() {
        let snippets = all("demo", "https://127.0.0.1:7420/x", "pck_x", Some("/a b/ca.pem"));
        for client in ["inspector", "mcp-remote"] {
            let text = snippets[client].as_str().unwrap();
            assert!(
                text.starts_with("NODE_EXTRA_CA_CERTS='/a b/ca.pem' ") && !text.contains("--allow-http"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_shell_reads_the_curl_line_as_it_was_meant() {
        let line = curl(URL, "pck_x", Some("/it's/ca.pem"), "add", &json!({"text": "it's"}));
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {line}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = words.lines().collect();
        assert_eq!(words[1..4], ["--cacert", "/it's/ca.pem", URL]);
        let body: Value = serde_json::from_str(words.last().unwrap()).unwrap();
        assert_eq!(body["params"]["arguments"]["text"], "it's");
    }
}
