//! What `up` prints and writes works as it stands.

use std::{fs, os::unix::fs::PermissionsExt as _};

use harness::Caller;
use serde_json::Value;

use crate::run::Place;

/// As the interface promises them, in their order.
const MEMBERS: [&str; 16] = [
    "control_url",
    "auth_url",
    "gateway_url",
    "endpoint_url",
    "tenant",
    "client_id",
    "key_id",
    "api_key",
    "admin_token",
    "operator_token",
    "ca_file",
    "curl",
    "snippets",
    "database_url",
    "redis_url",
    "proxies",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_pasted_line_calls_a_tool_and_refusals_have_a_page() {
    let place = Place::new();
    let running = place.start(&[]);
    let result = place.result();

    let answer = result.paste_curl();
    assert!(answer.contains(r#""text":"5""#), "{answer}");
    assert!(running.said().contains(&result.text("curl")), "the line is printed as it is written");

    let url = result.text("endpoint_url");
    let anonymous = Caller::anonymous(&url).call("add").await;
    assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "credential_missing"));
    let stranger = Caller::new(&url, &another_key()).call("add").await;
    assert_eq!(stranger.status, 401);

    let refused = result.caller().call("write_note").await;
    assert_eq!((refused.status, refused.code().as_str()), (200, "tool_not_granted"));
    let page = format!("{}/errors/{}", result.text("control_url"), refused.code());
    let page = reqwest::get(page).await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    assert!(page.text().await.unwrap().contains("tool_not_granted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_has_its_members_is_private_and_its_tokens_work() {
    let place = Place::new();
    let running = place.start(&[]);
    let result = place.result();

    let text = fs::read_to_string(place.up_json()).unwrap();
    let found: Vec<_> = result.0.as_object().unwrap().keys().map(String::as_str).collect();
    let sorted = |members: &[&str]| {
        let mut members: Vec<_> = members.iter().map(ToString::to_string).collect();
        members.sort();
        members
    };
    assert_eq!(sorted(&found), sorted(&MEMBERS));
    let places: Vec<_> =
        MEMBERS.iter().map(|member| text.find(&format!("\n  \"{member}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(fs::metadata(place.up_json()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&place.dir).unwrap().permissions().mode() & 0o777, 0o700);

    let proxies = result.0["proxies"].as_array().unwrap();
    assert_eq!(proxies.len(), 1);
    let proxy = proxies[0].as_object().unwrap();
    assert_eq!(
        sorted(&proxy.keys().map(String::as_str).collect::<Vec<_>>()),
        ["admin_url", "id", "pid", "url"]
    );
    assert_eq!(proxy["pid"], place.process("proxy-0").pid);
    let ready = reqwest::get(format!("{}/readyz", proxy["admin_url"].as_str().unwrap())).await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);

    let operator = result.operator();
    let known = operator.get(&format!("/v1/proxies/{}", proxy["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(known["live"], true);
    let admin = operator.with_token(result.text("admin_token").into());
    let base = format!("/v1/tenants/{}", result.text("tenant"));
    let client = admin.get(&format!("{base}/clients/{}", result.text("client_id"))).await.unwrap();
    assert_eq!(client["name"], "demo-agent");
    let keys = admin.get(&format!("{base}/clients/{}/keys", result.text("client_id"))).await.unwrap();
    assert_eq!(keys["items"][0]["id"], *result.text("key_id"));

    let snippets = result.0["snippets"].as_object().unwrap();
    for client in ["claude-code", "cursor", "vscode", "inspector", "mcp-remote"] {
        let snippet = snippets[client].as_str().unwrap();
        assert!(snippet.contains(&result.text("endpoint_url")), "{client}: {snippet}");
        assert!(running.said().contains(snippet.lines().next().unwrap()), "{client} is printed");
    }
    for (client, root) in [("cursor", "mcpServers"), ("vscode", "servers")] {
        let file: Value = serde_json::from_str(snippets[client].as_str().unwrap()).unwrap();
        assert_eq!(file[root]["portcullis-demo"]["url"], *result.text("endpoint_url"));
    }

    assert!(running.stop().success);
    assert!(!place.up_json().exists(), "a result is of a run that runs");
}

#[test]
fn no_process_shows_a_secret_in_its_arguments() {
    let place = Place::new();
    let running = place.start(&["--proxies", "2", "--tls"]);
    let secrets = secrets_below(&place.dir.join("secrets"));
    // Keys of master and TLS, passwords of both servers, operator's token, the demo tenant's secrets.
    assert!(secrets.len() >= 7, "{}", secrets.len());
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(arguments) = fs::read(entry.unwrap().path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        seen += usize::from(arguments.contains(place.dir.to_str().unwrap()));
        for secret in &secrets {
            assert!(!arguments.contains(secret), "a secret is in: {}", arguments.replace(secret, "<secret>"));
        }
    }
    assert!(seen >= 4, "supervisor, control plane and both proxies were looked at: {seen}");
    // What stays on the disk beside the secrets does not hold them either.
    for log in fs::read_dir(place.dir.join("logs")).unwrap() {
        let log = log.unwrap().path();
        let text = fs::read_to_string(&log).unwrap();
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "a secret is in {}", log.display());
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o077, 0, "{}", log.display());
    }
    assert!(running.stop().success);
}

/// Every line of every secret's file that is long enough to be one.
fn secrets_below(dir: &std::path::Path) -> Vec<String> {
    let mut secrets = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            secrets.extend(["api_key", "admin_token"].map(|member| harness::text(&json, member)));
        } else {
            let is_secret = |line: &&str| {
                line.len() >= 20 && !line.starts_with("portcullis-") && !line.starts_with("-----")
            };
            secrets.extend(text.lines().filter(is_secret).map(str::to_owned));
        }
    }
    secrets
}

/// A key of the right form that was never given out.
fn another_key() -> String {
    use secrecy::ExposeSecret as _;
    let entropy: &dyn seams::Entropy = &seams::SystemEntropy;
    crypto::key::mint(crypto::key::KeyKind::ApiKey, entropy).text.expose_secret().to_owned()
}
