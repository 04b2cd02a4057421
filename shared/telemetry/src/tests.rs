use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{
    metric::{CHECK_BUCKETS, DURATION_BUCKETS, FINE, FINE_BUCKETS, Kind, METRICS},
    trace_context::{MAX_TRACESTATE, tracestate_is_valid},
};

/// The example of the specification, section 3.2.
const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn traceparent_of_the_specification() {
    let parent = TraceParent::parse(EXAMPLE).unwrap();
    assert!(parent.sampled());
    assert_eq!(parent.trace_id[..2], [0x4b, 0xf9]);
    assert_eq!(parent.parent_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(parent.to_string(), EXAMPLE);
    let child = parent.child([1; 8]).unwrap();
    assert_eq!(child.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0101010101010101-01");
    assert_eq!(parent.child([0; 8]), None);
    assert_eq!(TraceParent::new([0; 16], [1; 8], true), None);
}

#[test]
fn what_breaks_the_grammar_is_no_traceparent() {
    let upper = EXAMPLE.to_uppercase();
    let longer = format!("{EXAMPLE}-extra");
    let endless = format!("01{}-{}", &EXAMPLE[2..], "x".repeat(300));
    for text in [
        "",
        &EXAMPLE[..54],
        &upper,
        &longer,
        &endless,
        &EXAMPLE.replacen("00", "ff", 1),
        &EXAMPLE.replace('-', "_"),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
    ] {
        assert_eq!(TraceParent::parse(text), Err(TraceContextError), "{text}");
    }
    // A later version may go on after what version 00 defines.
    assert!(TraceParent::parse(&longer.replacen("00", "01", 1)).is_ok());
    // Flags this version does not define are not passed on.
    assert_eq!(TraceParent::parse(&EXAMPLE.replace("-01", "-ff")).unwrap().flags, 1);
}

#[test]
fn tracestate_is_passed_on_only_when_well_formed() {
    for good in
        ["", "rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE,rojo=1", "tenant@system=x , other=y", "a=b,,c=d"]
    {
        assert!(tracestate_is_valid(good), "{good}");
    }
    let long = format!("a={}", "b".repeat(MAX_TRACESTATE));
    let many = vec!["a=b"; 33].join(",");
    for bad in ["rojo", "Rojo=1", "=1", "a=", "a=b=c", "a=b\r\nx: y", "a=\u{e9}", &long, &many] {
        assert!(!tracestate_is_valid(bad), "{bad}");
    }
}

#[test]
fn metric_names_follow_their_unit() {
    let mut names = HashSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} occurs twice", metric.name);
        assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert_eq!(
            metric.name.ends_with("_seconds"),
            metric.unit == metrics::Unit::Seconds,
            "{}",
            metric.name
        );
        assert_eq!(metric.name.ends_with("_bytes"), metric.unit == metrics::Unit::Bytes, "{}", metric.name);
        assert!(!metric.labels.iter().any(|label| label.contains("tenant")), "{}", metric.name);
    }
    assert!(FINE.iter().all(|name| names.contains(name)));
    for buckets in [DURATION_BUCKETS, FINE_BUCKETS, CHECK_BUCKETS] {
        assert!(buckets.is_sorted());
    }
}

#[test]
fn metrics_are_installed_once_and_rendered() {
    let (first, second) = (metrics_handle(), metrics_handle());
    metrics::counter!(metric::REFUSALS, "code" => "rate_limited").increment(3);
    metrics::histogram!(metric::MCP_SERVER_OPERATION, "mcp_method_name" => "tools/call").record(0.07);
    metrics::histogram!(metric::OVERHEAD).record(0.000_03);
    metrics::histogram!(metric::CHECK, "check" => "edge").record(0.000_001_5);
    metrics::histogram!("some.thing.duration").record(0.03);
    first.upkeep();
    for text in [first.render(), second.render()] {
        assert!(text.contains("portcullis_refusals_total{code=\"rate_limited\"} 3"), "{text}");
        assert!(text.contains("# HELP portcullis_refusals_total Refused requests by error code."), "{text}");
        assert!(text.contains("le=\"300\"} 1"), "{text}");
        assert!(text.contains("some_thing_duration_bucket{le=\"0.05\"} 1"), "{text}");
        assert!(text.contains("portcullis_check_seconds_bucket{check=\"edge\",le=\"0.000002\"} 1"), "{text}");
        assert!(text.contains("portcullis_overhead_seconds_bucket{le=\"0.00005\"} 1"), "{text}");
    }
}

#[test]
fn redacted_shows_nothing() {
    #[derive(Debug)]
    struct Holder {
        #[expect(dead_code, reason = "only its Debug is looked at")]
        inner: Redacted<&'static str>,
    }
    let hidden = Redacted::new("alice@example.com");
    assert_eq!(format!("{hidden} {:?}", Holder { inner: hidden }), "[redacted] Holder { inner: [redacted] }");
    assert_eq!(*hidden.expose(), "alice@example.com");
    assert_eq!(Redacted::from(3).into_inner(), 3);
}

fn config() -> TelemetryConfig {
    TelemetryConfig {
        json_logs: true,
        filter: "info".to_owned(),
        otlp_endpoint: None,
        service_name: "portcullis-test".to_owned(),
    }
}

#[test]
fn a_wrong_filter_is_refused() {
    let error = init(TelemetryConfig { filter: "a=b=c".to_owned(), ..config() }).unwrap_err();
    assert!(matches!(error, TelemetryError::Filter(_)), "{error}");
}

#[test]
fn export_needs_a_runtime() {
    let endpoint = Some("http://127.0.0.1:4317".to_owned());
    let error = init(TelemetryConfig { otlp_endpoint: endpoint, ..config() }).unwrap_err();
    assert!(matches!(error, TelemetryError::NoRuntime), "{error}");
}

proptest! {
    #[test]
    fn traceparents_round_trip(trace_id: [u8; 16], parent_id: [u8; 8], sampled: bool) {
        if let Some(parent) = TraceParent::new(trace_id, parent_id, sampled) {
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Ok(parent));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}") {
        let _ = (TraceParent::parse(&text), tracestate_is_valid(&text));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn spans_reach_the_collector_and_a_second_start_is_refused() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Some(format!("http://{}", collector.local_addr().unwrap()));
    let (sender, preface) = std::sync::mpsc::channel();
    // Answers nothing: ending must not wait for a collector that hangs.
    std::thread::spawn(move || {
        let (mut connection, _) = collector.accept().unwrap();
        let mut read = [0; 14];
        std::io::Read::read_exact(&mut connection, &mut read).unwrap();
        sender.send((read, connection)).unwrap();
    });
    let runtime = runtime();
    let entered = runtime.enter();
    let guard = init(TelemetryConfig { otlp_endpoint: endpoint, ..config() }).unwrap();
    assert!(matches!(init(config()), Err(TelemetryError::AlreadyStarted)));
    tracing::info_span!("call", { field::MCP_METHOD_NAME } = "tools/call").in_scope(|| {
        tracing::info!({ field::TENANT_ID } = "tnt_1", "forwarded");
    });
    drop(entered);
    std::thread::scope(|scope| {
        scope.spawn(|| guard.shutdown());
        let (read, _connection) = preface.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(&read, b"PRI * HTTP/2.0");
    });
}

#[test]
fn export_over_tls_can_be_built() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let endpoint = Some("https://127.0.0.1:1".to_owned());
    init(TelemetryConfig { otlp_endpoint: endpoint, ..config() }).unwrap().shutdown();
}
