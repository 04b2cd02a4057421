//! Health and metrics of one proxy, and the way in for offline kill orders, on a listener of their own. The gateway listener
//! has none of this.

use std::{convert::Infallible, future::Future, io, net::TcpListener, sync::Arc, time::Duration};

use bytes::Bytes;
use errors::{ErrorCode, problem::Problem};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use telemetry::MetricsHandle;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use wire::kill::MAX_ORDER;

use crate::{app::Shared, drain::Phase, redis};

/// Observations wait in buffers until something takes them out; where nobody scrapes, this does.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// For an order to arrive.
const ORDER_TIME: Duration = Duration::from_secs(10);
/// Open connections at once.
const CONNECTIONS: usize = 64;

/// Serves until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    connected: watch::Receiver<bool>,
    metrics: MetricsHandle,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let health = Arc::new(Health { shared, connected, metrics });
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                let Ok((stream, _)) = accepted else { continue };
                let health = Arc::clone(&health);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let health = Arc::clone(&health);
                        async move { Ok::<_, Infallible>(health.serve(request).await) }
                    });
                    let serving = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(Duration::from_secs(30))
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "admin connection ended");
                    }
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = upkeep.tick() => health.metrics.upkeep(),
        }
    }
}

/// Runs `serving` until `stopping`, and logs why it could not.
pub(crate) async fn until(serving: impl Future<Output = io::Result<()>>, stopping: CancellationToken) {
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "admin listener failed");
        },
        () = stopping.cancelled() => {}
    }
}

struct Health {
    shared: Arc<Shared>,
    connected: watch::Receiver<bool>,
    metrics: MetricsHandle,
}

impl Health {
    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() == Method::POST && request.uri().path() == "/kill-orders" {
            return self.order(request.into_body()).await;
        }
        self.answer(&request)
    }

    /// Whoever reaches this listener may hand in an order: its signature decides. The answer comes when it is in force.
    async fn order(&self, body: Incoming) -> Response<Full<Bytes>> {
        let read = tokio::time::timeout(ORDER_TIME, Limited::new(body, MAX_ORDER).collect());
        let text = match read.await {
            Ok(Ok(text)) => text.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        match self.shared.kills.obey(&text).await {
            Ok(()) => plain(StatusCode::OK, "application/json", json!({"status": "in force"}).to_string()),
            Err(error) => {
                let code = ErrorCode::KillOrderRefused;
                tracing::error!(error.code = code.slug(), error.cause = %error, "kill order refused");
                let problem = Problem::new(code).with_detail(error.to_string());
                plain(
                    StatusCode::FORBIDDEN,
                    errors::problem::CONTENT_TYPE,
                    String::from_utf8_lossy(&problem.to_json()).into_owned(),
                )
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response =
                plain(StatusCode::METHOD_NOT_ALLOWED, "application/json", json!({}).to_string());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            // Alive is whoever answers.
            "/livez" | "/health" => self.report(true),
            "/readyz" | "/ready" => self.report(self.takes_calls()),
            "/startupz" => self.report(self.shared.ready.is_whole()),
            "/metrics" => plain(StatusCode::OK, telemetry::CONTENT_TYPE, self.metrics.render()),
            _ => plain(StatusCode::NOT_FOUND, "application/json", json!({}).to_string()),
        }
    }

    fn takes_calls(&self) -> bool {
        self.shared.ready.is_ready() && self.shared.drain.phase() == Phase::Serving
    }

    fn report(&self, good: bool) -> Response<Full<Bytes>> {
        let phase = match self.shared.drain.phase() {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Ending => "ending",
        };
        let (counted, proxies) = self.shared.limiter.state();
        let body = json!({
            "status": if good { "ok" } else { "unavailable" },
            "phase": phase,
            // `archived`: from this proxy's disk, and not confirmed by a control plane since it started.
            "configuration": self.shared.ready.state(),
            "configuration_age_seconds": self.shared.ready.age_secs(),
            // Serving goes on without the control plane, so this alone makes nothing unready.
            "control": if *self.connected.borrow() { "connected" } else { "unreachable" },
            // Nor without Redis: each proxy then admits its share.
            "redis": redis::state(self.shared.redis.as_ref()),
            "limits": { "counted": counted.as_str(), "proxies": proxies },
            "tenants": self.shared.snapshots.load().len(),
        });
        let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        plain(status, "application/json", body.to_string())
    }
}

fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
