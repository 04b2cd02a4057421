//! R66: what the control plane fetches for tenants comes over verified HTTPS, from addresses that the tenant may reach, without redirects,
//! bounded in size, time and number, and is kept no longer than its server and we allow (RFC 9700 section 4.15.1, mcp-protocol.md §3).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use control_plane::{
    dns::Dns as Resolver,
    fetch::{Document, FetchError, Fetcher, Kind, Wanted},
};
use egress::{Rule, Rules};
use harness::{Page, Web, dns::Dns, web};
use ids::TenantId;
use seams::{ManualClock, SystemEntropy, Timestamp};
use url::Url;

const HOST: &str = "app.example";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct World {
    web: Web,
    dns: Dns,
    clock: Arc<ManualClock>,
    fetcher: Arc<Fetcher>,
    rules: Rules,
}

impl World {
    async fn new() -> Self {
        Self::on(Web::start(&[HOST]).await).await
    }

    async fn on(web: Web) -> Self {
        let (dns, clock) = (Dns::start().await, Arc::new(ManualClock::at(Timestamp::from_secs(1))));
        dns.set_addresses(HOST, &[&[HERE]]);
        let resolver = Arc::new(Resolver::new(Some(dns.address())));
        let fetcher = Fetcher::new(resolver, &[web::root()], clock.clone(), Arc::new(SystemEntropy)).unwrap();
        let rules = Rules::new([Rule::new("127.0.0.1/32", web.address.port().into()).unwrap()]);
        Self { web, dns, clock, fetcher: Arc::new(fetcher), rules }
    }

    async fn ask(&self, url: &str, kind: Kind, anew_after: Option<Duration>) -> Result<Document, FetchError> {
        self.ask_of(1, url, kind, anew_after).await
    }

    async fn ask_of(
        &self,
        tenant: u8,
        url: &str,
        kind: Kind,
        anew_after: Option<Duration>,
    ) -> Result<Document, FetchError> {
        let (tenant, url) = (TenantId::from_parts(1, [tenant; 10]), Url::parse(url).unwrap());
        self.fetcher.get(Wanted { tenant, rules: &self.rules, kind, url: &url, anew_after }).await
    }

