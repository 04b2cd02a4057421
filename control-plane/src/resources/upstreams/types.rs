//! What an upstream and its credentials look like.

use ids::{CredentialId, Slug, UpstreamId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::v1::{Breaker, UpstreamConcurrency as Concurrency};

use crate::resources::fields::{Name, moment};

/// An MCP server behind endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct Upstream {
    /// Id.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: UpstreamId,
    /// Name in configuration files; never changes.
    pub slug: String,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: UpstreamSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of an upstream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSettings {
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// Its MCP endpoint: `https`, or `http` on loopback and on private addresses that an operator allowed.
    #[schema(example = "https://mcp.example.com/mcp", max_length = 2048)]
    pub url: String,
    /// Milliseconds to a connection.
    #[serde(default = "connect_timeout")]
    #[schema(minimum = 1, maximum = 60000, default = 5000)]
    pub connect_timeout_ms: u32,
    /// Milliseconds from the request's last byte to the response's first.
    #[serde(default = "first_byte_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 60000)]
    pub first_byte_timeout_ms: u32,
    /// Milliseconds between two reads of a response.
    #[serde(default = "idle_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 60000)]
    pub idle_timeout_ms: u32,
    /// Milliseconds for a whole call; streams that the caller keeps open are exempt.
    #[serde(default = "total_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 300000)]
    pub total_timeout_ms: u32,
    /// How its certificate is verified.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// When calls are refused without being tried, because the server, or a tool of it, fails.
    #[serde(default)]
    pub breaker: UpstreamBreaker,
    /// How many calls it is given at once, and what becomes of the others.
    #[serde(default)]
    pub concurrency: UpstreamConcurrency,
    /// Calls to a disabled upstream are refused.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// How an upstream's certificate is verified. It always is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM certificates trusted instead of the public roots.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// Name to verify instead of the URL's host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Keys one of which its certificate must have, beside being valid: `sha256/` and base64 of the SHA-256 of the subject public
    /// key info. Name the next key too, so that a change of keys needs nobody.
    #[serde(default)]
    #[schema(max_items = 8, example = json!(["sha256/YLh1dUR9y6Kja30RrAn7JKnbQG/uEtLMkBgFF2Fuihg="]))]
    pub pins: Vec<String>,
}

/// When a server, or one of its tools, is left alone. What counts as a failure: no connection, a time-out, an answer that breaks
/// off, a status 502, 503 or 504. What a server says, an error too, does not.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamBreaker {
    /// Failures in a row, of the server or of one tool; 0: never.
    #[serde(default = "breaker_failures")]
    #[schema(minimum = 0, maximum = 1000, default = 5)]
    pub failures: u32,
    /// Per cent of the calls of ten seconds, where there are 20 at least.
    #[serde(default = "breaker_failure_percent")]
    #[schema(minimum = 1, maximum = 100, default = 50)]
    pub failure_percent: u32,
    /// Milliseconds until a call is let through as a probe; after each that fails twice as long, up to a minute.
    #[serde(default = "breaker_open")]
    #[schema(minimum = 1, maximum = 600000, default = 5000)]
    pub open_ms: u32,
}

impl Default for UpstreamBreaker {
    fn default() -> Self {
        let Breaker { failures, failure_percent, open_ms } = Breaker::DEFAULT;
        Self { failures, failure_percent, open_ms }
    }
}

/// How many calls a server is given at once, by each proxy, and what becomes of the others: they wait, the important ones first,
/// or are refused where they would wait too long. Streams that callers keep open, and messages that need no answer, are not
/// counted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConcurrency {
    /// Calls at once; 0: as many as come.
    #[serde(default = "concurrency_max")]
    #[schema(minimum = 0, maximum = 100000, default = 0)]
    pub max: u32,
    /// Calls that wait; 0: none does.
    #[serde(default = "concurrency_queue")]
    #[schema(minimum = 0, maximum = 10000, default = 100)]
    pub queue: u32,
    /// Milliseconds that one waits at most, beside its time-outs.
    #[serde(default = "concurrency_wait")]
    #[schema(minimum = 1, maximum = 60000, default = 1000)]
    pub wait_ms: u32,
    /// Fewer than `max` while the server takes longer than usual.
    #[serde(default)]
    pub adaptive: bool,
}

