#![no_main]
//! An id has one spelling and one kind; a slug is made of what may stand in a URL; both print as they were read.

use ids::{ClientId, EndpointId, Id, Kind, Slug, SlugError, TenantId, ToolId, Uuid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(bytes) = input.first_chunk::<16>() {
        let id = TenantId::from_uuid(Uuid::from_bytes(*bytes));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<ClientId>().is_err());
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let kinds = [
        reads_as::<ids::kind::Tenant>(text),
        reads_as::<ids::kind::Client>(text),
        reads_as::<ids::kind::Grant>(text),
        reads_as::<ids::kind::Request>(text),
    ];
    assert!(kinds.into_iter().filter(|reads| *reads).count() <= 1);
    let _: (Result<EndpointId, _>, Result<ToolId, _>) = (text.parse(), text.parse());

    let shaped = (3..=40).contains(&input.len())
        && input.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && input.first() != Some(&b'-')
        && input.last() != Some(&b'-');
    match text.parse::<Slug>() {
        Ok(slug) => assert!(shaped && slug.as_str() == text && slug.to_string() == text),
        Err(SlugError::Reserved) => assert!(shaped),
        Err(SlugError::Shape) => assert!(!shaped),
    }
});

fn reads_as<K: Kind>(text: &str) -> bool {
    let read = text.parse::<Id<K>>();
    if let Ok(id) = &read {
        assert_eq!(id.to_string(), text);
    }
    read.is_ok()
}