    /// The document at a path of the server.
    async fn get(&self, path: &str) -> Result<Document, FetchError> {
        self.ask(&self.web.url(HOST, path), Kind::ClientMetadata, None).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_fetched_once_and_kept_as_long_as_its_server_says() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}").with("cache-control", "max-age=120"));
    assert_eq!(world.get("/c").await.unwrap().body, "{}");
    world.web.set("/c", Page::json("{\"a\":1}").with("cache-control", "max-age=120"));
    world.clock.advance(Duration::from_secs(119));
    assert_eq!(world.get("/c").await.unwrap().body, "{}");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.get("/c").await.unwrap().body, "{\"a\":1}");
    assert_eq!(world.web.asked("/c"), 2);

    // Whoever misses something in it gets it anew, but not again and again.
    let url = world.web.url(HOST, "/c");
    let missing = async || world.ask(&url, Kind::ClientMetadata, Some(Duration::from_secs(30))).await;
    assert!(missing().await.is_ok());
    assert_eq!(world.web.asked("/c"), 2, "it is too young");
    world.clock.advance(Duration::from_secs(31));
    for _ in 0..3 {
        assert!(missing().await.is_ok());
    }
    assert_eq!(world.web.asked("/c"), 3);
    // Where that fails, what there is stays good for as long as it was.
    world.clock.advance(Duration::from_secs(31));
    world.web.set("/c", Page { status: 500, ..Page::json("") });
    for _ in 0..3 {
        assert_eq!(missing().await.unwrap().body, "{\"a\":1}");
    }
    assert_eq!(world.web.asked("/c"), 4, "and is not asked for again at once");
    world.clock.advance(Duration::from_secs(120));
    assert!(matches!(missing().await, Err(FetchError::Status(500))));

    // What another tenant has fetched is not given.
    world.web.set("/d", Page::json("{}"));
    for tenant in [1, 2] {
        world.ask_of(tenant, &world.web.url(HOST, "/d"), Kind::ClientMetadata, None).await.unwrap();
    }
    assert_eq!(world.web.asked("/d"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_for_the_same_wait_for_one_answer() {
    let world = Arc::new(World::new().await);
    world.web.set("/c", Page { after: Duration::from_millis(300), ..Page::json("{}") });
    let asking = (0..50).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.get("/c").await.is_ok() })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert!(asked.await.unwrap());
    }
    assert_eq!(world.web.asked("/c"), 1);
    // What fails is not tried again at once either.
    for _ in 0..10 {
        assert!(matches!(world.get("/nothing").await, Err(FetchError::Status(404))));
    }
    assert_eq!(world.web.asked("/nothing"), 1);
    world.clock.advance(Duration::from_secs(16));
    assert!(world.get("/nothing").await.is_err());
    assert_eq!(world.web.asked("/nothing"), 2);
    // One tenant does not take everybody's places.
    let slow: Vec<_> = (0..6).map(|n| format!("/slow-{n}")).collect();
    let asking: Vec<_> = slow
        .into_iter()
        .map(|path| {
            world.web.set(&path, Page { after: Duration::from_millis(500), ..Page::json("{}") });
            let world = world.clone();
            tokio::spawn(async move { world.get(&path).await })
        })
        .collect();
    let mut crowded = 0;
    for asked in asking {
        crowded += usize::from(matches!(asked.await.unwrap(), Err(FetchError::Crowded)));
    }
    assert_eq!(crowded, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_other_types_and_whatever_is_too_large_are_refused() {
    let world = World::new().await;
    world.web.set("/good", Page::json("{}"));
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/to-{status}");
        let page = Page { status, ..Page::json("{}") }.with("location", "/good");
        world.web.set(&path, page);
        assert!(matches!(world.get(&path).await, Err(FetchError::Status(found)) if found == status));
    }
    assert_eq!(world.web.asked("/good"), 0);
    for (path, name, value) in [
        ("/html", "content-type", "text/html"),
        ("/two", "content-type", "application/json, text/html"),
        ("/plus", "content-type", "text/x+json"),
        ("/gzip", "content-encoding", "gzip"),
    ] {
        world.web.set(path, Page::json("{}").with(name, value));
        assert!(matches!(world.get(path).await, Err(FetchError::Type)), "{path}");
    }
    world.web.set("/none", Page { headers: Vec::new(), ..Page::json("{}") });
    assert!(matches!(world.get("/none").await, Err(FetchError::Type)));
    for (path, kind, most) in
        [("/client", Kind::ClientMetadata, 5 * 1024), ("/keys", Kind::KeySet, 64 * 1024)]
    {
        let (fits, over) = (format!("{path}-fits"), format!("{path}-over"));
        world.web.set(&fits, Page::json("x".repeat(most)).with("content-type", "application/x+json; a=b"));
        world.web.set(&over, Page::json("x".repeat(most + 1)));
        assert_eq!(world.ask(&world.web.url(HOST, &fits), kind, None).await.unwrap().body.len(), most);
        let refused = world.ask(&world.web.url(HOST, &over), kind, None).await;
        assert!(matches!(refused, Err(FetchError::Size)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_the_tenant_may_not_reach_is_not_dialled_whatever_names_it() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    let port = world.web.address.port();
    // Without the operator's rule loopback is refused, by name and by number.
    let none = Rules::default();
    let tenant = TenantId::from_parts(1, [1; 10]);
    let refused = async |url: String, rules: &Rules| {
        let url = Url::parse(&url).unwrap();
        let wanted = Wanted { tenant, rules, kind: Kind::ClientMetadata, url: &url, anew_after: None };
        let got = world.fetcher.get(wanted).await;
        assert!(matches!(got, Err(FetchError::Refused(_))), "{url}: {got:?}");
    };
    refused(world.web.url(HOST, "/c"), &none).await;
    world.clock.advance(Duration::from_secs(16));
    for literal in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[fd00::1]",
        "100.64.0.1",
    ] {
        refused(format!("https://{literal}:{port}/c"), &none).await;
    }
    // The rule is for one port, and no rule is for a metadata service.
    refused(format!("https://127.0.0.1:{}/c", port ^ 1), &world.rules).await;
    let every = Rules::new([Rule::new("0.0.0.0/0", port.into()).unwrap()]);
    refused(format!("https://169.254.169.254:{port}/c"), &every).await;
    // One bad address among good ones is enough.
    world.dns.set_addresses("mixed.example", &[&[HERE, "10.0.0.1".parse().unwrap()]]);
    refused(format!("https://mixed.example:{port}/c"), &world.rules).await;
    assert_eq!(world.web.asked("/c"), 0);
    // Nor is anything fetched but from plain https URLs.
    for url in [
        format!("http://{HOST}:{port}/c"),
        format!("https://u@{HOST}:{port}/c"),
        format!("https://{HOST}:{port}/c#x"),
        format!("https://{HOST}:0/c"),
        "file:///etc/passwd".to_owned(),
    ] {
        let got = world.ask(&url, Kind::ClientMetadata, None).await;
        assert!(matches!(got, Err(FetchError::Url)), "{url}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_between_check_and_use_gains_nothing() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    // First the address that may be reached, then one that may not: the name is asked once a fetch.
    let other: IpAddr = "127.0.0.2".parse().unwrap();
    world.dns.set_addresses("rebind.example", &[&[HERE], &[other]]);
    let url = world.web.url("rebind.example", "/c");
    let got = world.ask(&url, Kind::ClientMetadata, None).await;
    // The certificate is another's, so the connection was made, to the address that was checked.
    assert!(matches!(got, Err(FetchError::Tls(_))), "{got:?}");
    assert_eq!(world.dns.asked(), 1);
    world.clock.advance(Duration::from_secs(16));
    let got = world.ask(&url, Kind::ClientMetadata, None).await;
    assert!(matches!(got, Err(FetchError::Refused(_))), "{got:?}");
    let got = world.ask("https://nothing.example/c", Kind::ClientMetadata, None).await;
    assert!(matches!(got, Err(FetchError::Resolve(_))), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_show_a_good_certificate_is_told_nothing_and_who_is_slow_is_left() {
    let world = World::on(Web::untrusted(HOST).await).await;
    world.web.set("/c", Page::json("{}"));
    assert!(matches!(world.get("/c").await, Err(FetchError::Tls(_))));
    assert_eq!(world.web.asked("/c"), 0);

    let world = World::new().await;
    world.web.set("/slow", Page { after: Duration::from_secs(60), ..Page::json("{}") });
    let begun = Instant::now();
    assert!(matches!(world.get("/slow").await, Err(FetchError::Time)));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // Nobody listens there.
    world.dns.set_addresses("gone.example", &[&[HERE]]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let rules = Rules::new([Rule::new("127.0.0.1/32", port.into()).unwrap()]);
    let world = World { rules, ..world };
    let got = world.ask(&format!("https://gone.example:{port}/c"), Kind::ClientMetadata, None).await;
    assert!(matches!(got, Err(FetchError::Connect(_))), "{got:?}");
}
