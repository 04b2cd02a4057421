//! `portcullis fleet`: what operators see of the proxies.

use std::process::Output;

use harness::{Site, eventually, processes, site::Plan, text};
use serde_json::{Value, json};

use crate::run::Place;

#[test]
fn a_run_shows_its_own_fleet() {
    let place = Place::new();
    let nothing = place.finish(place.command("fleet"));
    assert!(!nothing.success && nothing.text.contains("start one with `make up`"), "{nothing:?}");
    let _running = place.start(&[]);
    let proxy = place.result().0["proxies"][0]["id"].as_str().unwrap().to_owned();
    let shown = place.finish(place.command("fleet"));
    assert!(shown.success, "{shown:?}");
    let lines: Vec<_> = shown.text.lines().collect();
    assert!(lines[0].starts_with("PROXY") && lines[0].contains("SKEW"), "{shown:?}");
    assert!(lines[1].starts_with(&proxy) && lines[1].contains("  live  "), "{shown:?}");
    let mut diff = place.command("fleet");
    let same = place.finish(diff_of(&mut diff, &proxy));
    assert!(same.success && same.text.contains("enforces the current revision of every tenant"), "{same:?}");
}

fn diff_of(command: &mut std::process::Command, proxy: &str) -> std::process::Command {
    let mut line = std::process::Command::new(command.get_program());
    line.args(command.get_args()).args(["diff", proxy]);
    line
}

/// The fleet as the command prints it, as JSON.
fn fleet(site: &Site, arguments: &[&str]) -> Result<Value, String> {
    let url = format!("http://127.0.0.1:{}", site.control_ports(0)[0]);
    let mut line = processes::command("fleet");
    line.args(["--json", "--control-url", &url, "--operator-token-file"]).arg(site.operator_token_file());
    let Output { status, stdout, stderr } = line.args(arguments).output().unwrap();
    if status.success() {
        Ok(serde_json::from_slice(&stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&stderr).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_away_falls_behind_and_the_difference_is_named() {
    let mut site = Site::start(Plan::default()).await;
    let tenant = site.tenant("acme").await;
    tenant.post("/roles?wait=applied", json!({"name": "first"})).await;
    let proxy = text(&fleet(&site, &[]).unwrap()["items"][0], "id");
    eventually("its clock is known", async || {
        fleet(&site, &[]).unwrap()["items"][0]["clock_skew_ms"]
            .as_i64()
            .is_some_and(|skew| skew.abs() < 60_000)
    })
    .await;
    let shown = fleet(&site, &[]).unwrap()["items"][0].clone();
    assert_eq!((&shown["tenants_behind"], &shown["behind_since"]), (&json!(0), &Value::Null));
    assert_eq!(fleet(&site, &["diff", &proxy]).unwrap(), json!({"items": []}));

    site.take_proxy(0).kill();
    tenant.post("/clients", json!({"name": "second"})).await;
    let shown = fleet(&site, &[]).unwrap()["items"][0].clone();
    assert_eq!((&shown["tenants"], &shown["tenants_behind"]), (&json!(1), &json!(1)));
    assert!(shown["behind_since"].is_string());
    let diff = fleet(&site, &["diff", &proxy]).unwrap()["items"][0].clone();
    assert_eq!((&diff["slug"], &diff["standing"]), (&json!("acme"), &json!("behind")));
    assert_eq!(diff["rev"].as_u64().unwrap(), diff["applied_rev"].as_u64().unwrap() + 1);
    assert_ne!(diff["digest"], diff["applied_digest"]);

    site.start_proxy(0);
    site.proxy_ready(0).await;
    eventually("it has caught up", async || fleet(&site, &["diff", &proxy]).unwrap() == json!({"items": []}))
        .await;
    let unknown = fleet(&site, &["diff", "px_00000000000000000000000001"]).unwrap_err();
    assert!(unknown.contains("404"), "{unknown}");
}
