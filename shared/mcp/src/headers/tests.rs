use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{HeaderFault, NAME, ParamHeaderError, ParamHeaders, decode, encode, single, verify_params};
use crate::raw::Raw;
use crate::testing;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

/// The table of "Value Encoding".
#[test]
fn values_are_encoded_as_the_specification_shows() {
    for (value, encoded) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("a b\tc", "a b\tc"),
    ] {
        assert_eq!(encode(value), encoded);
        assert_eq!(decode(encoded).unwrap(), value);
    }
}

#[test]
fn only_the_exact_sentinel_is_decoded() {
    for literal in ["SGVsbG8=", "=?base64?SGVsbG8=", "SGVsbG8=?=", "=?BASE64?SGVsbG8=?=", "=?base64?=", ""] {
        assert_eq!(decode(literal).unwrap(), literal);
    }
    for broken in ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?SGVsbG9=?=", "=?base64?/w==?="] {
        assert_eq!(decode(broken), Err(HeaderFault::Base64), "{broken}");
    }
    assert_eq!(decode("=?base64??=").unwrap(), "");
}

#[test]
fn a_header_has_one_plain_value() {
    assert_eq!(single(&headers(&[]), &NAME), Ok(None));
    assert_eq!(single(&headers(&[("MCP-NAME", " \t a b \t")]), &NAME), Ok(Some("a b")));
    assert_eq!(single(&headers(&[("mcp-name", "a"), ("Mcp-Name", "a")]), &NAME), Err(HeaderFault::Repeated));
    assert_eq!(single(&headers(&[("mcp-name", "caf\u{e9}")]), &NAME), Err(HeaderFault::Characters));
    let long = "a".repeat(super::MAX_VALUE_BYTES + 1);
    assert_eq!(single(&headers(&[("mcp-name", &long)]), &NAME), Err(HeaderFault::TooLong));
}

const DEFINITION: &str = r#"{"name":"t","inputSchema":{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "count":{"type":"integer","x-mcp-header":"Count"},
    "dry":{"type":"boolean","x-mcp-header":"Dry-Run"},
    "where":{"type":"object","properties":{"zone":{"type":"string","x-mcp-header":"Zone"}}},
    "free":{"type":"string"}}}}"#;

fn verify(arguments: &str, list: &[(&str, &str)]) -> bool {
    let definition = Raw::parse(DEFINITION.as_bytes()).unwrap();
    let arguments = Raw::parse(arguments.as_bytes()).unwrap();
    match verify_params(definition, Some(arguments), &headers(list)) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!((error.number(), error.status()), (-32020, 400));
            false
        }
    }
}

