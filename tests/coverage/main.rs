//! Absence of a test, a page or a description is a failure.

mod changelog;
mod operations;
mod slugs;

use serde_json::Value;

/// The API as the code describes it.
fn api() -> Value {
    serde_json::from_str(&control_plane::http::openapi::document()).unwrap()
}

/// A file of the repository.
fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `openapi/admin.json` is what the code describes.
#[test]
fn the_committed_openapi_document_is_current() {
    let committed = file("openapi/admin.json");
    let generated = control_plane::http::openapi::document();
    assert!(committed.trim_end() == generated.trim_end(), "run `make openapi` and commit openapi/admin.json");
}
