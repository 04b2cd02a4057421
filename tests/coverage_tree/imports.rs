//! architecture.md "Who may import whom", as tests.

use std::collections::BTreeMap;

use crate::tree::{self, Source};

/// Rule 1: decisions are pure. Words that would bring I/O or a clock into a pure crate.
const IMPURE: &[&str] = &[
    "tokio::",
    "sqlx::",
    "axum::",
    "tonic::",
    "redis::",
    "std::fs",
    "std::net::Tcp",
    "SystemTime",
    "Instant::now",
];

#[test]
fn pure_crates_have_no_io_and_no_clock() {
    let pure = [
        "shared/ids",
        "shared/policy",
        "shared/limits",
        "shared/errors",
        "shared/seams",
        "shared/mcp",
        "shared/http1",
        "shared/egress",
    ];
    let offences: Vec<_> = tree::sources(&pure, &[".rs"])
        .iter()
        // The one seam to the machine's clock.
        .filter(|source| source.path != "shared/seams/src/system.rs" && !source.is_test())
        .flat_map(|source| uses(source, IMPURE))
        .collect();
    assert!(offences.is_empty(), "{offences:#?}");
}

/// Rule 2: the planes meet only in `wire`; `cli` and `tests` alone see both. Read from what cargo resolves.
#[test]
fn planes_do_not_depend_on_each_other() {
    let dependencies = workspace_dependencies();
    assert!(!dependencies["portcullis-control-plane"].contains("data-plane"));
    assert!(!dependencies["portcullis-data-plane"].contains("control-plane"));
    for (package, text) in &dependencies {
        let sees_both = text.contains("control-plane") && text.contains("data-plane");
        let may = ["portcullis", "portcullis-tests"].contains(&package.as_str());
        assert!(!sees_both || may, "{package} depends on both planes");
    }
}

/// Rule 3: SQL lives in `queries.rs` files and `db.rs`.
#[test]
fn sql_is_only_in_queries_and_db() {
    let allowed = |path: &str| {
        path.ends_with("/queries.rs")
            || path.contains("/queries/")
            || path == "control-plane/src/db.rs"
            || path.starts_with("control-plane/src/db/")
    };
    let offences: Vec<_> =
        tree::sources(&["control-plane/src", "data-plane/src", "cli/src", "shared"], &[".rs"])
            .iter()
            .filter(|source| !allowed(&source.path) && !source.is_test())
            .flat_map(|source| uses(source, &["sqlx::"]))
            .collect();
    assert!(offences.is_empty(), "{offences:#?}");
}

/// Rule 4: checks neither import each other nor the way out; only the pipeline sees all.
#[test]
fn checks_see_neither_each_other_nor_upstream() {
    let offences: Vec<_> = tree::sources(&["data-plane/src/checks"], &[".rs"])
        .iter()
        .filter(|source| !source.path.ends_with("/mod.rs") && !source.is_test())
        .flat_map(|source| uses(source, &["crate::upstream", "super::super::upstream"]))
        .collect();
    assert!(offences.is_empty(), "{offences:#?}");
}

/// Rule 5: one panic strategy, so that a panic while applying configuration is a Nack.
#[test]
fn no_profile_aborts_on_panic() {
    let manifest = std::fs::read_to_string(tree::root().join("Cargo.toml")).unwrap();
    assert!(!manifest.replace(' ', "").contains("panic=\"abort\""));
}

fn uses(source: &Source, words: &[&str]) -> Vec<String> {
    let mut in_tests = false;
    source
        .code_lines()
        .filter(|(_, line)| {
            in_tests |= line.trim() == "mod tests {";
            !in_tests && words.iter().any(|word| line.contains(word))
        })
        .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
        .collect()
}

/// Each member's `[dependencies]`, by package name.
fn workspace_dependencies() -> BTreeMap<String, String> {
    tree::sources(&["shared", "control-plane", "data-plane", "cli", "tests"], &["Cargo.toml"])
        .into_iter()
        .map(|manifest| {
            let name = manifest.text.split("name = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            let dependencies = manifest.text.split("[dependencies]").nth(1).unwrap_or_default();
            let dependencies = dependencies.split("\n[").next().unwrap_or_default().to_owned();
            (name, dependencies)
        })
        .collect()
}
