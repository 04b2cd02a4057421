use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
    #[serde(default)]
    sizes: Vec<u8>,
    #[serde(default)]
    note: Option<String>,
}

fn places(error: ApiError) -> Vec<String> {
    match error {
        ApiError::Invalid(errors) => errors.into_iter().map(|error| error.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_places_are_named_by_pointer() {
    let wrong = |body: &str| places(from_slice::<Thing>(body.as_bytes()).unwrap_err());
    assert_eq!(wrong(r#"{"name":1}"#), ["/name"]);
    assert_eq!(wrong(r#"{"name":"a","sizes":[1,300]}"#), ["/sizes/1"]);
    assert_eq!(wrong(r#"{"sizes":[]}"#), ["/name"]);
    assert_eq!(wrong(r#"{"name":"a","x/y":1}"#), ["/x~1y"]);
    assert_eq!(wrong(r#"{"name":"a","name":"b"}"#), ["/name"]);
}

#[test]
fn enums_are_objects_with_one_member() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Subject {
        #[expect(dead_code, reason = "only whether it parses is looked at")]
        Size(u8),
        #[expect(dead_code, reason = "only whether it parses is looked at")]
        Name(String),
    }
    #[derive(Debug, Deserialize)]
    struct Holder {
        #[expect(dead_code, reason = "only whether it parses is looked at")]
        subject: Subject,
    }
    let wrong = |body: &str| places(from_slice::<Holder>(body.as_bytes()).unwrap_err());
    assert!(from_slice::<Holder>(br#"{"subject":{"size":1}}"#).is_ok());
    assert_eq!(wrong(r#"{"subject":{"size":300}}"#), ["/subject/size"]);
    assert_eq!(wrong(r#"{"subject":{"size":1,"name":"a"}}"#), ["/subject"]);
    assert_eq!(wrong(r#"{"subject":{"colour":1}}"#), ["/subject"]);
    assert_eq!(wrong(r#"{"subject":{}}"#), ["/subject"]);
}

#[test]
fn what_is_not_json_says_where() {
    let wrong = |body: &str| from_slice::<Thing>(body.as_bytes()).unwrap_err();
    assert!(matches!(wrong("{\n  nope"), ApiError::NotJson { line: 2, .. }));
    assert!(matches!(wrong(r#"{"name":"a"} x"#), ApiError::NotJson { .. }));
    assert!(matches!(wrong(""), ApiError::NotJson { .. }));
}

#[test]
fn nul_is_refused_before_it_reaches_the_database() {
    for wrong in [r#"{"name":"a\u0000b"}"#, r#"{"name":"\\\u0000"}"#] {
        assert!(
            matches!(from_slice::<Thing>(wrong.as_bytes()).unwrap_err(), ApiError::Malformed(_)),
            "{wrong}"
        );
    }
    assert_eq!(from_slice::<Thing>(br#"{"name":"\\u0000"}"#).unwrap().name, r"\u0000");
    assert!(!has_nul(b"\\"));
}

#[test]
fn merge_patch_replaces_removes_and_refuses() {
    let present = Thing { name: "a".into(), sizes: vec![1, 2], note: Some("n".into()) };
    let patch = |value: serde_json::Value| match value {
        serde_json::Value::Object(map) => MergePatch(map).apply(&present),
        _ => panic!(),
    };
    let changed = patch(json!({"sizes": [3], "note": null})).unwrap();
    assert_eq!(changed, Thing { name: "a".into(), sizes: vec![3], note: None });
    assert_eq!(places(patch(json!({"nmae": "x"})).unwrap_err()), ["/nmae"]);
    assert_eq!(places(patch(json!({"name": null})).unwrap_err()), ["/name"]);
    assert_eq!(places(patch(json!({"sizes": ["x"]})).unwrap_err()), ["/sizes/0"]);
}

#[test]
fn media_types_match_without_parameters() {
    let mut headers = HeaderMap::new();
    assert!(!is(&headers, "application/json"));
    headers.insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
    assert!(is(&headers, "application/json"));
    assert!(!is(&headers, "application/merge-patch+json"));
}
