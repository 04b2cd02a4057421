//! Every metric: name, unit, labels, and what it says.
//!
//! Names end in their base unit, or in `_total` for counters. Labels come from closed sets alone: an error slug, an MCP
//! method of the closed enum, a route's pattern. No tenant, client or tool name is a label, since their number has no bound.

use metrics::Unit;

/// How a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name as exposed.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// Base unit.
    pub unit: Unit,
    /// Label names.
    pub labels: &'static [&'static str],
    /// One line for `# HELP`.
    pub help: &'static str,
}

/// Buckets of operations, in seconds (semantic conventions for MCP).
pub const DURATION_BUCKETS: &[f64] =
    &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Buckets of what the gateway itself takes, in seconds: it is meant to stay under a millisecond.
pub const FINE_BUCKETS: &[f64] =
    &[0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0];

/// Buckets of a single check, in seconds: most take less than a microsecond, and none may take a millisecond.
pub const CHECK_BUCKETS: &[f64] = &[
    0.000_000_1,
    0.000_000_2,
    0.000_000_3,
    0.000_000_5,
    0.000_000_7,
    0.000_001,
    0.000_002,
    0.000_003,
    0.000_005,
    0.000_007,
    0.000_01,
    0.000_015,
    0.000_02,
    0.000_03,
    0.000_05,
    0.000_07,
    0.000_1,
    0.000_2,
    0.000_5,
    0.001,
    0.002,
    0.005,
    0.01,
    0.1,
];

/// Histograms that use [`FINE_BUCKETS`].
pub const FINE: &[&str] = &[OVERHEAD, AUDIT_SYNC, SNAPSHOT_APPLY];

macro_rules! metrics {
    ($($konst:ident $name:literal $kind:ident $unit:ident [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $konst: &str = $name;)*

        /// Every metric, in the order above.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help,
        },)*];
    };
}

