#![no_main]
//! A `traceparent` is read or refused, prints as version 00 and reads back as itself; a `tracestate` that is passed on
//! fits a header and stays within its bounds.

use libfuzzer_sys::fuzz_target;
use telemetry::{
    TraceParent,
    trace_context::{MAX_TRACESTATE, TRACEPARENT_LENGTH, tracestate_is_valid},
};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(parent) = TraceParent::parse(text) {
        assert!(parent.trace_id != [0; 16] && parent.parent_id != [0; 8] && parent.flags <= 1);
        let printed = parent.to_string();
        assert_eq!(printed.len(), TRACEPARENT_LENGTH);
        assert_eq!(TraceParent::parse(&printed), Ok(parent));
        // The ids are copied, not read again in another way.
        assert_eq!(printed[2..52], text[2..52]);
    }
    if tracestate_is_valid(text) {
        assert!(text.len() <= MAX_TRACESTATE && text.split(',').count() <= 32);
        assert!(http::HeaderValue::from_str(text).is_ok());
    }
});
