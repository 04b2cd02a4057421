//! Joining a span to the trace of whoever called.

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::TraceParent;

/// Makes `span` a child of the caller's. Before the span is entered; without an exporter nothing happens.
pub fn child_of(span: &Span, parent: TraceParent) {
    // Fails where no span is exported, which is no fault.
    let _ = span.set_parent(Context::new().with_remote_span_context(remote(parent)));
}

/// Links `span` to another context of the same call, which is not its parent.
pub fn linked_to(span: &Span, other: TraceParent) {
    span.add_link(remote(other));
}

fn remote(parent: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.parent_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    )
}
