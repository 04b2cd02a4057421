//! R66: whoever names documents, slow ones, large ones, many or none that there are, neither keeps out what others need nor has us ask
//! without end; and a fetch that has begun is of use to whoever asks next (RFC 9700 section 4.15.1).

use std::{sync::Arc, time::Duration};

use control_plane::fetch::{FetchError, Kind};
use harness::{Framing, Page, Web};
use tokio::task::JoinHandle;

use crate::documents_are_fetched_with_care::{HERE, HOST, World};

/// Asks for that many slow documents of a tenant, at the same time.
fn slow(world: &Arc<World>, tenant: u8, kind: Kind, count: usize) -> Vec<JoinHandle<Option<FetchError>>> {
    let ask = |n: usize| {
        let path = format!("/slow-{tenant}-{n}");
        world.web.set(&path, Page { after: Duration::from_secs(1), ..Page::json("{}") });
        let world = world.clone();
        tokio::spawn(async move { world.ask_of(tenant, &world.web.url(HOST, &path), kind, None).await.err() })
    };
    (0..count).map(ask).collect()
}

async fn crowded(asked: Vec<JoinHandle<Option<FetchError>>>) -> usize {
    let mut crowded = 0;
    for asked in asked {
        match asked.await.unwrap() {
            None => {}
            Some(FetchError::Crowded) => crowded += 1,
            Some(other) => panic!("{other:?}"),
        }
    }
    crowded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_turns_are_its_own_and_those_of_strangers_are_theirs() {
    let world = World::new().await;
    let world = Arc::new(World { rules: World::rule(world.web.address.port()), ..world });
    world.web.set("/c", Page::json("{}"));
    assert!(world.get("/c").await.is_ok());
    world.clock.advance(Duration::from_secs(30));
    let asking = slow(&world, 1, Kind::ClientMetadata, 6);
    tokio::time::sleep(Duration::from_millis(400)).await;
    // All of its turns are taken: nothing else is fetched, and that is not kept.
    world.web.set("/d", Page::json("{}"));
    assert!(matches!(world.get("/d").await, Err(FetchError::Crowded)));
    // What there is stays good.
    let anew = Some(Duration::from_secs(20));
    assert!(world.ask(&world.web.url(HOST, "/c"), Kind::ClientMetadata, anew).await.is_ok());
    assert_eq!((world.web.asked("/c"), world.web.asked("/d")), (1, 0));
    // Keys of its issuers are fetched all the same, and others' documents.
    assert!(world.ask(&world.web.url(HOST, "/d"), Kind::IssuerKeys, None).await.is_ok());
    assert!(world.ask_of(2, &world.web.url(HOST, "/d"), Kind::ClientMetadata, None).await.is_ok());
    assert_eq!(crowded(asking).await, 2);
    assert!(world.get("/d").await.is_ok());
    // One host is asked for so many at once, by however many.
    let asking = [3, 4, 5].into_iter().flat_map(|tenant| slow(&world, tenant, Kind::ClientMetadata, 4));
    assert_eq!(crowded(asking.collect()).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_takes_no_room_of_what_is() {
    let world = World::new().await;
    world.web.set("/c", Page::json("{}"));
    assert!(world.get("/c").await.is_ok());
    for n in 0..100 {
        let refused = world.ask(&format!("https://10.0.0.1/?{n}"), Kind::ClientMetadata, None).await;
        assert!(matches!(refused, Err(FetchError::Refused(_))));
    }
    assert!(world.get("/c").await.is_ok());
    assert_eq!(world.web.asked("/c"), 1);
    // What a URL is for is part of what is kept: a client's description is nobody's key set.
    let url = world.web.url(HOST, "/c");
    for _ in 0..2 {
        assert!(world.ask(&url, Kind::ClientKeys, None).await.is_ok());
    }
    assert_eq!(world.web.asked("/c"), 2);
    // A stranger has us ask for so many, and no more.
    let mut count = 0;
    while !matches!(
        world.ask(&format!("https://10.0.0.1/?x{count}"), Kind::ClientKeys, None).await,
        Err(FetchError::Crowded)
    ) {
        count += 1;
        assert!(count < 500);
    }
    assert!(count > 100);
    assert!(
        world.ask_of(2, &url, Kind::ClientKeys, None).await.is_ok(),
        "another tenant's are counted apart"
    );
    world.clock.advance(Duration::from_secs(60));
    assert!(!matches!(world.get("/other").await, Err(FetchError::Crowded)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_ends_and_is_kept_though_nobody_waits_any_more() {
    let world = Arc::new(World::new().await);
    let page = Page { after: Duration::from_millis(300), ..Page::json("{}") };
    for (path, page) in [("/c", page.clone()), ("/nothing", Page { status: 500, ..page })] {
        world.web.set(path, page);
        let gone = world.clone();
        let gone = tokio::spawn(async move { gone.get(path).await });
        while world.web.asked(path) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(world.get(path).await.is_ok(), path == "/c");
        assert_eq!(world.web.asked(path), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_wait_for_the_same() {
    let world = Arc::new(World::new().await);
    world.web.set("/c", Page { after: Duration::from_secs(1), ..Page::json("{}") });
    let asking = (0..70).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.get("/c").await.err() })
    });
    assert_eq!(crowded(asking.collect()).await, 6);
    assert_eq!(world.web.asked("/c"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_larger_is_read_however_its_end_is_told() {
    let world = World::new().await;
    let most = 5 * 1024;
    for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
        let (fits, over) = (format!("/fits-{framing:?}"), format!("/over-{framing:?}"));
        world.web.set(&fits, Page { framing, ..Page::json("x".repeat(most)) });
        world.web.set(&over, Page { framing, ..Page::json("x".repeat(most + 1)) });
        assert_eq!(world.get(&fits).await.unwrap().body.len(), most, "{framing:?}");
        let got = world.get(&over).await;
        assert!(matches!(got, Err(FetchError::Size)), "{framing:?}: {got:?}");
    }
    // A head, or any number of interim ones.
    world.web.set("/head", Page::json("{}").with("x-large", &"x".repeat(8 * 1024)));
    assert!(world.get("/head").await.is_ok());
    world.web.set("/head-over", Page::json("{}").with("x-large", &"x".repeat(64 * 1024)));
    let got = world.get("/head-over").await;
    assert!(matches!(got, Err(FetchError::Exchange(_))), "{got:?}");
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    world.web.set("/interim", Page { before: interim.repeat(10).into(), ..Page::json("{}") });
    assert!(world.get("/interim").await.is_ok());
    world.web.set("/flood", Page { before: interim.repeat(6_000).into(), ..Page::json("{}") });
    let got = world.get("/flood").await;
    assert!(matches!(got, Err(FetchError::Size)), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_for_what_the_url_says() {
    let world = World::on(Web::start(&[HOST, "*.app.example"]).await, "127.0.0.0/8").await;
    world.dns.set_addresses("a.app.example", &[&[HERE]]);
    world.web.set("/a/b", Page::json("{}"));
    let url = world.web.url("a.app.example", "/a/b?c=d&e=%20f");
    assert!(world.ask(&url, Kind::ClientMetadata, None).await.is_ok());
    let heads = world.web.heads("/a/b");
    let [head] = &heads[..] else { panic!("{heads:?}") };
    assert!(head.starts_with("GET /a/b?c=d&e=%20f HTTP/1.1\r\n"), "{head}");
    let host = format!("\r\nhost: a.app.example:{}\r\n", world.web.address.port());
    assert!(head.to_lowercase().contains(&host), "{head}");
    assert!(head.to_lowercase().contains("\r\naccept-encoding: identity\r\n"), "{head}");
    // One type, said once.
    let mut twice = Page::json("{}");
    twice.headers.push(("content-type", "application/json".to_owned()));
    world.web.set("/twice", twice);
    let got = world.get("/twice").await;
    assert!(matches!(got, Err(FetchError::Type)), "{got:?}");
}