#[test]
fn mirrored_parameters_equal_their_arguments() {
    assert!(verify("{}", &[]));
    assert!(verify(r#"{"free":"x"}"#, &[("mcp-param-free", "y"), ("mcp-param-unknown", "z")]));
    assert!(verify(r#"{"region":"Hello"}"#, &[("Mcp-Param-Region", "=?base64?SGVsbG8=?=")]));
    assert!(verify(r#"{"region":"He\u006clo"}"#, &[("mcp-param-REGION", " Hello ")]));
    assert!(verify(r#"{"region":"=?base64?SGVsbG8="}"#, &[("mcp-param-region", "=?base64?SGVsbG8=")]));
    assert!(verify(r#"{"region":null}"#, &[]));
    assert!(verify(r#"{"where":{"zone":"a"}}"#, &[("mcp-param-zone", "a")]));
    for (argument, header) in [("42", "42.0"), ("42.0", "42"), ("-7", "-7"), ("4.2e1", "42"), ("0", "-0")] {
        assert!(
            verify(&format!("{{\"count\":{argument}}}"), &[("mcp-param-count", header)]),
            "{argument} {header}"
        );
    }
    assert!(verify(r#"{"dry":true}"#, &[("mcp-param-dry-run", "true")]));

    assert!(!verify(r#"{"region":"a"}"#, &[]));
    assert!(!verify(r#"{"region":"a"}"#, &[("mcp-param-region", "A")]));
    assert!(!verify(r#"{"region":"a"}"#, &[("mcp-param-region", "a"), ("mcp-param-region", "a")]));
    assert!(!verify(r#"{"region":"Hello"}"#, &[("mcp-param-region", "=?base64?SGVsbG8?=")]));
    assert!(!verify(r#"{"region":"caf\u00e9"}"#, &[("mcp-param-region", "café")]));
    assert!(!verify("{}", &[("mcp-param-region", "a")]));
    assert!(!verify(r#"{"region":null}"#, &[("mcp-param-region", "null")]));
    assert!(!verify(r#"{"region":{"a":1}}"#, &[("mcp-param-region", "{}")]));
    assert!(!verify(r#"{"where":{"zone":"a"}}"#, &[]));
    assert!(!verify(r#"{"dry":true}"#, &[("mcp-param-dry-run", "True")]));
    for (argument, header) in [
        ("42", "43"),
        ("42", "+42"),
        ("42", "0x2a"),
        ("42", ""),
        ("12345678901234567890", "12345678901234567891"),
    ] {
        assert!(
            !verify(&format!("{{\"count\":{argument}}}"), &[("mcp-param-count", header)]),
            "{argument} {header}"
        );
    }
}

#[test]
fn unusable_annotations_are_refused() {
    let compile = |schema: &str| {
        let definition = format!(r#"{{"name":"t","inputSchema":{schema}}}"#);
        ParamHeaders::compile(Raw::parse(definition.as_bytes()).unwrap())
    };
    let property = |rest: &str| format!(r#"{{"properties":{{"a":{{{rest}}}}}}}"#);
    for name in [r#""""#, r#""a b""#, r#""a:b""#, r#""a\r\nb""#, "1", "null", r#""é""#] {
        assert_eq!(
            compile(&property(&format!(r#""type":"string","x-mcp-header":{name}"#))),
            Err(ParamHeaderError::Name)
        );
    }
    for kind in [r#""number""#, r#""object""#, r#""array""#, r#"["string","null"]"#, "1"] {
        assert_eq!(
            compile(&property(&format!(r#""type":{kind},"x-mcp-header":"A""#))),
            Err(ParamHeaderError::Type)
        );
    }
    assert_eq!(compile(&property(r#""x-mcp-header":"A""#)), Err(ParamHeaderError::Type));
    let annotated = r#"{"type":"string","x-mcp-header":"A"}"#;
    assert_eq!(
        compile(&format!(
            r#"{{"properties":{{"a":{annotated},"b":{{"type":"string","x-mcp-header":"a"}}}}}}"#
        )),
        Err(ParamHeaderError::Duplicate)
    );
    for schema in [
        r#"{"type":"string","x-mcp-header":"A"}"#.to_owned(),
        format!(r#"{{"items":{annotated}}}"#),
        format!(r#"{{"allOf":[{annotated}]}}"#),
        format!(r#"{{"not":{{"properties":{{"a":{annotated}}}}}}}"#),
        format!(r#"{{"$defs":{{"x":{annotated}}}}}"#),
        format!(r#"{{"properties":{{"a":{{"type":"array","items":{annotated}}}}}}}"#),
        format!(r#"{{"properties":{{"a":{{"oneOf":[{{"properties":{{"b":{annotated}}}}}]}}}}}}"#),
        format!(r#"{{"if":{annotated}}}"#),
        format!(r#"{{"patternProperties":{{".":{annotated}}}}}"#),
    ] {
        assert_eq!(compile(&schema), Err(ParamHeaderError::Place), "{schema}");
    }
    for schema in [
        "{}".to_owned(),
        "true".to_owned(),
        format!(r#"{{"default":{annotated},"examples":[{annotated}],"enum":[{annotated}]}}"#),
        r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#.to_owned(),
    ] {
        assert!(compile(&schema).unwrap().is_empty(), "{schema}");
    }
    assert!(ParamHeaders::compile(Raw::parse(b"{}").unwrap()).unwrap().is_empty());
    assert!(!compile(&property(r#""type":"string","x-mcp-header":"A""#)).unwrap().is_empty());
}

proptest! {
    #[test]
    fn any_value_survives_a_header(value in testing::text()) {
        let encoded = encode(&value).into_owned();
        let carried = HeaderValue::from_bytes(encoded.as_bytes()).unwrap();
        let map: HeaderMap = [(NAME, carried)].into_iter().collect();
        prop_assert_eq!(decode(single(&map, &NAME).unwrap().unwrap()).unwrap(), value.as_str());
    }
}
