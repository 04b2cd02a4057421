use telemetry::TelemetryConfig;

/// Logs and traces of a plane.
#[derive(Debug, clap::Args)]
pub(super) struct LogOptions {
    /// Which log lines: level or `target=level`, comma-separated
    #[arg(long, env = "PORTCULLIS_LOG", default_value = "info")]
    log: String,
    /// OTLP collector (gRPC) for traces; off when absent
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

impl LogOptions {
    /// Whether spans go anywhere.
    pub(super) fn traces(&self) -> bool {
        self.otlp_endpoint.is_some()
    }

    /// Starts logging; flushes when the guard is dropped.
    pub(super) fn start(
        &self,
        service_name: &'static str,
    ) -> Result<telemetry::Guard, telemetry::TelemetryError> {
        telemetry::init(TelemetryConfig {
            json_logs: true,
            filter: self.log.clone(),
            otlp_endpoint: self.otlp_endpoint.clone(),
            service_name: service_name.into(),
        })
    }
}
