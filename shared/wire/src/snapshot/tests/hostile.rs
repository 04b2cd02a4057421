//! Each breach by itself: which resource is named, and how.

use bytes::Bytes;
use errors::ErrorCode;

use super::{
    super::{Invalid, bounds::*, decode_exact, encode, is_credential_header, validate},
    sample::{GOLDEN, find, id, raw, role, snapshot},
};
use crate::v1::{Breaker, KeyHours, Slice, TenantSnapshot, Timeouts, UpstreamConcurrency, resource::Body};

/// What is wrong after `change`, and with which kind of resource.
fn refused(change: impl FnOnce(&mut TenantSnapshot)) -> (String, &'static str) {
    let mut changed = snapshot(GOLDEN);
    change(&mut changed);
    let Invalid { code, resource, detail } = validate(&changed).unwrap_err();
    assert_eq!(code, ErrorCode::SnapshotInvalid);
    assert_eq!(decode_exact(&Bytes::from(encode(&changed))).unwrap_err().detail, detail);
    (resource.split('_').next().unwrap().to_owned(), detail)
}

macro_rules! breach {
    ($prefix:literal, $body:ident, |$it:ident| $change:expr) => {
        refused(|snapshot| {
            let Some(Body::$body($it)) = &mut find(snapshot, $prefix).body else { panic!("no {}", $prefix) };
            $change;
        })
    };
}

#[test]
fn the_sample_is_valid() {
    assert_eq!(validate(&snapshot(GOLDEN)), Ok(()));
}

#[test]
fn the_whole() {
    let whole = |detail| ("snapshot".to_owned(), detail);
    assert_eq!(refused(|s| s.schema = 2), whole("schema version is not known"));
    assert_eq!(refused(|s| s.schema = 0), whole("schema version is not known"));
    assert_eq!(refused(|s| s.rev = 0), whole("revision is zero"));
    assert_eq!(refused(|s| s.tenant_id.truncate(15)), whole("tenant id is not 16 bytes"));
    assert_eq!(
        refused(|s| s.resources.retain(|r| r.id != "tenant")),
        whole("must have `tenant` and `methods` once each")
    );
    assert_eq!(
        refused(|s| s.resources.retain(|r| r.id != "methods")),
        whole("must have `tenant` and `methods` once each")
    );
    let order = ("upstream", "is out of order, or its id occurs twice");
    assert_eq!(refused(|s| s.resources.swap(0, 1)).1, order.1);
    assert_eq!(refused(|s| s.resources.insert(0, s.resources[0].clone())).1, order.1);
}

#[test]
fn an_empty_oneof_and_unknown_enum_numbers() {
    assert_eq!(
        refused(|s| find(s, "ups_").body = None),
        ("ups".to_owned(), "has no body, or one of an unknown kind")
    );
    let unknown = "has an unknown enum number";
    for number in [0, 99, -1] {
        assert_eq!(breach!("ep_", Endpoint, |it| it.unknown_tools = number), ("ep".to_owned(), unknown));
        assert_eq!(breach!("tool_", Tool, |it| it.state = number), ("tool".to_owned(), unknown));
        assert_eq!(breach!("tool_", Tool, |it| it.class = number), ("tool".to_owned(), unknown));
        assert_eq!(breach!("lim_", Limit, |it| it.subject = number), ("lim".to_owned(), unknown));
        let methods =
            breach!("methods", Methods, |it| it.slices.iter_mut().for_each(|slice| slice.action = number));
        assert_eq!(methods, ("methods".to_owned(), unknown));
    }
}

#[test]
fn references() {
    let nobody = || raw::<ids::kind::Upstream>(id(200));
    let upstream = "refers to an upstream that is not there";
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.attachments[0].upstream_id = nobody()),
        ("ep".to_owned(), upstream)
    );
    assert_eq!(breach!("tool_", Tool, |it| it.upstream_id = nobody()), ("tool".to_owned(), upstream));
    assert_eq!(
        breach!("methods", Methods, |it| it.slices[1].upstream_id = nobody()),
        ("methods".to_owned(), upstream)
    );
    let client = "refers to a client that is not there";
    assert_eq!(breach!("key_", ApiKey, |it| it.client_id = nobody()), ("key".to_owned(), client));
    let endpoint = "refers to an endpoint that is not there";
    assert_eq!(breach!("cl_", Client, |it| it.endpoint_ids = vec![nobody()]), ("cl".to_owned(), endpoint));
    let subject = "is of something that is not there";
    assert_eq!(breach!("lim_", Limit, |it| it.subject_id = nobody()), ("lim".to_owned(), subject));
    let policy = "refers to a policy that is not there";
    assert_eq!(
        breach!("tool_", Tool, |it| it.slices[0].policies = vec!["gr_x".to_owned()]),
        ("tool".to_owned(), policy)
    );
    assert_eq!(
        breach!("methods", Methods, |it| it.slices[0].slices[0].policies = vec!["gr_x".to_owned()]),
        ("methods".to_owned(), policy)
    );
}

