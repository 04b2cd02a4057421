//! Starting logs and traces.

use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _, tonic_types,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::ParseError, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How long ending waits for spans to be sent.
const FLUSH: Duration = Duration::from_secs(5);

/// What to log and where to trace to.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// One JSON object a line, instead of text for people.
    pub json_logs: bool,
    /// Which spans and events, in the syntax of `tracing_subscriber::EnvFilter`: `info,portcullis_data_plane=debug`.
    pub filter: String,
    /// OTLP/gRPC collector (`http://127.0.0.1:4317`). Nothing is exported without one.
    pub otlp_endpoint: Option<String>,
    /// `service.name` of exported spans.
    pub service_name: String,
}

/// Why logs or traces could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter is not valid")]
    Filter(#[source] ParseError),
    /// The exporter refused its endpoint.
    #[error("OTLP exporter cannot be built")]
    Exporter(#[source] ExporterBuildError),
    /// Exporting needs an async runtime, and there is none here.
    #[error("OTLP export must be started inside an async runtime")]
    NoRuntime,
    /// The process logs already.
    #[error("logging is started already in this process")]
    AlreadyStarted,
}

/// Keeps export running. When dropped, spans that are still waiting are sent, for at most five seconds.
#[must_use = "dropping the guard ends the export of spans"]
#[derive(Debug)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is waiting and ends. The same as dropping it. Blocks: on a current-thread runtime call it where blocking
    /// is allowed.
    pub fn shutdown(self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.provider.take().map(|provider| provider.shutdown_with_timeout(FLUSH)) {
            tracing::warn!(%error, "spans may have been lost while ending");
        }
    }
}

/// Starts logs on standard error, and the export of spans if there is an endpoint. Once a process.
///
/// # Errors
/// If the filter or the endpoint is not valid, if exporting was asked for outside a runtime, or at a second call.
pub fn init(config: TelemetryConfig) -> Result<Guard, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(TelemetryError::Filter)?;
    let provider = config.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, &config)).transpose()?;
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("portcullis")));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = if config.json_logs {
        logs.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(traces)
        .with(logs)
        .try_init()
        .map_err(|_| TelemetryError::AlreadyStarted)?;
    Ok(Guard { provider })
}

fn exporter(endpoint: &str, config: &TelemetryConfig) -> Result<SdkTracerProvider, TelemetryError> {
    // The exporter's channel spawns its connection on the current runtime and panics without one.
    tokio::runtime::Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
    let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if endpoint.starts_with("https:") {
        builder = builder.with_tls_config(tonic_types::transport::ClientTlsConfig::new().with_webpki_roots());
    }
    let exporter = builder.build().map_err(TelemetryError::Exporter)?;
    let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
