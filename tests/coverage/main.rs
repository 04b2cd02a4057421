//! Absence of a test, a page or a description is a failure.

/// `openapi/admin.json` is what the code describes.
#[test]
fn the_committed_openapi_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/admin.json");
    let committed = std::fs::read_to_string(path).unwrap();
    let generated = control_plane::http::openapi::document();
    assert!(committed.trim_end() == generated.trim_end(), "run `make openapi` and commit openapi/admin.json");
}
