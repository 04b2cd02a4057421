//! How long upstreams take, and the gateway itself. Handles are looked up once per worker and set of labels.

use std::{cell::RefCell, time::Duration};

use ::mcp::Method;
use errors::ErrorCode;
use metrics::Histogram;
use telemetry::metric;

use crate::snapshot::index::Map;

/// What a duration is filed under.
type Label = (Option<Method>, Option<ErrorCode>);

/// One worker's handles.
pub(super) struct Meters {
    operations: RefCell<Map<Label, Histogram>>,
    overhead: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self { operations: RefCell::default(), overhead: metrics::histogram!(metric::OVERHEAD) }
    }

    /// An upstream has answered, or failed to.
    pub(super) fn operation(&self, method: Option<Method>, code: Option<ErrorCode>, took: Duration) {
        let mut operations = self.operations.borrow_mut();
        let histogram = operations.entry((method, code)).or_insert_with(|| {
            metrics::histogram!(
                metric::MCP_CLIENT_OPERATION,
                "mcp_method_name" => method.map_or("none", Method::as_str),
                "error_type" => code.map_or("none", ErrorCode::slug),
            )
        });
        histogram.record(took.as_secs_f64());
    }

    /// The part of a call that was not the upstream's.
    pub(super) fn overhead(&self, took: Duration) {
        self.overhead.record(took.as_secs_f64());
    }
}