metrics! {
    // Calls.
    MCP_SERVER_OPERATION "mcp_server_operation_duration_seconds" Histogram Seconds
        ["mcp_method_name", "mcp_protocol_version", "error_type"]
        "Time from the request's last byte to the answer's last byte, towards the agent.";
    MCP_CLIENT_OPERATION "mcp_client_operation_duration_seconds" Histogram Seconds
        ["mcp_method_name", "error_type"]
        "Time from sending a request to an upstream to its answer's last byte.";
    OVERHEAD "portcullis_overhead_seconds" Histogram Seconds []
        "Time a forwarded call spent in the gateway itself, without the upstream's.";
    CHECK "portcullis_check_seconds" Histogram Seconds ["check"]
        "Time of each check a request came to, and `all` of a request that passed. Only while the log filter has `portcullis::checks=debug`.";
    REFUSALS "portcullis_refusals_total" Counter Count ["code"]
        "Refused requests by error code.";
    REQUESTS_IN_FLIGHT "portcullis_requests_in_flight" Gauge Count []
        "Requests being served now.";
    CONNECTIONS "portcullis_connections" Gauge Count []
        "Open connections of callers.";
    UPSTREAM_NOTICES_DROPPED "portcullis_upstream_notices_dropped_total" Counter Count []
        "Notices about upstreams, such as a changed definition, that found their queue full.";
    UPSTREAM_MESSAGES_WITHHELD "portcullis_upstream_messages_withheld_total" Counter Count []
        "Messages of upstreams that were not passed on: unknown, switched off, or not valid.";
    UPSTREAM_ATTEMPTS "portcullis_upstream_attempts_total" Counter Count ["result"]
        "Addresses of upstreams that were dialled: `connected`, `failed`, `late`, or `overtaken` by another address of the same name.";
    UPSTREAM_RETRIES "portcullis_upstream_retries_total" Counter Count ["reason"]
        "Calls sent again because a server had closed an idle connection: `unsent`, nothing of it was written; `closed`, it may have been read and changes nothing.";
    UPSTREAM_ADDRESS_CHANGES "portcullis_upstream_address_changes_total" Counter Count ["to"]
        "Addresses of upstreams that were `ejected`, left alone for a while, or `restored`.";
    CIRCUIT_CHANGES "portcullis_circuit_changes_total" Counter Count ["of", "to"]
        "Breakers that went `open` or `closed`, each time anew, of an `upstream` or of one `tool`.";
    UPSTREAM_WAITING "portcullis_upstream_waiting" Gauge Count []
        "Calls that wait because their server has as many as it is given at once.";
    UPSTREAM_CROWDED "portcullis_upstream_crowded_total" Counter Count ["reason"]
        "Calls refused because their server was crowded: `queue_full`, `too_late`, or `gave_way` to more important ones.";

    // Listeners, either plane's.
    TLS_FILES_READ "portcullis_tls_files_read_total" Counter Count ["result"]
        "Times certificate files had changed and were read again: `loaded`, or `refused` where they could not be used.";
    TLS_FILES_REFUSED "portcullis_tls_files_refused" Gauge Count []
        "1 while the certificate files hold something that cannot be used and those read before are shown, else 0.";
    TLS_CERTIFICATE_REMAINING "portcullis_tls_certificate_remaining_seconds" Gauge Seconds []
        "Time until the first of the certificates in force expires; negative when it has.";
    TLS_HANDSHAKES_FAILED "portcullis_tls_handshakes_failed_total" Counter Count ["reason"]
        "TLS handshakes, and PROXY protocol headers before them, that led to no connection: `failed`, `timed_out`, or `gave_way` where newer ones needed the place.";

    // Configuration.
    SNAPSHOTS_APPLIED "portcullis_snapshots_applied_total" Counter Count ["result"]
        "Tenant snapshots received, by result: `applied`, or the code of the refusal.";
    SNAPSHOT_APPLY "portcullis_snapshot_apply_seconds" Histogram Seconds []
        "Time to decode, index and swap one tenant's snapshot.";
    CONTROL_CONNECTED "portcullis_control_connected" Gauge Count []
        "1 while the configuration stream to the control plane is up, else 0.";
    CONFIG_AGE "portcullis_config_age_seconds" Gauge Seconds []
        "Time since the control plane last confirmed that what is enforced is current, across restarts.";
    CLOCK_SKEW "portcullis_clock_skew_seconds" Gauge Seconds []
        "How far the control plane's clock is ahead of this machine's; beyond 2 s either way is an alarm.";
    ARCHIVE_DAMAGED "portcullis_config_archive_damaged_total" Counter Count []
        "Parts of the configuration kept on disk that were damaged, out of date, or another proxy's.";
    ARCHIVE_FAILURES "portcullis_config_archive_failures_total" Counter Count []
        "Times the configuration could not be kept on disk, or not be read from there.";

    // Redis, either plane's side.
    REDIS_UP "portcullis_redis_up" Gauge Count []
        "1 while Redis answers in time, else 0. Absent where none is configured.";
    LIMITS_BY_SHARE "portcullis_limits_by_share" Gauge Count []
        "1 while Redis is away and each proxy admits its share of every limit, else 0.";

    KILLS_IN_FORCE "portcullis_kills_in_force" Gauge Count []
        "What is stopped by the kill switch, without drills.";
    KILL_SETS_REFUSED "portcullis_kill_sets_refused_total" Counter Count []
        "Kill sets that were ignored because their signature or their body was wrong. Each is somebody's fault or an attack.";

    KILLS_UNSAVED "portcullis_kills_unsaved" Gauge Count []
        "Kills that this control plane knows of and that have no row yet, because they were ordered while Postgres was away.";
    KILL_FILES_UNREADABLE "portcullis_kill_files_unreadable" Gauge Count []
        "Files of kills without rows that this control plane could not read and has set aside. Each may hold a kill of which there is no record.";

    // Audit, proxy's side.
    AUDIT_RECORDS "portcullis_audit_records_total" Counter Count []
        "Audit records written to the spool.";
    AUDIT_REFUSED "portcullis_audit_refused_total" Counter Count []
        "Audit records the spool could not take; each is a call that was refused.";
    AUDIT_SPOOL_BYTES "portcullis_audit_spool_bytes" Gauge Bytes []
        "Bytes in the spool that the control plane has not acknowledged.";
    AUDIT_SYNC "portcullis_audit_sync_seconds" Histogram Seconds []
        "Time of one fsync of the spool.";
    AUDIT_CORRUPT_SEGMENTS "portcullis_audit_corrupt_segments_total" Counter Count []
        "Spool segments set aside because a record in their middle was damaged.";
    ISSUER_KEYS_FETCHED "portcullis_issuer_keys_fetched_total" Counter Count ["result"]
        "Key sets of external issuers that were asked for: `fetched`, or `failed`.";

    // Control plane.
    HTTP_SERVER_REQUEST "http_server_request_duration_seconds" Histogram Seconds
        ["http_request_method", "http_route", "http_response_status_code"]
        "Time to answer a request to the admin API.";
    PUBLISH "portcullis_publish_seconds" Histogram Seconds []
        "Time to compile and commit one configuration change.";
    PROXIES_CONNECTED "portcullis_proxies_connected" Gauge Count []
        "Proxies with an open configuration stream to this replica.";
    CONFIG_SENT "portcullis_config_sent_total" Counter Count ["kind"]
        "Revisions sent to proxies: `whole`, or `delta`, as what changed since the one they held.";
    CONFIG_RESYNCS "portcullis_config_resyncs_total" Counter Count ["reason"]
        "Tenants sent whole again: `misfit`, changes did not fit what a proxy held; `apart`, it held something else than was known.";
    ADMISSIONS_CROWDED "portcullis_admissions_crowded_total" Counter Count []
        "Streams of proxies that were to come again because too many came at once.";
    DOCUMENTS_FETCHED "portcullis_documents_fetched_total" Counter Count ["result"]
        "Documents of clients and key sets of issuers that were asked for: `fetched`, or `failed`.";
    CLIENT_AUTHENTICATIONS_FAILED "portcullis_client_authentications_failed_total" Counter Count []
        "Times somebody could not prove to be a client of a tenant's issuer. These are counted here alone: anybody can cause them.";
    SIGN_INS_FAILED "portcullis_sign_ins_failed_total" Counter Count []
        "Times an e-mail address and a password were not those of an account.";
    AUDIT_INGESTED "portcullis_audit_ingested_total" Counter Count []
        "Audit records stored.";
    AUDIT_GAPS "portcullis_audit_gaps_total" Counter Count []
        "Gaps found in proxies' audit sequences.";
    AUDIT_SET_ASIDE "portcullis_audit_set_aside_total" Counter Count []
        "Records of proxies that cannot stand in the audit log and were set aside with their bytes.";
}

/// Gives every metric its unit and help text at the installed recorder. [`crate::metrics_handle`] does it once.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}
