//! The admin listener: health and metrics, for the machines that run the control plane.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::app::Core;

#[derive(Clone)]
struct Health {
    core: Core,
    started: Arc<AtomicBool>,
}

/// Whether start-up is over; shared with `/startupz`.
#[derive(Debug, Clone, Default)]
pub struct Started(Arc<AtomicBool>);

impl Started {
    /// Start-up is over.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The listener's routes.
pub fn routes(core: Core, started: Started) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/health", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/startupz", get(startup))
        .route("/metrics", get(metrics))
        .with_state(Health { core, started: started.0 })
}

/// Ready: started, not stopping, Postgres answers.
async fn ready(State(health): State<Health>) -> Response {
    if health.core.tasks.stopping().is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    if !health.started.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting").into_response();
    }
    match health.core.store.ping().await {
        Ok(()) => "ok".into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "postgres does not answer").into_response(),
    }
}

async fn startup(State(health): State<Health>) -> Response {
    if health.started.load(Ordering::Acquire) {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting").into_response()
    }
}

async fn metrics() -> Response {
    let text = telemetry::metrics_handle().render();
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text).into_response()
}