impl Default for UpstreamConcurrency {
    fn default() -> Self {
        let Concurrency { max, queue, wait_ms, adaptive } = Concurrency::DEFAULT;
        Self { max, queue, wait_ms, adaptive }
    }
}

const fn concurrency_max() -> u32 {
    Concurrency::DEFAULT.max
}

const fn concurrency_queue() -> u32 {
    Concurrency::DEFAULT.queue
}

const fn concurrency_wait() -> u32 {
    Concurrency::DEFAULT.wait_ms
}

const fn breaker_failures() -> u32 {
    Breaker::DEFAULT.failures
}

const fn breaker_failure_percent() -> u32 {
    Breaker::DEFAULT.failure_percent
}

const fn breaker_open() -> u32 {
    Breaker::DEFAULT.open_ms
}

const fn connect_timeout() -> u32 {
    5_000
}

const fn first_byte_timeout() -> u32 {
    60_000
}

const fn idle_timeout() -> u32 {
    60_000
}

const fn total_timeout() -> u32 {
    300_000
}

const fn enabled() -> bool {
    true
}

/// An upstream to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamNew {
    /// Name in configuration files.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    pub slug: Slug,
    /// Name for people.
    #[schema(value_type = String, max_length = 100)]
    pub name: Name,
    /// Its MCP endpoint: `https`, or `http` on loopback and on private addresses that an operator allowed.
    #[schema(example = "https://mcp.example.com/mcp", max_length = 2048)]
    pub url: String,
    /// Milliseconds to a connection.
    #[serde(default = "connect_timeout")]
    #[schema(minimum = 1, maximum = 60000, default = 5000)]
    pub connect_timeout_ms: u32,
    /// Milliseconds from the request's last byte to the response's first.
    #[serde(default = "first_byte_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 60000)]
    pub first_byte_timeout_ms: u32,
    /// Milliseconds between two reads of a response.
    #[serde(default = "idle_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 60000)]
    pub idle_timeout_ms: u32,
    /// Milliseconds for a whole call; streams that the caller keeps open are exempt.
    #[serde(default = "total_timeout")]
    #[schema(minimum = 1, maximum = 3600000, default = 300000)]
    pub total_timeout_ms: u32,
    /// How its certificate is verified.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// When calls are refused without being tried, because the server, or a tool of it, fails.
    #[serde(default)]
    pub breaker: UpstreamBreaker,
    /// How many calls it is given at once, and what becomes of the others.
    #[serde(default)]
    pub concurrency: UpstreamConcurrency,
    /// Calls to a disabled upstream are refused.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

impl UpstreamNew {
    /// Slug and settings.
    #[must_use]
    pub fn split(self) -> (Slug, UpstreamSettings) {
        let Self {
            slug,
            name,
            url,
            connect_timeout_ms,
            first_byte_timeout_ms,
            idle_timeout_ms,
            total_timeout_ms,
            tls,
            breaker,
            concurrency,
            enabled,
        } = self;
        let settings = UpstreamSettings {
            name,
            url,
            connect_timeout_ms,
            first_byte_timeout_ms,
            idle_timeout_ms,
            total_timeout_ms,
            tls,
            breaker,
            concurrency,
            enabled,
        };
        (slug, settings)
    }
}

/// A header credential, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credential {
    /// Id.
    #[schema(value_type = String, example = "crd_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: CredentialId,
    /// The upstream it is presented to.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub upstream_id: UpstreamId,
    /// Header in which it is sent, lower case.
    pub header: String,
    /// The same for the same value; tells nothing about it.
    pub fingerprint: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When its value was last replaced.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// A header credential to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialNew {
    /// Header in which it is sent.
    #[schema(example = "authorization")]
    pub header: String,
    /// The header's whole value, such as `Bearer …`. Never shown again.
    #[schema(value_type = String, min_length = 1, max_length = 8192)]
    pub value: secrecy::SecretString,
}

/// A credential's new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialValue {
    /// The header's whole value, such as `Bearer …`. Never shown again.
    #[schema(value_type = String, min_length = 1, max_length = 8192)]
    pub value: secrecy::SecretString,
}
