//! R66: what the control plane fetches for tenants comes over verified HTTPS, from addresses that the tenant may reach, without redirects,
//! bounded in size, time and number, and is kept no longer than its server and we allow (RFC 9700 section 4.15.1, mcp-protocol.md §3).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use control_plane::{
    config::PublicUrls,
    dns::Dns as Resolver,
    fetch::{Document, FetchError, Fetcher, Kind, Sources, Wanted},
    tasks::Tasks,
};
use egress::{Networks, Rule, Rules};
use harness::{
    Page, Web,
    dns::{Broken, Dns, Family},
    web,
};
use ids::TenantId;
use seams::{ManualClock, SystemEntropy, Timestamp};
use url::Url;

pub(crate) const HOST: &str = "app.example";
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A fetcher, and somebody else's server and DNS. Its operator lets documents come from loopback.
pub(crate) struct World {
    pub(crate) web: Web,
    pub(crate) dns: Dns,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) fetcher: Fetcher,
    /// The tenant's.
    pub(crate) rules: Rules,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Web::start(&[HOST]).await, "127.0.0.0/8").await
    }

    pub(crate) async fn on(web: Web, network: &str) -> Self {
        let (dns, clock) = (Dns::start().await, Arc::new(ManualClock::at(Timestamp::from_secs(1))));
        dns.set_addresses(HOST, &[&[HERE]]);
        let resolver = Arc::new(Resolver::new(Some(dns.address())));
        let origin = |name: &str| Url::parse(&format!("https://{name}.own.example")).unwrap();
        let own = PublicUrls { control: origin("control"), auth: origin("auth"), gateway: origin("gw") };
        let networks = Networks::new([network.parse().unwrap()]);
        let sources = Sources { roots: &[web::root()], networks: &networks, own: &own };
        let entropy = Arc::new(SystemEntropy);
        let fetcher = Fetcher::new(resolver, sources, Tasks::new(), clock.clone(), entropy).unwrap();
        Self { web, dns, clock, fetcher, rules: Rules::default() }
    }

    pub(crate) async fn ask(
        &self,
        url: &str,
        kind: Kind,
        anew_after: Option<Duration>,
    ) -> Result<Document, FetchError> {
        self.ask_of(1, url, kind, anew_after).await
    }

    pub(crate) async fn ask_of(
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
    pub(crate) async fn get(&self, path: &str) -> Result<Document, FetchError> {
        self.ask(&self.web.url(HOST, path), Kind::ClientMetadata, None).await
    }

    /// A rule of the tenant's for loopback, at this port.
    pub(crate) fn rule(port: u16) -> Rules {
        Rules::new([Rule::new("127.0.0.1/32", port.into()).unwrap()])
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
    let at_once = world.ask(&url, Kind::ClientMetadata, Some(Duration::ZERO)).await;
    assert!(at_once.is_ok());
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
        [("/client", Kind::ClientMetadata, 5 * 1024), ("/keys", Kind::ClientKeys, 64 * 1024)]
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
async fn an_address_that_must_not_be_reached_is_not_dialled_whatever_names_it() {
    // Its operator lets documents come from elsewhere.
    let world = World::on(Web::start(&[HOST]).await, "10.99.0.0/16").await;
    world.web.set("/c", Page::json("{}"));
    let port = world.web.address.port();
    // What a tenant's upstreams may reach, strangers may not look at through us; its administrator may.
    let mut world = World { rules: World::rule(port), ..world };
    let strangers = [Kind::ClientMetadata, Kind::ClientKeys];
    let refused = async |world: &World, url: &str, kinds: &[Kind]| {
        for kind in kinds {
            let got = world.ask(url, *kind, None).await;
            assert!(matches!(got, Err(FetchError::Refused(_))), "{url} {kind:?}: {got:?}");
        }
    };
    let every = [Kind::ClientMetadata, Kind::ClientKeys, Kind::IssuerKeys];
    refused(&world, &world.web.url(HOST, "/c"), &strangers).await;
    assert_eq!(world.web.asked("/c"), 0);
    assert!(world.ask(&world.web.url(HOST, "/c"), Kind::IssuerKeys, None).await.is_ok());
    // What was fetched by other rules is not given.
    world.rules = Rules::default();
    refused(&world, &world.web.url(HOST, "/c"), &every).await;
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
        refused(&world, &format!("https://{literal}:{port}/c"), &every).await;
    }
    // The rule is for one port, and no rule is for a metadata service.
    world.rules = World::rule(port);
    refused(&world, &format!("https://127.0.0.1:{}/c", port ^ 1), &every).await;
    world.rules = Rules::new([Rule::new("0.0.0.0/0", port.into()).unwrap()]);
    refused(&world, &format!("https://169.254.169.254:{port}/c"), &every).await;
    // What the operator says of documents is for those that strangers name.
    let world = World::on(world.web, "127.0.0.0/8").await;
    refused(&world, &world.web.url(HOST, "/c"), &[Kind::IssuerKeys]).await;
    assert!(world.get("/c").await.is_ok());
    // One bad address among good ones is enough, of either family.
    let bad: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    for (name, addresses) in [
        ("mixed.example", vec![HERE, bad[0]]),
        ("both.example", vec![HERE, bad[1]]),
        ("v6.example", vec![bad[1]]),
    ] {
        world.dns.set_addresses(name, &[&addresses]);
        refused(&world, &format!("https://{name}:{port}/c"), &strangers).await;
    }
    assert_eq!(world.web.asked("/c"), 2);
    // Nor is anything fetched but from plain https URLs, and nothing from this installation.
    let long = world.web.url(HOST, &format!("/{}", "c".repeat(2_048)));
    for url in [
        format!("http://{HOST}:{port}/c"),
        format!("https://u@{HOST}:{port}/c"),
        format!("https://:p@{HOST}:{port}/c"),
        format!("https://{HOST}:{port}/c#x"),
        format!("https://{HOST}:0/c"),
        "file:///etc/passwd".to_owned(),
        "https://auth.own.example/t/acme/authorize?client_id=x".to_owned(),
        "https://gw.own.example:8443/c".to_owned(),
        "https://AUTH.own.example./c".to_owned(),
        long,
    ] {
        let got = world.ask(&url, Kind::ClientMetadata, None).await;
        assert!(matches!(got, Err(FetchError::Url)), "{url}: {got:?}");
    }
    // A tenant may trust another's issuer of this installation.
    let got = world.ask("https://auth.own.example/jwks", Kind::IssuerKeys, None).await;
    assert!(matches!(got, Err(FetchError::Resolve(_))), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_between_check_and_use_gains_nothing() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    // First the address that may be reached, then one that may not: the name is asked once a fetch.
    let other: IpAddr = "10.0.0.1".parse().unwrap();
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
async fn who_cannot_show_a_good_certificate_is_told_nothing() {
    let world = World::on(Web::untrusted(HOST).await, "127.0.0.0/8").await;
    world.web.set("/c", Page::json("{}"));
    assert!(matches!(world.get("/c").await, Err(FetchError::Tls(_))));
    assert_eq!(world.web.asked("/c"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_is_left() {
    let world = World::new().await;
    let web = &world.web;
    web.set("/slow", Page { after: Duration::from_secs(60), ..Page::json("{}") });
    web.set("/dripped", Page { drip: Duration::from_millis(500), ..Page::json("x".repeat(100)) });
    // It listens, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{HOST}:{}/c", silent.local_addr().unwrap().port());
    for family in [Family::V4, Family::V6] {
        world.dns.set_broken("silent.example", family, Broken::Silent);
    }
    let (slow, dripped) = (web.url(HOST, "/slow"), web.url(HOST, "/dripped"));
    let left = async |tenant: u8, url: &str| {
        let begun = Instant::now();
        let got = world.ask_of(tenant, url, Kind::ClientMetadata, None).await;
        assert!(begun.elapsed() < Duration::from_secs(8), "{url}: {:?}", begun.elapsed());
        got.unwrap_err()
    };
    let silent_name = web.url("silent.example", "/c");
    let left = tokio::join!(left(1, &slow), left(2, &dripped), left(3, &silent), left(4, &silent_name));
    for error in [left.0, left.1, left.2] {
        assert!(matches!(error, FetchError::Time), "{error:?}");
    }
    assert!(matches!(left.3, FetchError::Resolve(_)), "{:?}", left.3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_is_dialled_where_the_first_leads_nowhere() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    let port = world.web.address.port();
    let address = |last: u8| IpAddr::from([127, 0, 0, last]);
    let ask = async |name: &str, addresses: &[IpAddr]| {
        world.dns.set_addresses(name, &[addresses]);
        world.ask(&world.web.url(name, "/c"), Kind::ClientMetadata, None).await
    };
    // Nobody listens there; of many such addresses three are dialled.
    let gone = ask("gone.example", &[address(8)]).await;
    assert!(matches!(gone, Err(FetchError::Connect(_))), "{gone:?}");
    let many = ask("many.example", &[address(8), address(9), address(10), HERE]).await;
    assert!(matches!(many, Err(FetchError::Connect(_))), "{many:?}");
    assert!(ask(HOST, &[address(8), address(9), HERE]).await.is_ok());
    // Somebody listens there, and says nothing: there is time for the next.
    let _silent = std::net::TcpListener::bind((address(7), port)).unwrap();
    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    let begun = Instant::now();
    assert!(ask(HOST, &[address(7), HERE]).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_one_family_do_unless_there_are_none() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    for broken in [Broken::Fails, Broken::Silent] {
        world.clock.advance(Duration::from_secs(2 * 60 * 60));
        world.dns.set_broken(HOST, Family::V6, broken);
        let begun = Instant::now();
        assert!(world.get("/c").await.is_ok());
        assert!(begun.elapsed() < Duration::from_millis(1_400), "{broken:?}: {:?}", begun.elapsed());
    }
    // None of the one, and of the other nobody knows: it is not known that there are none.
    let error = async |name: &str| {
        let got = world.ask(&world.web.url(name, "/c"), Kind::ClientMetadata, None).await;
        let Err(FetchError::Resolve(why)) = got else { panic!("{name}: {got:?}") };
        format!("{why:?}")
    };
    world.dns.set_addresses("none.example", &[&[]]);
    assert!(error("none.example").await.contains("no address"));
    world.dns.set_broken("none.example", Family::V6, Broken::Fails);
    world.clock.advance(Duration::from_secs(16));
    assert!(error("none.example").await.contains("ServerFailure"));
}