#[test]
fn ids_and_uniqueness() {
    let own = "does not carry its own id";
    assert_eq!(breach!("ep_", Endpoint, |it| it.id[0] ^= 1), ("ep".to_owned(), own));
    assert_eq!(breach!("ups_", Upstream, |it| it.id.clear()), ("ups".to_owned(), own));
    assert_eq!(breach!("cl_", Client, |it| it.id.push(0)), ("cl".to_owned(), own));
    assert_eq!(breach!("key_", ApiKey, |it| it.id[15] ^= 1), ("key".to_owned(), own));
    assert_eq!(breach!("tool_", Tool, |it| it.id[15] ^= 1), ("tool".to_owned(), own));
    assert_eq!(breach!("lim_", Limit, |it| it.id[15] ^= 1), ("lim".to_owned(), own));
    let repeats = "repeats an id, slug, name or subject of another resource";
    assert_eq!(breach!("ups_", Upstream, |it| it.slug = "up-1".to_owned()).1, repeats);
    assert_eq!(breach!("key_", ApiKey, |it| it.lookup = "Lookup000001".to_owned()).1, repeats);
    assert_eq!(breach!("tool_", Tool, |it| it.name = "tool_2".to_owned()).1, repeats);
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.attachments[1].prefix.clear()),
        ("ep".to_owned(), "two upstreams have the same prefix")
    );
}

