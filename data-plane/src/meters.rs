//! Metrics of the request path. Handles are looked up once per worker and set of labels, so that counting a call is a
//! few atomic operations. Labels are bounded: methods and revisions are closed enums, outcomes are slugs of the errors
//! catalogue.

use std::{cell::RefCell, sync::Arc, time::Duration};

use ::mcp::{Method, Revision};
use errors::ErrorCode;
use metrics::{Counter, Gauge, Histogram};
use telemetry::metric;

use crate::{snapshot::index::Map, tally::Tally};

/// What a duration is filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Label {
    pub(crate) method: Option<Method>,
    pub(crate) revision: Option<Revision>,
    pub(crate) code: Option<ErrorCode>,
}

/// One worker's handles.
pub(crate) struct Meters {
    durations: RefCell<Map<Label, Histogram>>,
    refusals: RefCell<Map<ErrorCode, Counter>>,
    in_flight: Gauge,
    connections: Gauge,
    tally: Arc<Tally>,
}

impl Meters {
    /// A connection had to go because its address has as many as it may.
    pub(crate) fn turned_away(&self) {
        self.tally.turn_away();
    }

    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self {
            tally,
            durations: RefCell::default(),
            refusals: RefCell::default(),
            in_flight: metrics::gauge!(metric::REQUESTS_IN_FLIGHT),
            connections: metrics::gauge!(metric::CONNECTIONS),
        }
    }

    /// One more request ended so, after so long; `known`: its caller is.
    pub(crate) fn ended(&self, label: Label, took: Duration, known: bool) {
        if known {
            self.tally.count(label.code);
        }
        let mut durations = self.durations.borrow_mut();
        let histogram = durations.entry(label).or_insert_with(|| {
            metrics::histogram!(
                metric::MCP_SERVER_OPERATION,
                "mcp_method_name" => label.method.map_or("none", Method::as_str),
                "mcp_protocol_version" => label.revision.map_or("none", Revision::as_str),
                "error_type" => label.code.map_or("none", ErrorCode::slug),
            )
        });
        histogram.record(took.as_secs_f64());
    }

    /// One more refusal.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let mut refusals = self.refusals.borrow_mut();
        refusals
            .entry(code)
            .or_insert_with(|| metrics::counter!(metric::REFUSALS, "code" => code.slug()))
            .increment(1);
    }

    /// A request is being served as long as the returned value lives.
    pub(crate) fn in_flight(&self) -> Counted {
        Counted::new(self.in_flight.clone())
    }

    /// A connection is open as long as the returned value lives.
    pub(crate) fn connection(&self) -> Counted {
        Counted::new(self.connections.clone())
    }
}

/// One unit of a gauge; taken off when dropped.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
