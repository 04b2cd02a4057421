//! What a write answers: the new state, its revision, and, when asked to wait, how far the proxies are.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ids::TenantId;
use serde::{Deserialize, Deserializer, Serialize};

use super::{etag::Etag, problem::ApiError};
use crate::{
    app::Core,
    publish::{commit::Published, convergence},
};

const REVISION: HeaderName = HeaderName::from_static("portcullis-revision");
const CONVERGENCE: HeaderName = HeaderName::from_static("portcullis-convergence");

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Query parameters of every write of a tenant's configuration.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// `applied`: answer when every live proxy of the tenant's pool has applied or rejected the change, or the time is up.
    #[param(inline)]
    wait: Option<WaitFor>,
    /// How long to wait at most, such as `5s` or `500ms`; 10 seconds if absent, 60 at most.
    #[serde(default, deserialize_with = "duration")]
    #[param(value_type = Option<String>, example = "10s")]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum WaitFor {
    Applied,
}

impl Wait {
    /// How long to wait for the proxies; `None`: not at all.
    #[must_use]
    pub fn within(&self) -> Option<Duration> {
        self.wait.map(|WaitFor::Applied| self.timeout.unwrap_or(DEFAULT_WAIT))
    }

    /// The same, or not at all for what will never be.
    #[must_use]
    pub fn unless(self, never: bool) -> Self {
        if never { Self { wait: None, ..self } } else { self }
    }
}

/// A duration in a query: digits and `s` or `ms`.
///
/// # Errors
/// If it is none, or over a minute.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let (digits, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis),
        None => (text.strip_suffix('s').unwrap_or(&text), Duration::from_secs),
    };
    let duration = digits.parse().ok().filter(|_| digits.len() <= 6).map(unit);
    duration
        .filter(|duration| *duration <= MAX_WAIT)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("must be a time of at most 60s, such as `5s` or `500ms`"))
}

/// An answer with a body and its entity tag.
#[derive(Debug)]
pub struct Reply {
    response: Response,
}

impl Reply {
    /// 200 with the resource.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it is not JSON.
    pub fn resource(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::with(StatusCode::OK, body)
    }

    /// `status` with the resource.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it is not JSON.
    pub fn with(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
        let etag = Etag::of_json(&body).to_header();
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(etag) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Ok(Self { response })
    }

    /// 201 with a resource whose `field` is a secret, which is answered this once: no entity tag, and nobody may store it.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if it is not JSON.
    pub fn secret(body: &impl Serialize, field: &'static str) -> Result<Self, ApiError> {
        let mut reply = Self::with(StatusCode::CREATED, body)?;
        reply.response.extensions_mut().insert(SecretField(field));
        reply.response.headers_mut().remove(header::ETAG);
        reply.response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(reply)
    }

    /// The same with how far the proxies are, for a caller that waited.
    #[must_use]
    pub fn converged(mut self, how_far: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(how_far) {
            self.response.headers_mut().insert(CONVERGENCE, value);
        }
        self
    }

    /// 204.
    #[must_use]
    pub fn nothing() -> Self {
        Self { response: StatusCode::NO_CONTENT.into_response() }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.response
    }
}

/// Where an answer holds its secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretField(pub(super) &'static str);

/// An answer that goes out when the proxies have a revision, or the time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Awaited {
    tenant: TenantId,
    rev: u64,
    within: Duration,
}

impl Awaited {
    /// Waits, and says in the answer how far the proxies are. No database connection is held while waiting.
    ///
    /// # Errors
    /// [`ApiError::Store`] if the proxies' progress cannot be read.
    pub(super) async fn settle(self, core: &Core, response: &mut Response) -> Result<(), ApiError> {
        let reached = convergence::wait(core, self.tenant, self.rev, self.within).await?;
        if let Ok(value) = HeaderValue::from_str(&reached.to_string()) {
            response.headers_mut().insert(CONVERGENCE, value);
        }
        Ok(())
    }
}

/// A write on its way to the caller.
#[derive(Debug)]
pub struct Written {
    tenant: TenantId,
    published: Published,
}

impl Written {
    /// Of this tenant and revision.
    #[must_use]
    pub const fn new(tenant: TenantId, published: Published) -> Self {
        Self { tenant, published }
    }

    /// Adds the revision to the write's own answer and, if `wait` says so, waits for the proxies first. Who commits later
    /// waits later; a dry run does not.
    ///
    /// # Errors
    /// [`ApiError::Store`] if the proxies' progress cannot be read.
    pub async fn answer(self, core: &Core, wait: &Wait, reply: Reply) -> Result<Response, ApiError> {
        let mut response = reply.response;
        let rev = self.published.rev;
        response.headers_mut().insert(REVISION, rev.into());
        if let Some(within) = wait.within() {
            let awaited = Awaited { tenant: self.tenant, rev, within };
            if self.published.committed {
                awaited.settle(core, &mut response).await?;
            } else {
                response.extensions_mut().insert(awaited);
            }
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let parse = |text: &str| duration(serde_json::Value::String(text.into())).ok().flatten();
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        for wrong in ["", "s", "61s", "-1s", "1m", "99999999999s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