#[test]
fn bounds_and_forms() {
    let long = || "x".repeat(600);
    assert_eq!(breach!("tenant", Tenant, |it| it.slug = "A".to_owned()).1, "slug is malformed");
    assert_eq!(
        breach!("tenant", Tenant, |it| it.egress[0].port = 0).1,
        "a private destination's port is malformed"
    );
    assert_eq!(
        breach!("tenant", Tenant, |it| it.egress[0].port = 70_000).1,
        "a private destination's port is malformed"
    );
    assert_eq!(
        breach!("tenant", Tenant, |it| it.egress[0].network = "x".to_owned()).1,
        "a private destination's network is malformed"
    );
    for seconds in [1, MIN_STALE_SECONDS - 1, MAX_STALE_SECONDS + 1, u32::MAX] {
        assert_eq!(
            breach!("tenant", Tenant, |it| it.max_stale_seconds = seconds).1,
            "how old configuration may be is out of bounds"
        );
    }
    assert_eq!(
        breach!("tenant", Tenant, |it| it.suspended = true),
        ("ep".to_owned(), "is an endpoint of a suspended tenant")
    );
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.hosts = vec!["B".to_owned()]).1,
        "a host is not in lower case"
    );
    assert_eq!(breach!("ep_", Endpoint, |it| it.origins = vec!["*".to_owned()]).1, "`*` is not an origin");
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.origins = vec![long()]).1,
        "a list has an empty or too long text"
    );
    assert_eq!(breach!("ep_", Endpoint, |it| it.allow.reverse()).1, "a list is out of order or repeats");
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.deny = vec!["10.0.0.1".to_owned()]).1,
        "a network is malformed"
    );
    assert_eq!(breach!("ep_", Endpoint, |it| it.max_request_bytes = 0).1, "a size limit is out of bounds");
    assert_eq!(
        breach!("ep_", Endpoint, |it| it.max_response_bytes = MAX_MESSAGE_BYTES + 1).1,
        "a size limit is out of bounds"
    );
    assert_eq!(breach!("ups_", Upstream, |it| it.url = "ftp://x".to_owned()).1, "URL is malformed");
    assert_eq!(breach!("ups_", Upstream, |it| it.idle_timeout_ms = 0).1, "a time-out is out of bounds");
    for breaker in [
        Breaker { failures: MAX_BREAKER_FAILURES + 1, ..Breaker::DEFAULT },
        Breaker { failure_percent: 0, ..Breaker::DEFAULT },
        Breaker { failure_percent: 101, ..Breaker::DEFAULT },
        Breaker { open_ms: 0, ..Breaker::DEFAULT },
    ] {
        let found = breach!("ups_", Upstream, |it| it.breaker = Some(breaker)).1;
        assert_eq!(found, "a breaker's setting is out of bounds");
    }
    for concurrency in [
        UpstreamConcurrency { max: MAX_UPSTREAM_CONCURRENCY + 1, ..UpstreamConcurrency::DEFAULT },
        UpstreamConcurrency { queue: MAX_UPSTREAM_QUEUE + 1, ..UpstreamConcurrency::DEFAULT },
        UpstreamConcurrency { wait_ms: 0, ..UpstreamConcurrency::DEFAULT },
    ] {
        let found = breach!("ups_", Upstream, |it| it.concurrency = Some(concurrency)).1;
        assert_eq!(found, "a setting of concurrency is out of bounds");
    }
    for (pins, found) in [
        (vec![vec![1; 31]], "a pin is not a SHA-256"),
        (vec![vec![2; 32], vec![1; 32]], "pins are out of order or repeat"),
        (vec![vec![1; 32]; 2], "pins are out of order or repeat"),
        ((0..=8).map(|n| vec![n; 32]).collect(), "has too many pins"),
    ] {
        assert_eq!(breach!("ups_", Upstream, |it| it.pins = pins.clone()).1, found);
    }
    let unencrypted = breach!("ups_", Upstream, |it| {
        "http://127.0.0.1/".clone_into(&mut it.url);
        it.pins = vec![vec![1; 32]];
    });
    assert_eq!(unencrypted.1, "pins need https");
    assert_eq!(breach!("ups_", Upstream, |it| it.tls = None).1, "TLS options are missing");
    assert_eq!(
        breach!("ups_", Upstream, |it| it.headers[0].name = "Host".to_owned()).1,
        "a credential's header is not allowed"
    );
    assert_eq!(
        breach!("ups_", Upstream, |it| it.headers[0].sealed.clear()).1,
        "a sealed credential's size is out of bounds"
    );
    assert_eq!(
        breach!("cl_", Client, |it| it.role_ids = vec![raw(role(1)), raw(role(0))]).1,
        "endpoints or roles are out of order or repeat"
    );
    assert_eq!(breach!("cl_", Client, |it| it.name.clear()).1, "name is empty or too long");
    assert_eq!(breach!("key_", ApiKey, |it| it.hash.push(0)).1, "hash is not 32 bytes");
    assert_eq!(breach!("key_", ApiKey, |it| it.lookup = "short".to_owned()).1, "lookup part is malformed");
    let time = |days, from_minute, until_minute| KeyHours { days, from_minute, until_minute };
    for wrong in [time(0, 0, 60), time(128, 0, 60), time(1, 60, 60), time(1, 0, 1441)] {
        assert_eq!(breach!("key_", ApiKey, |it| it.hours = vec![wrong]).1, "a time is out of bounds");
    }
    let twice = vec![time(1, 0, 60); 2];
    assert_eq!(breach!("key_", ApiKey, |it| it.hours = twice.clone()).1, "times are out of order or repeat");
    let many: Vec<_> = (0..=MAX_KEY_HOURS as u32).map(|from| time(1, from, 1440)).collect();
    assert_eq!(breach!("key_", ApiKey, |it| it.hours = many.clone()).1, "has too many times");
    assert_eq!(
        breach!("key_", ApiKey, |it| it.allow = vec!["::/0".to_owned(); 2]).1,
        "a list is out of order or repeats"
    );
    assert_eq!(breach!("tool_", Tool, |it| it.name = long()).1, "name is empty or too long");
    assert_eq!(breach!("tool_", Tool, |it| it.cost = 0).1, "cost is out of bounds");
    for timeouts in [Timeouts::default(), Timeouts { idle_ms: MAX_TIMEOUT_MS + 1, ..Timeouts::default() }] {
        let found = breach!("tool_", Tool, |it| it.timeouts = Some(timeouts)).1;
        assert_eq!(found, "a time-out is out of bounds");
    }
    assert_eq!(
        breach!("tool_", Tool, |it| it.digest.clear()).1,
        "has a digest without a definition, or the reverse"
    );
    let unpinned = breach!("tool_", Tool, |it| (it.digest.clear(), it.definition.clear()));
    assert_eq!(unpinned.1, "is approved without a definition");
    assert_eq!(
        breach!("tool_", Tool, |it| it.definition = vec![0; MAX_DEFINITION + 1].into()).1,
        "definition is too large"
    );
    let empty = Slice { subject_id: vec![0; 16], policies: Vec::new() };
    assert_eq!(breach!("tool_", Tool, |it| it.slices = vec![empty]).1, "a slice is empty");
    assert_eq!(breach!("gr_", Policy, |it| it.text.clear()).1, "text is empty or too large");
    assert_eq!(breach!("lim_", Limit, |it| it.burst = 0).1, "burst is out of bounds");
    assert_eq!(breach!("lim_", Limit, |it| it.per_month = MAX_BUDGET + 1).1, "a budget is out of bounds");
    assert_eq!(
        breach!("lim_", Limit, |it| it.per_minute = MAX_UNITS + 1).1,
        "units a minute are out of bounds"
    );
}

#[test]
fn too_large_is_refused_before_it_is_read() {
    let invalid = decode_exact(&Bytes::from(vec![0; MAX_BYTES + 1])).unwrap_err();
    assert_eq!((invalid.code, invalid.detail), (ErrorCode::SnapshotUndecodable, "is larger than 16 MiB"));
}

#[test]
fn an_id_at_fault_is_shown_without_control_characters() {
    let mut changed = snapshot(GOLDEN);
    changed.resources.last_mut().unwrap().id = format!("zz\n\u{1b}[31m{}", "y".repeat(500));
    let shown = validate(&changed).unwrap_err().resource;
    assert!(shown.len() <= 64 && shown.bytes().all(|b| b.is_ascii_graphic()), "{shown:?}");
}

#[test]
fn credentials_cannot_take_over_a_message() {
    for good in ["authorization", "x-api-key", "cookie", "api_key"] {
        assert!(is_credential_header(good), "{good}");
    }
    for bad in ["", "Authorization", "host", "content-length", "mcp-session-id", "a b", "a:b", "a\r\nb", "ä"]
    {
        assert!(!is_credential_header(bad), "{bad}");
    }
}
