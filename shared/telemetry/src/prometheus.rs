//! Metrics in Prometheus text form. The process's own admin listener serves what [`MetricsHandle::render`] returns.

use std::{fmt, sync::OnceLock};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::metric;

/// Media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders this process's metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All metrics now.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Moves observations out of the buffers they wait in. Call it every few seconds where nothing renders: buffers grow
    /// until one of the two happens.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// The process's metrics. The first call installs the recorder; later ones, from whichever plane, share it.
///
/// If another recorder was installed before, this one stays empty and a warning is logged.
pub fn metrics_handle() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = builder().unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
            let handle = MetricsHandle(recorder.handle());
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed: /metrics will be empty");
            }
            metric::describe();
            handle
        })
        .clone()
}

/// # Errors
/// Only for an empty list of buckets, and none is.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    // Names of the semantic conventions end in `.duration`, without the unit.
    let mut builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), metric::DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("duration".to_owned()), metric::DURATION_BUCKETS)?;
    for name in metric::FINE {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), metric::FINE_BUCKETS)?;
    }
    builder.set_buckets_for_metric(Matcher::Full(metric::CHECK.to_owned()), metric::CHECK_BUCKETS)
}
